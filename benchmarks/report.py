"""Makes the table that a person reads and the JSON that a program reads."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

from attrs import asdict, frozen
from rich.table import Table

from benchmarks.catalogue import METRICS, WORKLOADS, Contender, Metric, Role
from benchmarks.goals import GOALS, OURS, Goal
from benchmarks.rounds import Results, Spread

THOUSAND = 1_000
MILLION = 1_000_000


@frozen
class Row:
    """One contender's figure, and ours divided by it.

    Attributes:
      ratio: in our own row the figure itself if a goal bounds it, else None.
    """

    metric: Metric
    contender: str
    role: Role
    figure: Spread
    ratio: Spread | None
    goal: Goal | None

    @property
    def met(self) -> bool | None:
        """Tell whether the median meets the goal; None if there is no goal or no figure."""
        judged = self.figure if self.goal and self.goal.against is None else self.ratio
        return None if self.goal is None or judged is None else self.goal.met(judged.median)


def rows(results: Results, contenders: Sequence[Contender]) -> list[Row]:
    """Return a row for each figure that was measured: ours first, then floors, then peers."""
    return [row for metric in METRICS for row in _metric_rows(results, contenders, metric)]


def _metric_rows(
    results: Results, contenders: Sequence[Contender], metric: Metric
) -> Iterator[Row]:
    for contender in sorted(contenders, key=lambda contender: list(Role).index(contender.role)):
        figure = results.spread(contender.name, metric)
        if figure is None:
            continue
        ours = contender.role is Role.OURS
        ratio = None if ours else results.ratio(metric, OURS, contender.name)
        yield Row(
            metric,
            contender.name,
            contender.role,
            figure,
            ratio,
            _goal(metric, None if ours else contender.name),
        )


def _goal(metric: Metric, against: str | None) -> Goal | None:
    return next((goal for goal in GOALS if goal.metric == metric and goal.against == against), None)


def table(lines: Sequence[Row]) -> Table:
    """Lay the rows out, a section per workload."""
    made = Table(
        title="Ringfence against floors and peers", caption="median (smallest to largest round)"
    )
    for heading in ("", "who", "figure", "ours / theirs", "goal", "met"):
        made.add_column(heading, no_wrap=heading != "")
    workload, metric = "", None
    for row in lines:
        if row.metric.workload != workload:
            workload = row.metric.workload
            made.add_section()
            made.add_row(f"[bold]{workload} {WORKLOADS[workload]}")
        made.add_row(*_cells(row, first=row.metric != metric))
        metric = row.metric
    return made


def _cells(row: Row, *, first: bool) -> tuple[str, ...]:
    return (
        f"  {row.metric.title}" if first else "",
        f"[bold]{row.contender}" if row.role is Role.OURS else row.contender,
        _spread(row.figure, row.metric.unit),
        _spread(row.ratio, "x") if row.ratio else "",
        str(row.goal) if row.goal else "",
        {True: "[green]yes", False: "[bold red]NO", None: "?" if row.goal else ""}[row.met],
    )


def _spread(spread: Spread, unit: str) -> str:
    return f"{_number(spread.median)} {unit} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float) -> str:
    if value >= MILLION:
        return f"{value / MILLION:.2f}M"
    if value >= 10 * THOUSAND:
        return f"{value / THOUSAND:.0f}k"
    return f"{value:,.0f}" if value >= THOUSAND else f"{value:.3g}"


def as_json(results: Results, lines: Sequence[Row]) -> dict[str, object]:
    """Return everything that was measured, as plain data."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "spin_ms": asdict(Spread.of(results.spins_ms)),
        "failures": [asdict(failure) for failure in results.failures],
        "rows": [_plain(row) for row in lines],
        "rounds": [
            [
                {"contender": name, **_title(metric), "value": value}
                for (name, metric), value in done.items()
            ]
            for done in results.rounds
        ],
    }


def _plain(row: Row) -> dict[str, object]:
    return {
        **_title(row.metric),
        "contender": row.contender,
        "role": row.role.value,
        "figure": asdict(row.figure),
        "ratio": asdict(row.ratio) if row.ratio else None,
        "goal": str(row.goal) if row.goal else None,
        "met": row.met,
    }


def _title(metric: Metric) -> dict[str, str]:
    return {"workload": metric.workload, "metric": metric.title, "unit": metric.unit}
