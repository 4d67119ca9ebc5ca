"""One supervisor under test, at any depth of a tree, its children scripted by the test.

`Trial` builds the tree, runs it and keeps a diary (what the children's hooks saw) and the events.
A child does what its messages say: `Do(fn)` runs ``await fn(actor)`` in its handler. `Scripted`
has all hooks; `Bare` has none, so that its restarts take the short way (see `duty.py`).
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import wait_all_tasks_blocked

from ringfence.actors import Actor, Ask, Exit, Failed
from ringfence.actors.errors import Severity, StartFailed, SupervisorFailed, TradingError
from ringfence.actors.events import ActorStarted, Event
from ringfence.actors.kernel import Kernel
from ringfence.runtime.system import System
from ringfence.supervisors import Backoff, Child, Directive, Policy, Start, Supervisor
from ringfence.supervisors.incident import Incident, IncidentRecorded
from ringfence.supervisors.spec import Intensity, Spec, SupervisorSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ringfence.actors import Ref
    from ringfence.supervisors.control import SupervisorRef

EventT = TypeVar("EventT", bound=Event)

LOW, MEDIUM, HIGH, CRITICAL = Severity
ABOVE = ("top", "middle")  # the supervisors above the one under test, if it is nested
at_any_depth = pytest.mark.parametrize("depth", [0, 2], ids=["root", "nested"])

PASS_ON = Policy(directives={**dict.fromkeys(Severity, Directive.ESCALATE)}, no_progress_max=None)
"""Of the supervisors above: whatever ends the one under test ends them too."""

CALM = Policy(backoff=Backoff(jitter=0.0))
"""Of the supervisor under test: the default, with waits that can be told exactly."""

MANY = Intensity(restarts_max=1_000_000, period_s=1.0)


class Boom(TradingError):  # noqa: N818 - it is not always an error; that is the point
    """A failure with a name and a severity."""

    def __init__(self, name: str, severity: Severity = LOW) -> None:
        super().__init__(name, severity=severity)
        self.name = name


@frozen
class Do:
    """Tell a child what to do in its handler."""

    fn: Callable[[Worker], Awaitable[None]]


@frozen
class Which(Ask[int]):
    """Ask a child which incarnation it is."""


Message = Do | Which


class Worker(Actor[Message]):
    """Does what its messages say."""

    diary: list[str]

    async def receive(self, message: Message) -> None:
        if isinstance(message, Which):
            message.reply(self.context.incarnation)
        else:
            await message.fn(self)

    def note(self, what: str) -> None:
        """Write into the diary: "b.2 stopping" is the second incarnation of b."""
        name = self.context.path.rpartition("/")[2]
        self.diary.append(f"{name}.{self.context.incarnation} {what}")


@define(eq=False)
class Bare(Worker):
    """Has no hooks: nothing to wait for in its start, nothing to clean up."""

    diary: list[str]


@define(eq=False)
class Scripted(Worker):
    """Notes its hooks, and does in them what the test says."""

    diary: list[str]
    on_start: Callable[[Worker], Awaitable[None]] | None = None
    on_stop: Callable[[Worker], Awaitable[None]] | None = None

    async def started(self) -> None:
        if self.on_start is not None:
            await self.on_start(self)
        self.note("started")

    async def stopping(self, reason: Exit) -> None:
        self.note(f"stopping ({str(reason).partition(':')[0]})")
        try:
            if self.on_stop is not None:
                await self.on_stop(self)
        except BaseException:
            self.note("not stopped well")
            raise
        self.note("stopped")


def raising(error: BaseException) -> Callable[[Worker], Awaitable[None]]:
    """Return what raises ``error``."""

    async def fail(_actor: Worker) -> None:
        raise error

    return fail


def raising_when(gate: trio.Event, error: BaseException) -> Callable[[Worker], Awaitable[None]]:
    """Return what raises ``error`` when the gate opens."""

    async def wait_and_fail(_actor: Worker) -> None:
        await gate.wait()
        raise error

    return wait_and_fail


def sleeping(seconds: float) -> Callable[[Worker], Awaitable[None]]:
    """Return what takes ``seconds``, unless it is cancelled."""

    async def sleep(_actor: Worker) -> None:
        await trio.sleep(seconds)

    return sleep


def stubborn(seconds: float) -> Callable[[Worker], Awaitable[None]]:
    """Return what takes ``seconds`` and cannot be cancelled."""

    async def resist(_actor: Worker) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    return resist


def once(fn: Callable[[Worker], Awaitable[None]], *, at: int = 1) -> Callable[..., Awaitable[None]]:
    """Do it in incarnation number ``at`` only."""

    async def maybe(actor: Worker) -> None:
        if actor.context.incarnation == at:
            await fn(actor)

    return maybe


@define(eq=False)
class Trial:
    """One supervisor under test, called "sup", ``depth`` levels below the root."""

    depth: int = 0
    diary: list[str] = field(factory=list)
    events: list[Event] = field(factory=list)
    ups: Counter[str] = field(factory=Counter)  # by path
    system: System = field(init=False)

    @property
    def path(self) -> str:
        """The path of the supervisor under test."""
        return "/".join((*ABOVE[: self.depth], "sup"))

    # -- building ------------------------------------------------------------------------------

    def child(
        self,
        name: str,
        *,
        started: Callable[[Worker], Awaitable[None]] | None = None,
        stopping: Callable[[Worker], Awaitable[None]] | None = None,
        **spec: object,
    ) -> Child:
        """Return a scripted child."""
        return Child(name, Start(Scripted, self.diary, started, stopping), **spec)  # type: ignore[arg-type]

    def bare(self, name: str, **spec: object) -> Child:
        """Return a child without hooks."""
        return Child(name, Start(Bare, self.diary), **spec)  # type: ignore[arg-type]

    def tree(self, *children: Spec, **spec: object) -> SupervisorSpec:
        """Return the whole tree, with ``children`` below the supervisor under test."""
        spec = {"policy": CALM, "intensity": MANY, **spec}
        return self.above(Supervisor("sup", children=children, **spec))  # type: ignore[arg-type]

    def above(self, sup: SupervisorSpec) -> SupervisorSpec:
        """Put ``sup`` into its place in the tree."""
        for name in reversed(ABOVE[: self.depth]):
            sup = Supervisor(name, children=[sup], policy=PASS_ON)
        return sup

    # -- running -------------------------------------------------------------------------------

    def prepare(self, tree: SupervisorSpec) -> System:
        """Make the system, listened to from the first event on."""
        self.system = System(tree, Kernel())
        self.system.events.listen(self._hear)
        return self.system

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ActorStarted):
            self.ups[event.path] += 1

    @asynccontextmanager
    async def running(
        self, *children: Spec, within_s: float = 10_000.0, **spec: object
    ) -> AsyncIterator[System]:
        """Run the tree beside the block, and stop it in the end; its failure comes out as it is."""
        async with self.running_tree(self.tree(*children, **spec), within_s=within_s) as system:
            yield system

    @asynccontextmanager
    async def running_tree(
        self, tree: SupervisorSpec, *, within_s: float = 10_000.0
    ) -> AsyncIterator[System]:
        """Run any tree beside the block."""
        system = self.prepare(tree)
        failure: list[BaseException] = []

        async def run() -> None:
            try:
                await system.run()
            except Exception as error:  # noqa: BLE001 - raised below, out of the nursery's group
                failure.append(error)

        with trio.fail_after(within_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await system.wait_started()
                await wait_all_tasks_blocked()
                yield system
                system.stop()
        if failure:
            raise failure[0]

    async def failure(self, *children: Spec, within_s: float = 10_000.0, **spec: object) -> object:
        """Run the tree until it ends by itself; return its error."""
        return await self.failure_of(self.tree(*children, **spec), within_s=within_s)

    async def failure_of(self, tree: SupervisorSpec, *, within_s: float = 10_000.0) -> object:
        """Run any tree until it ends by itself; return its error."""
        system = self.prepare(tree)
        with trio.fail_after(within_s):
            try:
                await system.run()
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                return error
        return None

    # -- talking to it -------------------------------------------------------------------------

    def ref(self, name: str) -> Ref[Message]:
        """Return the handle on a child."""
        return self.system.kernel.ref(f"{self.path}/{name}")

    @property
    def sup(self) -> SupervisorRef:
        """The handle on the supervisor under test."""
        return self.system.supervisor(self.path)

    def do(self, name: str, fn: Callable[[Worker], Awaitable[None]]) -> None:
        """Let a child do something in its handler."""
        self.ref(name).tell(Do(fn))

    async def crash(self, name: str, error: BaseException) -> None:
        """Let a child fail in its handler, and wait until everything has settled."""
        self.do(name, raising(error))
        await wait_all_tasks_blocked()

    # -- looking at it -------------------------------------------------------------------------

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def incidents(self, path: str | None = None) -> list[Incident]:
        """Return the incidents of the supervisor under test."""
        of = self.path if path is None else path
        return [event.incident for event in self.of(IncidentRecorded) if event.path == of]

    def incarnations(self, name: str) -> int:
        """Return how often a child was up."""
        return self.ups[f"{self.path}/{name}"]

    def inner(self, error: object) -> BaseException:
        """Return the error of the supervisor under test, out of those above, which add nothing."""
        for n in range(self.depth):
            assert isinstance(error, SupervisorFailed)
            assert "/".join(ABOVE[: n + 1]) == error.path
            assert len(error.exceptions) == 1
            error = error.exceptions[0]
        assert isinstance(error, BaseException)
        return error


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group of groups, from left to right."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def roots(error: BaseException) -> list[BaseException]:
    """Return the errors in a group of groups; for a start that failed, what it failed with."""
    found: list[BaseException] = []
    for leaf in leaves(error):
        if isinstance(leaf, StartFailed) and leaf.__cause__ is not None:
            found += roots(leaf.__cause__)
        else:
            found.append(leaf)
    return found


def error_in(exit_: Exit) -> BaseException:
    """Return what a child that failed ended with."""
    assert isinstance(exit_, Failed)
    return exit_.error
