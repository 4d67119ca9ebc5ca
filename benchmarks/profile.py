"""Microseconds per step of our hot paths: where they go, function by function.

python -m benchmarks.profile [--only W2,W7] [--rows N]

First the step is timed as it is, then under cProfile. What cProfile says is scaled so that the
column adds up to the time without it, and C functions count for the Python function that called
them; small Python functions still look somewhat dearer than they are. The second table has the
parts that can be timed by themselves, with nothing around them: bounds of what could be saved.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import trio
from attrs import frozen
from rich.console import Console
from rich.table import Table

from benchmarks.catalogue import TICK, Sizes, Tick
from benchmarks.clock import produce
from benchmarks.floors import FLOORS
from benchmarks.our_actors import (
    ROOT,
    WITHIN_S,
    Echo,
    Poison,
    Question,
    Sink,
    dynamic,
    incarnation,
    room,
    static,
)
from benchmarks.ours import start_all, stop_all
from ringfence.actors import Name
from ringfence.actors.actor import accepted_types
from ringfence.actors.events import DeadLetterWhy
from ringfence.actors.mailbox import Mailbox, MailboxSpec
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, Start
from ringfence.supervisors.severity import classify

REPEATS = 3
PART_CALLS = 1_000
PART_STRETCHES = 20
Measure = Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]


async def _tell(measure: Measure, steps: int) -> None:
    done = trio.Event()
    sink = Child("sink", Start(Sink, steps, done), mailbox=room(steps))
    async with open_system(static([sink])) as system:
        tell = system.ref(Name[Tick](f"{ROOT}/sink")).tell

        async def all_steps() -> None:
            await produce(steps, tell, trio.lowlevel.checkpoint)
            await done.wait()

        await measure(all_steps)


async def _ask(measure: Measure, steps: int) -> None:
    async with open_system(static([Child("echo", Start(Echo))])) as system:
        ref = system.ref(Name[Question](f"{ROOT}/echo"))

        async def all_steps() -> None:
            for _ in range(steps):
                await ref.ask(Question(), within_s=WITHIN_S)

        await measure(all_steps)


async def _start(measure: Measure, steps: int) -> None:
    async with open_system(dynamic()) as system:
        await measure(lambda: start_all(system, steps))


async def _stop(measure: Measure, steps: int) -> None:
    async with open_system(dynamic()) as system:
        await start_all(system, steps)
        await measure(lambda: stop_all(system, steps))


async def _restart(measure: Measure, steps: int) -> None:
    async with open_system(static([Child("echo", Start(Echo))])) as system:
        ref = system.ref(Name[Poison](f"{ROOT}/echo"))

        async def all_steps() -> None:
            for crash in range(steps):
                ref.tell(Poison())
                await incarnation(system, "echo", at_least=crash + 2)

        await measure(all_steps)


@frozen
class Walk:
    """A hot path: how to walk it, and how often."""

    title: str
    body: Callable[[Measure, int], Awaitable[None]]
    steps: int

    def us(self) -> float:
        """Return microseconds per step, not profiled."""
        taken_us: list[float] = []

        async def measure(all_steps: Callable[[], Awaitable[object]]) -> None:
            start_s = perf_counter()
            await all_steps()
            taken_us.append((perf_counter() - start_s) / self.steps * 1e6)

        for _ in range(REPEATS):
            trio.run(self.body, measure, self.steps)
        return median(taken_us)

    def profiled(self) -> pstats.Stats:
        """Return what cProfile saw."""
        profiler = cProfile.Profile(builtins=False)

        async def measure(all_steps: Callable[[], Awaitable[object]]) -> None:
            profiler.enable()
            await all_steps()
            profiler.disable()

        trio.run(self.body, measure, self.steps)
        return pstats.Stats(profiler)


PATHS = {
    "W1": (Walk("W1 tell, async handler", _tell, 100_000),),
    "W2": (Walk("W2 ask, async handler", _ask, 5_000),),
    "W6": (
        Walk("W6 start, one at a time", _start, 1_000),
        Walk("W6 stop, one at a time", _stop, 1_000),
    ),
    "W7": (Walk("W7 restart", _restart, 1_000),),
}


def _tables(path: Walk, rows: int) -> Iterator[Table]:
    """Lay out the dearest functions of a path, then its files."""
    us, own = path.us(), _own_times(path.profiled())
    scale = us / sum(own_s for _, own_s in own.values())
    files: dict[str, tuple[int, float]] = {}
    for place, (calls, own_s) in own.items():
        file = place.partition(":")[0]
        before = files.get(file, (0, 0.0))
        files[file] = (before[0] + calls, before[1] + own_s)
    for kind, lines in (("function", own), ("file", files)):
        table = Table(title=f"{path.title}: {us:.2f} us a step", title_justify="left")
        for heading in ("us", "share", "calls a step"):
            table.add_column(heading, justify="right")
        table.add_column(kind)
        dearest = sorted(lines.items(), key=lambda line: line[1][1], reverse=True)
        for name, (calls, own_s) in dearest[:rows]:
            table.add_row(*_cells(own_s * scale, us, f"{calls / path.steps:.2f}", name))
        rest_us = sum(own_s for _, (_, own_s) in dearest[rows:]) * scale
        table.add_row(*_cells(rest_us, us, "", f"{len(dearest[rows:])} others"))
        yield table


def _cells(own_us: float, us: float, calls: str, name: str) -> tuple[str, ...]:
    return f"{own_us:.2f}", f"{own_us / us:.0%}", calls, name


def _own_times(stats: pstats.Stats) -> dict[str, tuple[int, float]]:
    """Return calls and own seconds of each function."""
    own: dict[str, tuple[int, float]] = {}
    for (file, line, function), (_, calls, own_s, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        place = Path(file)
        own[f"{place.parent.name}/{place.name}:{line} {function}"] = calls, own_s
    return own


@frozen
class Part:
    """Something a path does, by itself."""

    workload: str
    title: str
    call: Callable[[], object]


def _parts(system: System) -> list[Part]:
    kernel = system.kernel
    ref = system.ref(Name[Tick](f"{ROOT}/sink"))
    box = kernel.box(ref.path)
    queue: list[Tick] = []
    spec = MailboxSpec()
    sink = Sink(0, trio.Event())
    error = ConnectionError()

    def timer() -> None:
        kernel.timers.call_at(trio.current_time() + WITHIN_S, sink.done.set).cancel()

    def raise_and_catch() -> None:
        try:
            fail()
        except ConnectionError:
            return

    def fail() -> None:
        raise ConnectionError

    def new_box() -> None:
        Mailbox(kernel, "root/x", spec).open((Tick,))

    return [
        Part("W1", "Ref.tell to a busy actor", lambda: ref.tell(TICK)),
        Part("W1", "list.append", lambda: queue.append(TICK)),
        Part("W2", "make a question", Question),
        Part("W2", "set and cancel the deadline", timer),
        Part("W2", "trio.current_time", trio.current_time),
        Part("W6", "make and open a mailbox", new_box),
        Part("W6", "look up the union an actor takes", lambda: accepted_types(Echo)),
        Part("W7", "raise in a call, and catch", raise_and_catch),
        Part("W7", "classify a ConnectionError", lambda: classify(error, component="root/echo")),
        Part(
            "W7",
            "bury a message: a dead letter",
            lambda: box.bury(TICK, DeadLetterWhy.CRASHED_ON, error),
        ),
    ]


async def _time_parts(only: list[str]) -> list[tuple[Part, float]]:
    sink = Child(
        "sink", Start(Sink, 0, trio.Event()), mailbox=room(2 * PART_CALLS * PART_STRETCHES)
    )
    async with open_system(static([sink])) as system:
        return [(part, _alone_us(part.call)) for part in _parts(system) if part.workload in only]


def _alone_us(call: Callable[[], object]) -> float:
    """Return the median over some stretches: other programs use the processor too."""
    taken_us: list[float] = []
    for _ in range(PART_STRETCHES):
        start_s = perf_counter()
        for _ in range(PART_CALLS):
            call()
        taken_us.append((perf_counter() - start_s) / PART_CALLS * 1e6)
    return median(taken_us)


def _bounds(only: list[str]) -> Table:
    """Lay out the parts and the floors of the chosen paths."""
    table = Table(title="By itself", title_justify="left")
    for heading in ("", "us", "what"):
        table.add_column(heading, justify="right" if heading == "us" else "left")
    for part, us in trio.run(_time_parts, only):
        table.add_row(part.workload, f"{us:.2f}", part.title)
    for floor in FLOORS:
        for workload in (name for name in floor.runs if name in only):
            for metric, figure in floor.run(workload, Sizes().divided(10)).items():
                us = figure if metric.unit == "us" else 1e6 / figure
                table.add_row(workload, f"{us:.2f}", f"{floor.name}: {metric.title}")
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile")
    parser.add_argument("--only", default=",".join(PATHS), help="for example W2,W7")
    parser.add_argument("--rows", type=int, default=20, help="functions per path (default 20)")
    options = parser.parse_args(arguments)
    only = [name for name in options.only.upper().split(",") if name in PATHS]
    console = Console(width=110)
    for workload in only:
        for path in PATHS[workload]:
            for table in _tables(path, options.rows):
                console.print(table)
    console.print(_bounds(only))


if __name__ == "__main__":
    main()
