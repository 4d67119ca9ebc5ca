"""Our own runtime on all workloads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import trio

from benchmarks.catalogue import (
    ASK,
    ASK_P99,
    ASK_SYNC,
    EVERY_HUNDRED,
    EVERY_ONE,
    FAN_IN,
    FAN_OUT,
    GROWTH_RESTART,
    GROWTH_START,
    GROWTH_STOP,
    HOP,
    IDLE,
    LATE_HUNDRED,
    LATE_ONE,
    RESTART,
    RESTART_P99,
    SEND,
    START,
    START_STOP,
    STOP,
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
from benchmarks.clock import latencies_us, middle, p99, produce, stopwatch
from benchmarks.floors import TIMER_S, timers_late_us
from benchmarks.memory import kib_each
from benchmarks.our_actors import (
    ROOT,
    WITHIN_S,
    Echo,
    EchoSync,
    Flooded,
    Forwarder,
    Go,
    LateBy,
    Poison,
    Publisher,
    Question,
    Sink,
    SinkSync,
    Subscriber,
    Ticker,
    dynamic,
    incarnation,
    one_for_all,
    room,
    static,
)
from ringfence.actors import MailboxSpec, Name, Ref
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, Start

pause = trio.lowlevel.checkpoint
FLOOD = 100


# W1


async def _rate(cls: type[Sink | SinkSync], tells: int, produced: int) -> float:
    """Tell one actor from `produced` tasks at once; return messages per second."""
    done = trio.Event()
    sink = Child("sink", Start(cls, tells, done), mailbox=room(tells))
    async with open_system(static([sink])) as system:
        tell = system.ref(Name[Tick](f"{ROOT}/sink")).tell
        with stopwatch() as watch:
            async with trio.open_nursery() as nursery:
                for _ in range(produced):
                    nursery.start_soon(produce, tells // produced, tell, pause)
                await done.wait()
    return watch.rate(tells)


async def _send_rate(sends: int) -> float:
    done = trio.Event()
    sink = Child("sink", Start(Sink, sends, done), mailbox=MailboxSpec())
    async with open_system(static([sink])) as system:
        ref = system.ref(Name[Tick](f"{ROOT}/sink"))
        with stopwatch() as watch:
            for _ in range(sends):
                await ref.send(TICK)
            await done.wait()
    return watch.rate(sends)


async def _tell(sizes: Sizes) -> Figures:
    return {
        TELL: await _rate(Sink, sizes.tells, 1),
        TELL_SYNC: await _rate(SinkSync, sizes.tells, 1),
        SEND: await _send_rate(sizes.tells),
    }


# W2


async def ask_latencies_us(cls: type[Echo | EchoSync], asks: int) -> list[float]:
    """Ask one actor that many times, one after the other."""
    async with open_system(static([Child("echo", Start(cls))])) as system:
        ref = system.ref(Name[Question](f"{ROOT}/echo"))
        return await latencies_us(asks, lambda: ref.ask(Question(), within_s=WITHIN_S))


async def _ask(sizes: Sizes) -> Figures:
    latencies = await ask_latencies_us(Echo, sizes.asks)
    sync = await ask_latencies_us(EchoSync, sizes.asks)
    return {ASK: middle(latencies), ASK_SYNC: middle(sync), ASK_P99: p99(latencies)}


# W3


async def _ring(sizes: Sizes) -> Figures:
    done = trio.Event()
    ring = [
        Child(str(number), Start(Forwarder, Name[int](f"{ROOT}/{(number + 1) % sizes.ring}"), done))
        for number in range(sizes.ring)
    ]
    async with open_system(static(ring)) as system:
        first = system.ref(Name[int](f"{ROOT}/0"))
        with stopwatch() as watch:
            first.tell(sizes.hops)
            await done.wait()
    return {HOP: watch.rate(sizes.hops)}


# W4


async def _fan_in(sizes: Sizes) -> Figures:
    tells = sizes.tells // sizes.producers * sizes.producers
    return {FAN_IN: await _rate(Sink, tells, sizes.producers)}


# W5


async def _fan_out(sizes: Sizes) -> Figures:
    events = [trio.Event() for _ in range(sizes.subscribers)]
    mailbox = room(sizes.publishes)
    subscribers = [
        Child(str(number), Start(Subscriber, sizes.publishes, event), mailbox=mailbox)
        for number, event in enumerate(events)
    ]
    publisher = Child("publisher", Start(Publisher, sizes.publishes))
    async with open_system(static([*subscribers, publisher])) as system:
        ref = system.ref(Name[Go](f"{ROOT}/publisher"))
        with stopwatch() as watch:
            ref.tell(Go())
            for event in events:
                await event.wait()
    return {FAN_OUT: watch.rate(sizes.publishes * sizes.subscribers)}


# W6


async def start_all(system: System, children: int) -> None:
    """Start that many children, one at a time."""
    supervisor = system.supervisor()
    for number in range(children):
        await supervisor.start_child(str(number))


async def stop_all(system: System, children: int) -> None:
    """Stop them, one at a time."""
    supervisor = system.supervisor()
    for number in range(children):
        await supervisor.terminate_child(str(number))


async def _spawn(sizes: Sizes) -> Figures:
    async with open_system(dynamic()) as system:
        with stopwatch() as starting:
            await start_all(system, sizes.spawns)
        with stopwatch() as stopping:
            await stop_all(system, sizes.spawns)
    start_us, stop_us = starting.each_us(sizes.spawns), stopping.each_us(sizes.spawns)
    started_s, stopped_s = await _together_s(sizes.spawns)
    return {
        START: start_us,
        STOP: stop_us,
        START_STOP: start_us + stop_us,
        TOGETHER: (started_s + stopped_s) / sizes.spawns * 1e6,
        IDLE: await _idle_kib(sizes.idle),
    }


async def _together_s(children: int) -> tuple[float, float]:
    """Return how long a tree of that many takes to start and to stop."""
    tree = one_for_all(children)
    async with AsyncExitStack() as stack:
        with stopwatch() as starting:
            await stack.enter_async_context(open_system(tree))
        with stopwatch() as stopping:
            await stack.aclose()
    return starting.elapsed_s, stopping.elapsed_s


async def _idle_kib(idle: int) -> float:
    async with open_system(dynamic()) as system:
        return await kib_each(idle, partial(start_all, system, idle))


# W7


async def restart_latencies_us(restarts: int) -> list[float]:
    """Crash one actor that many times; each lasts until its successor has answered."""
    crashes = 0
    async with open_system(static([Child("echo", Start(Echo))])) as system:
        ref = system.ref(Name[Question | Poison](f"{ROOT}/echo"))

        async def crash_and_ask() -> None:
            nonlocal crashes
            crashes += 1
            ref.tell(Poison())
            await incarnation(system, "echo", at_least=crashes + 1)

        return await latencies_us(restarts, crash_and_ask)


async def _restart(sizes: Sizes) -> Figures:
    latencies = await restart_latencies_us(sizes.restarts)
    return {RESTART: middle(latencies), RESTART_P99: p99(latencies)}


# W8


async def _late_us(actors: int, sizes: Sizes) -> tuple[float, float]:
    """Return the p99 of a trio timer and of ``context.every``, beside that many busy actors."""
    found = LateBy(sizes.timers)
    flooded = [Child(str(number), Start(Flooded, sizes.busy_s)) for number in range(actors)]
    ticker = Child("ticker", Start(Ticker, TIMER_S, found))
    async with open_system(static([*flooded, ticker])) as system:
        for number in range(actors):
            _flood(system.ref(Name[Tick](f"{ROOT}/{number}")))
        trio_us = await timers_late_us(sizes.timers)
        system.ref(Name[Go](f"{ROOT}/ticker")).tell(Go())
        await found.done.wait()
    return p99(trio_us), p99(found.late_us)


def _flood(ref: Ref[Tick]) -> None:
    for _ in range(FLOOD):
        ref.tell(TICK)


async def _fairness(sizes: Sizes) -> Figures:
    late_one, every_one = await _late_us(1, sizes)
    late_hundred, every_hundred = await _late_us(100, sizes)
    return {
        LATE_ONE: late_one,
        EVERY_ONE: every_one,
        LATE_HUNDRED: late_hundred,
        EVERY_HUNDRED: every_hundred,
    }


# W9


async def _growth(sizes: Sizes) -> Figures:
    few, many = await _whole_s(sizes.children_few), await _whole_s(sizes.children_many)
    return {metric: many[metric] / few[metric] for metric in few}


async def _whole_s(children: int) -> dict[Metric, float]:
    """Return how long it takes to restart all children of a supervisor, and to start and stop."""
    async with open_system(one_for_all(children)) as system:
        with stopwatch() as restarting:
            system.ref(Name[Poison](f"{ROOT}/0")).tell(Poison())
            await incarnation(system, str(children - 1), at_least=2)
    started_s, stopped_s = await _together_s(children)
    return {
        GROWTH_START: started_s,
        GROWTH_STOP: stopped_s,
        GROWTH_RESTART: restarting.elapsed_s,
    }


def _on_trio(body: Callable[[Sizes], Awaitable[Figures]]) -> Run:
    return lambda sizes: trio.run(body, sizes)


BODIES = {
    "W1": _tell,
    "W2": _ask,
    "W3": _ring,
    "W4": _fan_in,
    "W5": _fan_out,
    "W6": _spawn,
    "W7": _restart,
    "W8": _fairness,
    "W9": _growth,
}
OURS = Contender("ours", Role.OURS, {workload: _on_trio(body) for workload, body in BODIES.items()})
