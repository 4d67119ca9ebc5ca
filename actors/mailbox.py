"""The mailbox of one address: bounded, with lanes, a policy for when it is full, and statistics.

A mailbox belongs to an *address*, not to an incarnation: it is there before the actor starts,
keeps its messages while the actor restarts, and turns into a dead-letter slot when the actor is
gone for good.

The hot path is `Ref.tell` in `address.py` and the drain loop in `incarnation.py`. Everything
that is rare is reached by *closing the fast lane* instead of by testing for it: the fast lane is
open for a message only if its exact class is in ``accepts`` and the queue is shorter than
``limit``. An unknown class, an urgent message, a full or conflating or closed mailbox all fail
that one test and come here.

It does not run anything: no handler, no task.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen
from outcome import capture
from trio.lowlevel import Abort, enable_ki_protection, reschedule

from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    MailboxFull,
    MessageRefused,
    UnknownName,
)
from ringfence.actors.events import DeadLetterWhy
from ringfence.actors.message import ENVELOPES, Asking, Latest, PortState, Urgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.actors.kernel import Kernel

CAPACITY_DEFAULT: Final = 1000

NOBODYS: Final = object()
"""In place of a question whose asker is gone: it is lost to nobody, so it is no dead letter."""


class Overflow(enum.Enum):
    """What happens to a message that finds the mailbox full."""

    REJECT = "reject"
    """``tell`` raises `MailboxFull`, which carries the message. ``send`` waits for room."""

    DROP_OLDEST = "drop_oldest"
    """The oldest ordinary message makes room and becomes a dead letter."""

    CONFLATE = "conflate"
    """At any depth a message replaces the waiting one of the same class and key, in its place.

    For quotes and books, where only the newest counts. Distinct keys fill the mailbox as usual,
    and then `REJECT` applies.
    """


class OnRestart(enum.Enum):
    """What a restart does to the messages that wait."""

    KEEP = "keep"
    DROP = "drop"
    """They become dead letters: for data that is worthless after a crash."""


@frozen
class MailboxSpec:
    """The mailbox of a child, as data.

    Attributes:
      capacity: how many ordinary messages may wait, at least 1; urgent ones have a bound of their
        own of the same size. Default 1000.
      overflow: what happens at the bound. Default `Overflow.REJECT`: losing is never silent.
      key: for `Overflow.CONFLATE`: name of the message attribute that is the key, or a function of
        the message. Messages without that attribute are one key per class. ``None``: one key per
        class.
      on_restart: what a restart does to waiting messages. Default `OnRestart.KEEP`.
    """

    capacity: int = CAPACITY_DEFAULT
    overflow: Overflow = Overflow.REJECT
    key: str | Callable[[object], object] | None = None
    on_restart: OnRestart = OnRestart.KEEP


@frozen
class MailboxStatistics:
    """A snapshot of one mailbox. Counts are since the address exists, over all incarnations.

    ``depth_max`` is looked at once a batch, before messages are taken out, so it can miss a peak
    by a batch (64 messages) while a handler blocks.
    """

    path: str
    capacity: int
    depth: int
    depth_max: int
    urgent_depth: int
    handled: int
    dropped: int
    conflated: int
    rejected: int
    dead_letters: int
    asks_pending: int
    senders_waiting: int


class Mailbox:
    """Queue, lanes and state of one address. Used by `Ref` and by who drains it."""

    __slots__ = (
        "__weakref__",
        "accepted",
        "accepts",
        "closed_why",
        "dead_letters",
        "depth_max",
        "down_because",
        "dropped",
        "express",
        "handled",
        "incarnation",
        "kernel",
        "latest",
        "limit",
        "merged",
        "normal",
        "parked",
        "path",
        "pending",
        "rejected",
        "senders",
        "spec",
        "system",
        "urgent",
        "watchers",
    )

    def __init__(self, kernel: Kernel, path: str, spec: MailboxSpec) -> None:
        self.kernel = kernel
        self.path = path
        self.spec = spec
        self.normal: deque[object] = deque()
        self.urgent: deque[object] | None = None  # made when first used: an empty deque is 600 B
        self.system: deque[object] | None = None
        self.express = False  # something is in the system or urgent lane, or the actor must leave
        self.parked: trio.lowlevel.Task | None = None
        self.limit = spec.capacity
        self.accepts: set[type] = set()  # exact classes that may take the fast lane
        self.accepted: tuple[type, ...] | None = None  # the declared union; None: anything
        self.closed_why: DeadLetterWhy | None = DeadLetterWhy.UNKNOWN_NAME
        self.down_because: BaseException | None = None  # asks are refused while this is set
        self.incarnation = 0
        self.pending: set[Asking] = set()
        self.latest: dict[object, Latest] | None = None
        self.senders: deque[tuple[trio.lowlevel.Task, object]] = deque()
        self.watchers: dict[Mailbox, int] | None = None
        self.handled = 0
        self.depth_max = 0
        self.dropped = 0
        self.merged = 0
        self.rejected = 0
        self.dead_letters = 0

    # -- opening and closing -------------------------------------------------------------------

    def open(self, accepted: tuple[type, ...] | None) -> None:
        """Accept messages of the classes in ``accepted`` (``None``: of any class)."""
        self.accepted = accepted
        self.closed_why = None
        self.down_because = None
        self.limit = self.spec.capacity
        self.latest = {} if self.spec.overflow is Overflow.CONFLATE else None
        if self.latest is None and accepted is not None:
            self.accepts.update(cls for cls in accepted if not issubclass(cls, Urgent))

    def close(self, why: DeadLetterWhy, cause: BaseException | None) -> None:
        """The actor is gone for good: bury what waits, and from now on everything that comes."""
        if self.closed_why is not None:
            return
        self.closed_why = why
        self.down_because = cause
        self.accepts.clear()
        self.bury_all(why, cause)
        while self.senders:
            self.let_sender_in()

    def bury_all(self, why: DeadLetterWhy, cause: BaseException | None) -> None:
        """Refuse the questions that wait, and make dead letters of everything else."""
        self.refuse_asks(lambda: ActorDown(path=self.path, cause=cause))
        for lane in (self.urgent, self.normal):
            while lane:
                self.bury(self._open_envelope(lane.popleft()), why, cause)

    def bury(self, message: object, why: DeadLetterWhy, cause: BaseException | None) -> None:
        """Make a dead letter of one message, and count it."""
        if message is not NOBODYS:
            self.dead_letters += 1
            self.kernel.bury(self.path, message, why, cause)

    def refuse_asks(self, error: Callable[[], ActorDown | ActorCrashed]) -> None:
        """Fail every question that waits or is being worked on, each with an error of its own."""
        for asking in tuple(self.pending):
            asking.refuse(error())

    def refuse_now(self, cause: BaseException | None) -> None:
        """Refuse questions from now on: the actor is down and will not be back at once."""
        self.down_because = cause if cause is not None else ActorDown(path=self.path, cause=None)
        self.refuse_asks(lambda: ActorDown(path=self.path, cause=cause))

    def _open_envelope(self, entry: object) -> object:
        """Return the message in an entry; `NOBODYS` if it is a question nobody waits for."""
        if entry.__class__ not in ENVELOPES:
            return entry
        if isinstance(entry, Latest):
            return self.take(entry)
        assert isinstance(entry, Asking), "every envelope is an Asking or a Latest"
        return entry.question if entry.state is PortState.WAITING else NOBODYS

    # -- putting in ----------------------------------------------------------------------------

    @enable_ki_protection
    def put(self, message: object) -> None:
        """Deliver a message that the fast lane of `Ref.tell` did not take."""
        if self.closed_why is not None:
            self.bury(message, self.closed_why, self.down_because)
        else:
            self.require_admitted(message)
            self._put_admitted(message)

    def _put_admitted(self, message: object) -> None:
        if isinstance(message, Urgent):
            self._put_urgent(message)
        elif self.latest is not None:
            self._put_latest(message)
        elif len(self.normal) >= self.limit and not self._make_room():
            self.rejected += 1
            raise MailboxFull(message=message, path=self.path, capacity=self.spec.capacity)
        else:
            self.normal.append(message)
            self.wake()

    @enable_ki_protection
    def put_system(self, message: object) -> None:
        """Deliver a message of the runtime (`Terminated`). Never refused for want of room."""
        if self.closed_why is not None:
            self.bury(message, self.closed_why, self.down_because)
            return
        if self.system is None:
            self.system = deque()
        self.system.append(message)
        self.express = True
        self.wake()

    @enable_ki_protection
    def put_question(self, asking: Asking) -> None:
        """Deliver a question that the fast lane of `Ref.ask` did not take; rules as for `put`."""
        question: object = asking.question
        self.require_admitted(question)
        if isinstance(question, Urgent):
            self._put_urgent(asking)
        else:
            if len(self.normal) >= self.limit and not self._make_room():
                self.rejected += 1
                raise MailboxFull(message=question, path=self.path, capacity=self.spec.capacity)
            self.normal.append(asking)
            self.wake()
        self.pending.add(asking)

    def require_admitted(self, message: object) -> None:
        """Raise `MessageRefused` unless the actor takes messages of this class."""
        if not self._admitted(message):
            raise MessageRefused(message=message, path=self.path, accepted=self.accepted or ())

    def _admitted(self, message: object) -> bool:
        """Check the declared union; learn the class so that the next one takes the fast lane."""
        if self.accepted is not None and not isinstance(message, self.accepted):
            return False
        if self.latest is None and not isinstance(message, Urgent):
            self.accepts.add(message.__class__)
        return True

    def _make_room(self) -> bool:
        if self.spec.overflow is not Overflow.DROP_OLDEST:
            return False
        entry = self.normal.popleft()
        self.dropped += 1
        if isinstance(entry, Asking):
            entry.refuse(
                ActorDown(
                    path=self.path,
                    cause=MailboxFull(
                        message=entry.question, path=self.path, capacity=self.spec.capacity
                    ),
                )
            )
        self.bury(self._open_envelope(entry), DeadLetterWhy.DROPPED, None)
        return True

    def _put_urgent(self, entry: object) -> None:
        if self.urgent is None:
            self.urgent = deque()
        if len(self.urgent) >= self.spec.capacity:
            self.rejected += 1
            message = entry.question if isinstance(entry, Asking) else entry
            raise MailboxFull(message=message, path=self.path, capacity=self.spec.capacity)
        self.urgent.append(entry)
        self.express = True
        self.wake()

    def _put_latest(self, message: object) -> None:
        assert self.latest is not None, "only a conflating mailbox has slots"
        key = (message.__class__, self._key_of(message))
        slot = self.latest.get(key)
        if slot is not None:
            slot.message = message
            self.merged += 1
            return
        if len(self.normal) >= self.limit:
            self.rejected += 1
            raise MailboxFull(message=message, path=self.path, capacity=self.spec.capacity)
        slot = Latest(key, message)
        self.latest[key] = slot
        self.normal.append(slot)
        self.wake()

    def _key_of(self, message: object) -> object:
        key = self.spec.key
        if isinstance(key, str):
            return getattr(message, key, None)
        return None if key is None else key(message)

    # -- waking and waiting --------------------------------------------------------------------

    @enable_ki_protection
    def wake(self) -> None:
        """Wake the actor if it sleeps. Exactly one reschedule per park."""
        task = self.parked
        if task is not None:
            reschedule(task)  # first: outside of the loop it raises, and the task sleeps on
            self.parked = None

    async def park(self, task: trio.lowlevel.Task) -> None:
        """Sleep until something is put in. ``task``: the one that calls this."""
        self.parked = task
        await trio.lowlevel.wait_task_rescheduled(self._abort_park)

    def _abort_park(self, _raise_cancel: object) -> Abort:
        self.parked = None
        return Abort.SUCCEEDED

    @enable_ki_protection
    async def wait_room(self, message: object) -> None:
        """Wait, in turn, until ``message`` was put in or the mailbox has closed."""
        sender = (trio.lowlevel.current_task(), message)
        self.senders.append(sender)

        def abort(_raise_cancel: object) -> Abort:
            self.senders.remove(sender)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @enable_ki_protection
    def let_sender_in(self) -> None:
        """Put in the message of the sender that has waited longest, and wake it.

        Were the sender to put it in itself, the scheduler would decide who of two comes first.
        """
        task, message = self.senders.popleft()
        reschedule(task, capture(self.put, message))

    def let_senders_in(self) -> None:
        """Let in as many waiting senders as there is room for."""
        for _ in range(min(len(self.senders), self.limit - len(self.normal))):
            self.let_sender_in()

    def statistics(self) -> MailboxStatistics:
        """Return the numbers as they are now."""
        return MailboxStatistics(
            path=self.path,
            capacity=self.spec.capacity,
            depth=len(self.normal),
            depth_max=max(self.depth_max, len(self.normal)),
            urgent_depth=len(self.urgent or ()),
            handled=self.handled,
            dropped=self.dropped,
            conflated=self.merged,
            rejected=self.rejected,
            dead_letters=self.dead_letters,
            asks_pending=len(self.pending),
            senders_waiting=len(self.senders),
        )

    def absent(self) -> ActorDown:
        """Return the error for a question to an actor that is not there to answer it."""
        if self.closed_why is DeadLetterWhy.UNKNOWN_NAME:
            nearest = self.kernel.nearest(self.path)
            unknown = UnknownName(path=self.path, nearest=() if nearest is None else (nearest,))
            return ActorDown(path=self.path, cause=unknown)
        return ActorDown(path=self.path, cause=self.down_because)

    def held_back(self, message: object) -> bool:
        """Whether ``message`` would not find room now, so that a sender has to wait."""
        if self.closed_why is not None:
            return False
        if len(self.normal) < self.limit and not self.senders:
            return False
        if isinstance(message, Urgent) or self.spec.overflow is Overflow.DROP_OLDEST:
            return False
        if not self._admitted(message):
            return False
        return self.latest is None or (message.__class__, self._key_of(message)) not in self.latest

    def take(self, slot: Latest) -> object:
        """Empty a slot of a conflating mailbox; the next message of its key waits anew."""
        if self.latest is not None:
            self.latest.pop(slot.key, None)
        return slot.message

    def close_with_system(self) -> None:
        """The whole tree has ended."""
        self.close(DeadLetterWhy.STOPPED, None)
