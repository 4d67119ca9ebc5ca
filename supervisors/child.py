"""The place of a child, its incarnations as a supervisor sees them, and what is in the inbox.

Data and one rendezvous (`Call`); the work is in `supervisor.py`, `starting.py`, `stopping.py`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import define, frozen
from trio.lowlevel import Abort, enable_ki_protection, reschedule

from ringfence.actors.errors import GaveUpWhy, Severity
from ringfence.actors.outcomes import cancelled_from_outside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ringfence.actors.errors import SupervisorFailed
    from ringfence.actors.lifecycle import Exit, Killed
    from ringfence.actors.mailbox import Mailbox
    from ringfence.actors.terms import Terms
    from ringfence.actors.timers import Timer
    from ringfence.supervisors.incident import Incident
    from ringfence.supervisors.spec import Spec, Start


class Host(Protocol):
    """What a supervisor needs from the process it runs in."""

    def halt(self, error: SupervisorFailed) -> None:
        """A failure must stop the whole system; the supervisor waits to be stopped."""


class StartOutcome(enum.Enum):
    """How the start of a child went."""

    UP = "up"
    IGNORED = "ignored"
    FAILED = "failed"
    CALLED_OFF = "called off"


class Life(Protocol):
    """One incarnation of a child: an actor's or a supervisor's."""

    up: bool
    ignored: bool
    info: object
    exit: Exit | None
    cancelled: bool
    number: int

    async def live(self, scope: trio.CancelScope) -> None:
        """Live, from start to end, inside ``scope``; raise only what cancels it."""

    def absorb(self, error: BaseException) -> None:
        """Keep what came out of ``scope`` although it should not."""

    async def wind_up(self) -> None:
        """Clean up outside of what was cancelled, and report the exit."""

    def leave(self, reason: Exit) -> None:
        """Ask it to end."""

    def call_off(self) -> None:
        """End its start."""

    def condemn(self, verdict: BaseException | Killed) -> None:
        """Cancel it."""


@define(eq=False)
class Slot:
    """The place of one child: what outlives its incarnations."""

    key: str
    path: str
    spec: Spec
    start: Start | None  # None: a supervisor
    life: Life | None = None
    timer: Timer | None = None  # of a pending restart
    error: BaseException | None = None  # of the last failed start
    on_end: Callable[[Life], None] | None = None  # made once, for all incarnations
    terms: Terms | None = None  # the same
    box: Mailbox | None = None
    waits: bool = True  # has a `started` to wait for, or may have

    def cancel_timer(self) -> None:
        """Forget the pending restart; its generation makes one on its way void."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@define(eq=False)
class Exited:
    """In the inbox: a child ended."""

    slot: Slot
    life: Life


@define(eq=False)
class Retry:
    """In the inbox: the time of a restart has come."""

    key: str
    generation: int


class Call:
    """In the inbox: somebody called the API and waits for `result` or `error`."""

    __slots__ = ("done", "error", "result", "run", "task")

    def __init__(self, run: Callable[[Call], Awaitable[None]]) -> None:
        self.run = run
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self.done = False
        self.result: object = None
        self.error: Exception | None = None

    @enable_ki_protection
    def finish(self, result: object = None, error: Exception | None = None) -> None:
        """Give the caller its outcome; the first one stands."""
        if self.done:
            return
        self.done, self.result, self.error = True, result, error
        if self.task is not None:
            reschedule(self.task)

    async def carry_out(self, absent: Callable[[], Exception]) -> None:
        """Do what was asked; an error is the caller's, not the supervisor's."""
        try:
            await self.run(self)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            self.finish(error=error)
        finally:
            if not self.done:  # the supervisor was cancelled meanwhile
                self.finish(error=absent())

    async def wait(self) -> object:
        """Wait for the outcome. A caller that is cancelled does not stop what it asked for."""

        def abort(_raise_cancel: object) -> Abort:
            self.task = None
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if self.error is not None:
            raise self.error
        return self.result


@frozen
class Verdict:
    """Why a supervisor ends by failure, or, with no ``why``, because it is its time."""

    why: GaveUpWhy | None
    errors: tuple[BaseException, ...] = ()
    severity: Severity = Severity.MEDIUM
    incident: Incident | None = None


async def live_once(life: Life) -> None:
    """Run one incarnation in this task, from its start to its report."""
    try:
        with trio.CancelScope() as scope:
            await life.live(scope)
    except BaseException as error:  # noqa: BLE001 - becomes the exit, or goes on below
        life.absorb(error)
    await life.wind_up()
    if cancelled_from_outside():
        await trio.lowlevel.checkpoint_if_cancelled()
