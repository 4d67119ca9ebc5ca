"""How a run is timed: rates, medians, percentiles, and work that only burns time.

Works under any event loop: it awaits what it is given and never sleeps itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

from attrs import define

from benchmarks.catalogue import TICK, Tick

TELLS_PER_YIELD = 1_000
SPIN_STEPS = 400_000


@define
class Stopwatch:
    """The time between the two ends of a `with` block."""

    elapsed_s: float = 0.0

    def rate(self, operations: int) -> float:
        """Return operations per second."""
        return operations / self.elapsed_s

    def each_us(self, operations: int) -> float:
        """Return microseconds per operation."""
        return self.elapsed_s / operations * 1e6


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time the block."""
    watch = Stopwatch()
    start_s = perf_counter()
    yield watch
    watch.elapsed_s = perf_counter() - start_s


async def latencies_us(repeats: int, step: Callable[[], Awaitable[object]]) -> list[float]:
    """Await `step` that many times and return how long each took."""
    latencies: list[float] = []
    for _ in range(repeats):
        start_s = perf_counter()
        await step()
        latencies.append((perf_counter() - start_s) * 1e6)
    return latencies


async def produce(
    tells: int, tell: Callable[[Tick], object], pause: Callable[[], Awaitable[object]]
) -> None:
    """Tell the same message many times; let the loop run after every thousand."""
    for start in range(0, tells, TELLS_PER_YIELD):
        for _ in range(min(TELLS_PER_YIELD, tells - start)):
            tell(TICK)
        await pause()


def p99(values: list[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return sorted(values)[min(int(len(values) * 0.99), len(values) - 1)]


def middle(values: list[float]) -> float:
    """Return the median."""
    return median(values)


def burn(duration_s: float) -> None:
    """Keep the processor busy."""
    until_s = perf_counter() + duration_s
    while perf_counter() < until_s:
        pass


def spin_ms() -> float:
    """Time a fixed Python loop: how fast the machine is at the moment."""
    with stopwatch() as watch:
        for _ in range(SPIN_STEPS):
            pass
    return watch.elapsed_s * 1e3
