"""The actors that our workloads run, and the trees they run in.

Everything is switched on as in a bot: bounds, lanes, statistics, supervision. Nobody listens to
events. A mailbox has room for all messages of its workload unless room is what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from attrs import Factory, define, field, frozen
from typing_extensions import override

from benchmarks.catalogue import TICK, Tick
from benchmarks.clock import burn
from ringfence.actors import Actor, Ask, MailboxSpec, Name
from ringfence.actors.errors import ActorCrashed, ActorDown
from ringfence.actors.timers import Timer
from ringfence.runtime import System
from ringfence.supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    Intensity,
    Policy,
    RestartStrategy,
    Start,
    Supervisor,
)

WITHIN_S = 60.0
ROOT = "root"
ENDLESS = Intensity(restarts_max=1_000_000, period_s=1.0)
# Stable at once: or the fourth failure in a row would count as MEDIUM and wait.
ALWAYS = Policy(no_progress_max=None, backoff=Backoff(stable_s=0.0))


@frozen
class Question(Ask[int]):
    """Answered with the number of the incarnation."""


@frozen
class Poison:
    """What an actor crashes on, with an error that restarts at once."""


@frozen
class Go:
    """Start to work."""


@define
class Sink(Actor[Tick]):
    """Counts to `remaining`."""

    remaining: int
    done: trio.Event

    @override
    async def receive(self, message: Tick) -> None:
        self.remaining -= 1
        if not self.remaining:
            self.done.set()


@define
class SinkSync(Actor[Tick]):
    """The same with a plain function for a handler."""

    remaining: int
    done: trio.Event

    @override
    def receive(self, message: Tick) -> None:
        self.remaining -= 1
        if not self.remaining:
            self.done.set()


@define
class Echo(Actor[Question | Poison]):
    """Answers; crashes on poison."""

    @override
    async def receive(self, message: Question | Poison) -> None:
        if isinstance(message, Poison):
            raise ConnectionError
        message.reply(self.context.incarnation)


@define
class EchoSync(Actor[Question]):
    """Answers, from a plain function."""

    @override
    def receive(self, message: Question) -> None:
        message.reply(self.context.incarnation)


@define
class Forwarder(Actor[int]):
    """Passes a token on until it has no hops left."""

    successor: Name[int]
    done: trio.Event

    @override
    async def receive(self, message: int) -> None:
        if message:
            self.context.ref_of(self.successor).tell(message - 1)
        else:
            self.done.set()


@define
class Subscriber(Actor[Tick]):
    """A sink that gets what is published."""

    remaining: int
    done: trio.Event

    @override
    async def started(self) -> None:
        self.context.subscribe(Tick)

    @override
    async def receive(self, message: Tick) -> None:
        self.remaining -= 1
        if not self.remaining:
            self.done.set()


@define
class Publisher(Actor[Go]):
    """Publishes the same message many times; lets the loop run after every ten."""

    publishes: int

    @override
    async def receive(self, message: Go) -> None:
        for publish in range(self.publishes):
            self.context.publish(TICK)
            if not publish % 10:
                await trio.lowlevel.checkpoint()


@define
class Flooded(Actor[Tick]):
    """Burns time on each message and puts it back, so that its mailbox never empties."""

    busy_s: float

    @override
    async def receive(self, message: Tick) -> None:
        burn(self.busy_s)
        self.context.ref.tell(message)


@frozen
class LateBy:
    """How late the ticks of a `Ticker` were handled; `done` when there are enough of them."""

    enough: int
    done: trio.Event = field(factory=trio.Event)
    late_us: list[float] = Factory(list)


@define
class Ticker(Actor[Tick | Go]):
    """Notes how late each tick of ``context.every`` is handled."""

    period_s: float
    found: LateBy
    timer: Timer | None = None
    due_s: float = 0.0

    @override
    async def receive(self, message: Tick | Go) -> None:
        if self.timer is None:
            self.timer = self.context.every(self.period_s, TICK)
        else:
            self._note(trio.current_time())
        self.due_s = self.timer.when_s

    def _note(self, now_s: float) -> None:
        """Two ticks may wait together; only the first of them was due when it says."""
        if now_s >= self.due_s:
            self.found.late_us.append((now_s - self.due_s) * 1e6)
        if len(self.found.late_us) == self.found.enough:
            self.found.done.set()


def static(children: Sequence[Child]) -> Supervisor:
    """Return a tree of children that may fail as often as they like."""
    return Supervisor(ROOT, children=children, intensity=ENDLESS, policy=ALWAYS)


def one_for_all(children: int) -> Supervisor:
    """Return a tree of actors that share their fate."""
    return Supervisor(
        ROOT,
        children=[Child(str(number), Start(Echo)) for number in range(children)],
        strategy=RestartStrategy.ONE_FOR_ALL,
        intensity=ENDLESS,
        policy=ALWAYS,
    )


def dynamic() -> DynamicSupervisor:
    """Return a tree whose children are started one at a time."""
    return DynamicSupervisor(ROOT, template=Child("echo", Start(Echo)))


def room(messages: int) -> MailboxSpec:
    """Return a mailbox with room for that many messages."""
    return MailboxSpec(capacity=messages)


async def incarnation(system: System, child: str, *, at_least: int) -> None:
    """Ask a child until it answers from its `at_least`-th incarnation or a later one."""
    ref = system.ref(Name[Question | Poison](f"{ROOT}/{child}"))
    while True:
        try:
            if await ref.ask(Question(), within_s=WITHIN_S) >= at_least:
                return
        except (ActorCrashed, ActorDown):
            continue
