"""pykka, as its documentation shows it: a ThreadingActor with on_receive.

It has no supervision, so no restart.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from threading import Event

import pykka
from typing_extensions import override

from benchmarks.catalogue import (
    ASK,
    ASK_P99,
    FAN_IN,
    FAN_OUT,
    HOP,
    START,
    START_STOP,
    STOP,
    TELL,
    TICK,
    Contender,
    Figures,
    Role,
    Sizes,
)
from benchmarks.clock import middle, p99, stopwatch

WAIT_S = 60.0


class Sink(pykka.ThreadingActor):
    """Counts to `target`; answers a question."""

    def __init__(self, target: int, done: Event) -> None:
        super().__init__()
        self.remaining = target
        self.done = done

    @override
    def on_receive(self, message: object) -> object:
        if message == "question":
            return 1
        self.remaining -= 1
        if not self.remaining:
            self.done.set()
        return None


class Producer(pykka.ThreadingActor):
    """Tells a sink as many messages as it is told to."""

    def __init__(self, sink: pykka.ActorRef[Sink]) -> None:
        super().__init__()
        self.sink = sink

    @override
    def on_receive(self, message: int) -> None:
        for _ in range(message):
            self.sink.tell(TICK)


class Forwarder(pykka.ThreadingActor):
    """Passes a token on until it has no hops left."""

    def __init__(self, done: Event) -> None:
        super().__init__()
        self.done = done
        self.next: pykka.ActorRef[Forwarder] | None = None

    @override
    def on_receive(self, message: object) -> None:
        if isinstance(message, pykka.ActorRef):
            self.next = message
        elif not message:
            self.done.set()
        elif self.next is not None:
            assert isinstance(message, int)
            self.next.tell(message - 1)


def _tell(sizes: Sizes) -> Figures:
    done = Event()
    sink = Sink.start(sizes.tells, done)
    with stopwatch() as watch:
        for _ in range(sizes.tells):
            sink.tell(TICK)
        assert done.wait(WAIT_S)
    pykka.ActorRegistry.stop_all()
    return {TELL: watch.rate(sizes.tells)}


def _ask(sizes: Sizes) -> Figures:
    sink = Sink.start(0, Event())
    latencies: list[float] = []
    for _ in range(sizes.asks):
        with stopwatch() as watch:
            sink.ask("question", timeout=WAIT_S)
        latencies.append(watch.each_us(1))
    pykka.ActorRegistry.stop_all()
    return {ASK: middle(latencies), ASK_P99: p99(latencies)}


def _ring(sizes: Sizes) -> Figures:
    done = Event()
    ring = [Forwarder.start(done) for _ in range(sizes.ring)]
    for actor, successor in zip(ring, ring[1:] + ring[:1], strict=True):
        actor.tell(successor)
    with stopwatch() as watch:
        ring[0].tell(sizes.hops)
        assert done.wait(WAIT_S)
    pykka.ActorRegistry.stop_all()
    return {HOP: watch.rate(sizes.hops)}


def _fan_in(sizes: Sizes) -> Figures:
    each = sizes.tells // sizes.producers
    done = Event()
    sink = Sink.start(each * sizes.producers, done)
    producers = [Producer.start(sink) for _ in range(sizes.producers)]
    with stopwatch() as watch:
        for producer in producers:
            producer.tell(each)
        assert done.wait(WAIT_S)
    pykka.ActorRegistry.stop_all()
    return {FAN_IN: watch.rate(each * sizes.producers)}


def _fan_out(sizes: Sizes) -> Figures:
    events = [Event() for _ in range(sizes.subscribers)]
    for event in events:
        Sink.start(sizes.publishes, event)
    with stopwatch() as watch:
        for _ in range(sizes.publishes):
            pykka.ActorRegistry.broadcast(TICK, Sink)
        for event in events:
            assert event.wait(WAIT_S)
    pykka.ActorRegistry.stop_all()
    return {FAN_OUT: watch.rate(sizes.publishes * sizes.subscribers)}


def _spawn(sizes: Sizes) -> Figures:
    done = Event()
    with stopwatch() as starting:
        refs = [Sink.start(0, done) for _ in range(sizes.spawns)]
    with stopwatch() as stopping:
        for ref in refs:
            ref.stop()
    start_us, stop_us = starting.each_us(sizes.spawns), stopping.each_us(sizes.spawns)
    return {START: start_us, STOP: stop_us, START_STOP: start_us + stop_us}


PYKKA = "pykka"
PEER = Contender(
    PYKKA,
    Role.PEER,
    {"W1": _tell, "W2": _ask, "W3": _ring, "W4": _fan_in, "W5": _fan_out, "W6": _spawn},
    shorter=10,
)
