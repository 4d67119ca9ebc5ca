"""The one stream of lifecycle events: what log, journal, metrics and dashboards read.

Events are frozen data, emitted in the order things happened. Nobody listening costs nothing: the
event object is made only if somebody listens.

    >>> stream = EventStream()
    >>> seen = []
    >>> stop = stream.listen(seen.append)
    >>> stream.emit(SystemStopping(at_s=1.0, path="desk", reason="SIGTERM"))
    >>> seen[0].reason
    'SIGTERM'

Pure: no clock, no I/O, no scheduling. A listener is a plain function, called at once; one that
needs to wait puts the event into a channel of its own.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.actors.errors import Severity
    from ringfence.actors.lifecycle import Exit


@frozen(kw_only=True)
class Event:
    """Base of all events. ``at_s``: seconds of `trio.current_time`; ``path``: whom it is about."""

    at_s: float
    path: str


@frozen(kw_only=True)
class SupervisorStarting(Event):
    """A supervisor begins to start its children. ``incarnation`` counts from 1 per address."""

    incarnation: int


@frozen(kw_only=True)
class SupervisorStarted(Event):
    """All static children of the supervisor are up."""

    incarnation: int


@frozen(kw_only=True)
class ActorStarted(Event):
    """``started()`` of an actor returned: it handles messages now."""

    incarnation: int


@frozen(kw_only=True)
class ActorIgnored(Event):
    """``started()`` asked not to run; nobody retries it."""

    incarnation: int


@frozen(kw_only=True)
class ActorStartFailed(Event):
    """The actor could not be built, or ``started()`` failed or took too long."""

    incarnation: int
    error: BaseException = field(eq=False)


@frozen(kw_only=True)
class ActorResumed(Event):
    """A handler failed and the actor goes on with its state; the message is a dead letter."""

    incarnation: int
    error: BaseException = field(eq=False)


@frozen(kw_only=True)
class Ended(Event):
    """An incarnation of an actor or a supervisor ended; all its tasks are closed."""

    incarnation: int
    exit: Exit


@frozen(kw_only=True)
class ActorEnded(Ended):
    """An incarnation of an actor ended."""


@frozen(kw_only=True)
class SupervisorEnded(Ended):
    """An incarnation of a supervisor ended, after all its children."""


@frozen(kw_only=True)
class ChildStarted(Event):
    """A supervisor (``path``) has started its child. OTP: progress report."""

    child: str


@frozen(kw_only=True)
class ChildTerminated(Event):
    """A child ended by itself in a way its supervisor reports. OTP: child_terminated."""

    child: str
    exit: Exit


@frozen(kw_only=True)
class ChildStartFailed(Event):
    """A start or restart of a child failed. OTP: start_error."""

    child: str
    error: BaseException = field(eq=False)


@frozen(kw_only=True)
class ChildStopFailed(Event):
    """A child that was told to stop ended in another way than asked. OTP: shutdown_error.

    A dynamic supervisor stops all its children at once and says this once for each way to end
    wrongly: ``child`` is then the id of its template, ``count`` how many ended so.
    """

    child: str
    exit: Exit
    count: int = 1


@frozen(kw_only=True)
class RestartScheduled(Event):
    """A restart waits. ``attempt`` counts backoffs in a row, from 1; ``delay_s`` is the wait."""

    child: str
    delay_s: float
    attempt: int


@frozen(kw_only=True)
class SupervisorGaveUp(Event):
    """A supervisor ends itself so that its parent decides. OTP: shutdown report."""

    child: str
    why: str
    severity: Severity


@frozen(kw_only=True)
class StopOverdue(Event):
    """A child was cancelled ``waited_s`` ago and has still not ended: it shields itself."""

    child: str
    waited_s: float


class DeadLetterWhy(enum.Enum):
    """Why a message was not handled."""

    UNKNOWN_NAME = "no actor has this name"
    STOPPED = "the actor has ended"
    CRASHED_ON = "the actor failed while handling it"
    RESUMED_PAST = "the handler failed and the actor went on without it"
    DROPPED = "the mailbox was full and the oldest message made room"
    FULL = "the mailbox was full"
    RESTART = "the mailbox is emptied when its actor restarts"


@frozen(kw_only=True)
class DeadLetter(Event):
    """A message nobody handled. ``hint`` names the nearest known address for an unknown name."""

    message: object = field(eq=False)
    why: DeadLetterWhy
    cause: BaseException | None = field(default=None, eq=False)
    hint: str | None = None


@frozen(kw_only=True)
class ListenerDropped(Event):
    """A listener of this stream raised; it gets no more events."""

    error: Exception = field(eq=False)


@frozen(kw_only=True)
class LoopBlocked(Event):
    """The event loop did not turn for ``blocked_s`` seconds; ``stack`` is what it was doing."""

    blocked_s: float
    stack: str


@frozen(kw_only=True)
class SystemStarted(Event):
    """The whole tree is up."""


@frozen(kw_only=True)
class SystemStopping(Event):
    """The whole tree is asked to stop, in reverse start order."""

    reason: str


@frozen(kw_only=True)
class SystemStopped(Event):
    """The tree has ended. ``clean``: as asked, with every child stopped as it should."""

    clean: bool


class EventStream:
    """Hands every event to every listener, in order."""

    __slots__ = ("listeners",)

    def __init__(self) -> None:
        self.listeners: tuple[Callable[[Event], None], ...] = ()
        """Look at this before making an event: empty means nobody listens."""

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener(event)`` for each event from now on; return the function that ends it.

        The listener must not block and must not raise: one that raises is dropped, with a
        `ListenerDropped` event for the others, and never harms whoever emitted the event.
        """
        self.listeners = (*self.listeners, listener)

        def stop() -> None:
            self.listeners = tuple(other for other in self.listeners if other is not listener)

        return stop

    def emit(self, event: Event) -> None:
        """Hand ``event`` to every listener."""
        dropped: list[Event] = []
        for listener in self.listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - an observer must never harm the observed
                self.listeners = tuple(other for other in self.listeners if other is not listener)
                dropped.append(ListenerDropped(at_s=event.at_s, path=event.path, error=error))
        for drop in dropped:  # only now: the others have seen the event it happened on
            self.emit(drop)
