"""Runs every contender once per round and keeps what was measured, round by round."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median

from attrs import Factory, define, frozen

from benchmarks.catalogue import Contender, Figures, Metric, Sizes
from benchmarks.clock import spin_ms


@frozen
class Spread:
    """The median of some values, with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise one or more values."""
        return cls(median(values), min(values), max(values))


@frozen
class Failure:
    """A run that raised."""

    workload: str
    contender: str
    error: str


@define
class Results:
    """Figures by contender and metric, one per round; None where that run failed."""

    rounds: list[dict[tuple[str, Metric], float]] = Factory(list)
    failures: list[Failure] = Factory(list)
    spins_ms: list[float] = Factory(list)

    def spread(self, contender: str, metric: Metric) -> Spread | None:
        """Summarise a figure over the rounds; None if it was never measured."""
        values = [done[contender, metric] for done in self.rounds if (contender, metric) in done]
        return Spread.of(values) if values else None

    def ratio(self, metric: Metric, ours: str, theirs: str) -> Spread | None:
        """Summarise ours / theirs over the rounds that have both; None if there is none."""
        ratios = [
            done[ours, metric] / done[theirs, metric]
            for done in self.rounds
            if (ours, metric) in done and (theirs, metric) in done
        ]
        return Spread.of(ratios) if ratios else None


def measure(
    contenders: Sequence[Contender],
    workloads: Sequence[str],
    sizes: Sizes,
    rounds: int,
    tell_progress: Callable[[str], object],
) -> Results:
    """Run all rounds: the contenders of a workload in turn, in another order each round."""
    results = Results()
    for number in range(rounds):
        results.rounds.append({})
        for workload in workloads:
            for contender in _in_turn(contenders, workload, number):
                tell_progress(f"round {number + 1} of {rounds}: {workload} {contender.name}")
                _measure_one(results, contender, workload, sizes)
    return results


def _in_turn(contenders: Sequence[Contender], workload: str, number: int) -> list[Contender]:
    """Return who takes part, starting with another one each round."""
    takes_part = [contender for contender in contenders if workload in contender.runs]
    first = number % max(len(takes_part), 1)
    return takes_part[first:] + takes_part[:first]


def _measure_one(results: Results, contender: Contender, workload: str, sizes: Sizes) -> None:
    gc.collect()
    results.spins_ms.append(spin_ms())
    figures = _figures(results, contender, workload, sizes)
    results.rounds[-1].update(
        {(contender.name, metric): figure for metric, figure in figures.items()}
    )


def _figures(results: Results, contender: Contender, workload: str, sizes: Sizes) -> Figures:
    try:
        return contender.run(workload, sizes)
    except Exception as error:  # noqa: BLE001 - one that fails must not cost the others theirs
        results.failures.append(Failure(workload, contender.name, repr(error)))
        return {}
