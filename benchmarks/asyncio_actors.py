"""What most people write by hand on asyncio.

A task and an asyncio.Queue per actor, a Future per ask, `while True: try` to restart.
No bounds, no tree, no limit on restarts, no answer to pending asks after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from attrs import frozen
from typing_extensions import override

from benchmarks.catalogue import (
    ASK,
    ASK_P99,
    FAN_IN,
    FAN_OUT,
    HOP,
    IDLE,
    RESTART,
    RESTART_P99,
    START,
    START_STOP,
    STOP,
    TELL,
    TICK,
    Contender,
    Figures,
    Role,
    Run,
    Sizes,
)
from benchmarks.clock import latencies_us, middle, p99, produce, stopwatch
from benchmarks.memory import kib_each

pause = partial(asyncio.sleep, 0)


@frozen(eq=False)
class Ask:
    """A question and where its answer goes."""

    reply: asyncio.Future[int]


class Actor:
    """A task that hands the messages of its queue to `receive`, one at a time."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[object] = asyncio.Queue()
        self.tell = self.queue.put_nowait
        self.running = asyncio.Event()
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        self.running.set()
        while True:
            await self.receive(await self.queue.get())

    async def receive(self, message: object) -> None:
        raise NotImplementedError

    async def ask(self) -> int:
        question = Ask(asyncio.get_running_loop().create_future())
        self.tell(question)
        return await question.reply

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


class Sink(Actor):
    """Counts to `target`."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self.remaining = target
        self.done = asyncio.Event()

    @override
    async def receive(self, _message: object) -> None:
        self.remaining -= 1
        if not self.remaining:
            self.done.set()


class Echo(Actor):
    """Answers; crashes on anything that is not a question, and starts again."""

    @override
    async def receive(self, message: object) -> None:
        if not isinstance(message, Ask):
            raise TypeError(message)
        message.reply.set_result(1)

    @override
    async def run(self) -> None:
        while True:
            try:
                await super().run()
            except TypeError:
                continue


class Forwarder(Actor):
    """Passes a token on until it has no hops left."""

    def __init__(self, done: asyncio.Event) -> None:
        super().__init__()
        self.done = done
        self.next: Actor = self

    @override
    async def receive(self, message: object) -> None:
        assert isinstance(message, int)
        if message:
            self.next.tell(message - 1)
        else:
            self.done.set()


async def _stop_all(actors: Sequence[Actor]) -> None:
    for actor in actors:
        await actor.stop()


async def _tell(sizes: Sizes) -> Figures:
    sink = Sink(sizes.tells)
    with stopwatch() as watch:
        await produce(sizes.tells, sink.tell, pause)
        await sink.done.wait()
    await sink.stop()
    return {TELL: watch.rate(sizes.tells)}


async def _ask(sizes: Sizes) -> Figures:
    echo = Echo()
    latencies = await latencies_us(sizes.asks, echo.ask)
    await echo.stop()
    return {ASK: middle(latencies), ASK_P99: p99(latencies)}


async def _ring(sizes: Sizes) -> Figures:
    done = asyncio.Event()
    ring = [Forwarder(done) for _ in range(sizes.ring)]
    for actor, successor in zip(ring, ring[1:] + ring[:1], strict=True):
        actor.next = successor
    await pause()
    with stopwatch() as watch:
        ring[0].tell(sizes.hops)
        await done.wait()
    await _stop_all(ring)
    return {HOP: watch.rate(sizes.hops)}


async def _fan_in(sizes: Sizes) -> Figures:
    each = sizes.tells // sizes.producers
    sink = Sink(each * sizes.producers)
    with stopwatch() as watch:
        producers = [
            asyncio.create_task(produce(each, sink.tell, pause)) for _ in range(sizes.producers)
        ]
        await sink.done.wait()
    await asyncio.gather(*producers)
    await sink.stop()
    return {FAN_IN: watch.rate(each * sizes.producers)}


async def _fan_out(sizes: Sizes) -> Figures:
    sinks = [Sink(sizes.publishes) for _ in range(sizes.subscribers)]
    with stopwatch() as watch:
        for publish in range(sizes.publishes):
            for sink in sinks:
                sink.tell(TICK)
            if not publish % 10:
                await pause()
        for sink in sinks:
            await sink.done.wait()
    await _stop_all(sinks)
    return {FAN_OUT: watch.rate(sizes.publishes * sizes.subscribers)}


async def _spawn(sizes: Sizes) -> Figures:
    actors: list[Actor] = []
    with stopwatch() as starting:
        for _ in range(sizes.spawns):
            actors.append(Echo())
            await actors[-1].running.wait()
    with stopwatch() as stopping:
        await _stop_all(actors)
    start_us, stop_us = starting.each_us(sizes.spawns), stopping.each_us(sizes.spawns)
    return {
        START: start_us,
        STOP: stop_us,
        START_STOP: start_us + stop_us,
        IDLE: await _idle_kib(sizes.idle),
    }


async def _idle_kib(idle: int) -> float:
    actors: list[Actor] = []

    async def start() -> None:
        actors.extend(Echo() for _ in range(idle))
        for actor in actors:
            await actor.running.wait()

    kib = await kib_each(idle, start)
    await _stop_all(actors)
    return kib


async def _restart(sizes: Sizes) -> Figures:
    echo = Echo()

    async def crash_and_ask() -> None:
        echo.tell("poison")
        await echo.ask()

    latencies = await latencies_us(sizes.restarts, crash_and_ask)
    await echo.stop()
    return {RESTART: middle(latencies), RESTART_P99: p99(latencies)}


def _in_loop(body: Callable[[Sizes], Coroutine[None, None, Figures]]) -> Run:
    return lambda sizes: asyncio.run(body(sizes))


ASYNCIO = "asyncio.Queue by hand"
BODIES = {
    "W1": _tell,
    "W2": _ask,
    "W3": _ring,
    "W4": _fan_in,
    "W5": _fan_out,
    "W6": _spawn,
    "W7": _restart,
}
PEER = Contender(
    ASYNCIO, Role.PEER, {workload: _in_loop(body) for workload, body in BODIES.items()}
)
