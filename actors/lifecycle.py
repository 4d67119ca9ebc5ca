"""The life of one incarnation: its states, the one table of legal moves, and how it can end.

An *incarnation* is one object built from one ``Start``. It is never reused: a restart builds
the next one. This file only says what may follow what; `incarnation.py` does the work.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from ringfence.actors.error_root import text_of
from ringfence.actors.errors import IllegalTransition

if TYPE_CHECKING:
    from collections.abc import Mapping


class ActorState(enum.Enum):
    """Where an incarnation is in its life."""

    __hash__ = object.__hash__  # by identity: several times faster as a key than by name

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Trigger(enum.Enum):
    """What can happen to an incarnation."""

    __hash__ = object.__hash__  # by identity: several times faster as a key than by name

    UP = "up"
    """``started()`` returned."""

    IGNORE = "ignore"
    """``started()`` asked not to run."""

    ABORT = "abort"
    """The start failed, took too long, or was called off: there is nothing to clean up."""

    LEAVE = "leave"
    """A stop was asked for, or a failure happened: clean-up begins."""

    CLOSED = "closed"
    """Clean-up is over and every task of the incarnation has ended."""


MOVES: Final[Mapping[tuple[ActorState, Trigger], ActorState]] = {
    (ActorState.STARTING, Trigger.UP): ActorState.RUNNING,
    (ActorState.STARTING, Trigger.IGNORE): ActorState.ENDED,
    (ActorState.STARTING, Trigger.ABORT): ActorState.ENDED,
    (ActorState.RUNNING, Trigger.LEAVE): ActorState.STOPPING,
    (ActorState.STOPPING, Trigger.CLOSED): ActorState.ENDED,
}


def move(state: ActorState, trigger: Trigger) -> ActorState:
    """Return the state after ``trigger``.

    Raises:
      IllegalTransition: the table has no such row (severity CRITICAL: our bug).
    """
    after = MOVES.get((state, trigger))
    if after is None:
        raise IllegalTransition(state=state.value, trigger=trigger.value)
    return after


@frozen
class Normal:
    """The actor ended because its work is done. A transient child is not restarted."""

    def __str__(self) -> str:
        return "normal"


@frozen
class Shutdown:
    """The actor ended because it was asked to, or asked itself to. Not a failure.

    ``detail`` says why, for people; ``None`` is the plain request of a supervisor.
    """

    detail: str | None = None

    def __str__(self) -> str:
        return "shutdown" if self.detail is None else f"shutdown ({self.detail})"


@frozen
class Killed:
    """The actor was cancelled: brutal kill, or it did not stop within its ``shutdown_s``."""

    def __str__(self) -> str:
        return "killed"


@frozen
class Failed:
    """The actor ended with an error; an exception group if several happened together.

    Only `KeyboardInterrupt`, `SystemExit` and groups that hold one of them are not `Exception`:
    those are never restarted, they end the whole tree.
    """

    error: BaseException = field(eq=False)

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {text_of(self.error)}"


Exit = Normal | Shutdown | Killed | Failed
"""How an incarnation ended. OTP's exit reasons: normal, shutdown, killed, anything else."""


def required_wish(answer: object) -> Normal | Shutdown | None:
    """Return what ``stopping()`` answered.

    Raises:
      TypeError: it is no exit that an actor may wish for.
    """
    if isinstance(answer, Normal | Shutdown | None):
        return answer
    msg = f"stopping() returned {answer!r}: return Normal(), Shutdown() or nothing"
    raise TypeError(msg)


def required_exit(reason: object) -> Exit:
    """Return what an actor wants to end with.

    Raises:
      TypeError: it is no exit.
    """
    if isinstance(reason, Exit):
        return reason
    msg = f"reason={reason!r}: an actor ends with Normal(), Shutdown() or Failed(error)"
    raise TypeError(msg)


NORMAL: Final = Normal()
SHUTDOWN: Final = Shutdown()
KILLED: Final = Killed()
