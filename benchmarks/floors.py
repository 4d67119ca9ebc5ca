"""What trio and Python cost without any actor: nothing built on them can be faster.

The names L1, L5, L6 and L7 are those of the limits that the goals are written against.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

import trio
from attrs import define
from trio.testing import wait_all_tasks_blocked

from benchmarks.catalogue import (
    ASK,
    ASK_P99,
    ASK_SYNC,
    FAN_IN,
    HOP,
    LATE_HUNDRED,
    LATE_ONE,
    RESTART,
    RESTART_P99,
    START_STOP,
    TELL,
    TELL_SYNC,
    TICK,
    TOGETHER,
    Contender,
    Figures,
    Metric,
    Role,
    Run,
    Sizes,
    Tick,
)
from benchmarks.clock import TELLS_PER_YIELD, burn, latencies_us, middle, p99, stopwatch

SLICE_S = 1e-3
TIMER_S = 1e-3


class CrashError(Exception):
    """What a crashing task raises."""


@define
class Sink:
    """Counts messages with the same lines as the actors of the other contenders."""

    remaining: int
    done: bool = False

    async def receive(self, _message: Tick) -> None:
        self.remaining -= 1
        if not self.remaining:
            self.done = True

    def receive_sync(self, _message: Tick) -> None:
        self.remaining -= 1
        if not self.remaining:
            self.done = True


# L1: a deque, a handler, a checkpoint each millisecond.


async def _drain_awaiting(queue: deque[Tick], sink: Sink) -> None:
    while queue:
        await sink.receive(queue.popleft())


async def _drain_calling(queue: deque[Tick], sink: Sink) -> None:
    while queue:
        sink.receive_sync(queue.popleft())


Drain = Callable[[deque[Tick], Sink], Awaitable[None]]


async def _tells(drain: Drain, tells: int) -> None:
    queue: deque[Tick] = deque()
    sink = Sink(tells)
    due_s = perf_counter() + SLICE_S
    for _ in range(tells // TELLS_PER_YIELD):
        for _ in range(TELLS_PER_YIELD):
            queue.append(TICK)
        await drain(queue, sink)
        if perf_counter() >= due_s:
            await trio.lowlevel.checkpoint()
            due_s = perf_counter() + SLICE_S


def _deque(drain: Drain, metric: Metric, sizes: Sizes) -> Figures:
    tells = sizes.tells // TELLS_PER_YIELD * TELLS_PER_YIELD
    with stopwatch() as watch:
        trio.run(_tells, drain, tells)
    return {metric: watch.rate(tells)}


# L7: one task wakes another and parks.


@define
class Pair:
    """Two bare tasks that wake each other."""

    parked: trio.lowlevel.Task | None = None

    async def echo(self) -> None:
        while True:
            await self.switch()

    async def switch(self) -> None:
        """Wake the other task and park until it wakes us."""
        other, self.parked = self.parked, trio.lowlevel.current_task()
        if other is not None:
            trio.lowlevel.reschedule(other)
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED


async def _round_trips_us(repeats: int) -> list[float]:
    pair = Pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.echo)
        await wait_all_tasks_blocked()
        latencies = await latencies_us(repeats, pair.switch)
        nursery.cancel_scope.cancel()
    return latencies


def _two_wakes(sizes: Sizes) -> Figures:
    latencies = trio.run(_round_trips_us, sizes.asks)
    return {ASK: middle(latencies), ASK_SYNC: middle(latencies), ASK_P99: p99(latencies)}


def _one_wake(sizes: Sizes) -> Figures:
    return {HOP: 2e6 / middle(trio.run(_round_trips_us, sizes.hops // 2))}


# L5: tasks and nurseries that only start and stop.


async def _tasks_at_once(tasks: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(trio.sleep_forever)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def _started(task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


async def _nurseries_in_turn(tasks: int) -> None:
    for _ in range(tasks):
        async with trio.open_nursery() as nursery:
            await nursery.start(_started)
            nursery.cancel_scope.cancel()


def _start_stop(body: Callable[[int], Awaitable[None]], metric: Metric, sizes: Sizes) -> Figures:
    async def timed() -> Figures:
        with stopwatch() as watch:
            await body(sizes.spawns)
        return {metric: watch.each_us(sizes.spawns)}

    return trio.run(timed)


# L6: a task that crashes and is there again.


async def _life() -> None:
    await trio.lowlevel.checkpoint()
    raise CrashError


async def _crash_in_place() -> None:
    try:
        await _life()
    except CrashError:
        return


@define
class Successor:
    """Starts a new task in one nursery each time the one before crashed."""

    nursery: trio.Nursery
    parked: trio.lowlevel.Task | None = None

    async def live(self) -> None:
        await _crash_in_place()
        if self.parked is not None:
            trio.lowlevel.reschedule(self.parked)

    async def step(self) -> None:
        self.parked = trio.lowlevel.current_task()
        self.nursery.start_soon(self.live)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)


async def _crash_in_nursery() -> None:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_life)
    except* CrashError:
        pass


async def _crashes_in_tasks_us(repeats: int) -> list[float]:
    async with trio.open_nursery() as nursery:
        return await latencies_us(repeats, Successor(nursery).step)


def _crashes(body: Callable[[int], Awaitable[list[float]]], sizes: Sizes) -> Figures:
    latencies = trio.run(body, sizes.restarts)
    return {RESTART: middle(latencies), RESTART_P99: p99(latencies)}


async def _repeat(step: Callable[[], Awaitable[None]], repeats: int) -> list[float]:
    return await latencies_us(repeats, step)


# W8: how late the timer of a bare trio loop is: idle, and beside a task that takes whole slices.


async def _hog(busy_s: float) -> None:
    while True:
        due_s = perf_counter() + SLICE_S
        while perf_counter() < due_s:
            burn(busy_s)
        await trio.lowlevel.checkpoint()


async def timers_late_us(timers: int) -> list[float]:
    """Sleep 1 ms that many times; return how late each wake-up was."""
    late_us: list[float] = []
    for _ in range(timers):
        due_s = trio.current_time() + TIMER_S
        await trio.sleep_until(due_s)
        late_us.append((trio.current_time() - due_s) * 1e6)
    return late_us


async def _late_beside(hogs: int, sizes: Sizes) -> list[float]:
    async with trio.open_nursery() as nursery:
        for _ in range(hogs):
            nursery.start_soon(_hog, sizes.busy_s)
        late_us = await timers_late_us(sizes.timers)
        nursery.cancel_scope.cancel()
    return late_us


def _timer_floor(hogs: int, sizes: Sizes) -> Figures:
    late_us = p99(trio.run(_late_beside, hogs, sizes))
    return {LATE_ONE: late_us, LATE_HUNDRED: late_us}


def _floor(name: str, **runs: Run) -> Contender:
    return Contender(name, Role.FLOOR, runs)


L1 = "L1: deque and handler"
L5 = "L5: nursery and task"
L7 = "L7: two bare wakes"

FLOORS = (
    _floor(
        L1,
        W1=lambda sizes: {
            **_deque(_drain_awaiting, TELL, sizes),
            **_deque(_drain_calling, TELL_SYNC, sizes),
        },
        W4=partial(_deque, _drain_awaiting, FAN_IN),
    ),
    _floor(L7, W2=_two_wakes),
    _floor("L7: one bare wake", W3=_one_wake),
    _floor(
        L5,
        W6=lambda sizes: {
            **_start_stop(_tasks_at_once, TOGETHER, sizes),
            **_start_stop(_nurseries_in_turn, START_STOP, sizes),
        },
    ),
    _floor("L6: crash in place", W7=partial(_crashes, partial(_repeat, _crash_in_place))),
    _floor("L6: crash, new task", W7=partial(_crashes, _crashes_in_tasks_us)),
    _floor(
        "L6: crash, nursery per life", W7=partial(_crashes, partial(_repeat, _crash_in_nursery))
    ),
    _floor("trio, idle", W8=partial(_timer_floor, 0)),
    _floor("trio, one task that takes 1 ms slices", W8=partial(_timer_floor, 1)),
)
