"""Addresses: `Name`, known before anything runs, and `Ref`, the handle one sends with.

    >>> PORTFOLIO = Name[str]("desk/portfolio")
    >>> PORTFOLIO.path
    'desk/portfolio'

Both are typed by the messages they take. A ``Ref`` stays valid over restarts, for ever: it points
to the mailbox of the address, not to an incarnation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

import trio
from attrs import frozen
from trio.lowlevel import enable_ki_protection, reschedule

from ringfence.actors.message import address

if TYPE_CHECKING:
    from ringfence.actors.mailbox import Mailbox, MailboxStatistics
    from ringfence.actors.message import Ask, Asking, AskOf

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


@frozen
class Name(Generic[M_contra]):
    """The address of an actor that takes messages of type ``M``, known before the actor runs.

    ``path`` is the ids from the root of the tree down, joined by "/". `Context.ref_of` turns a
    name into a `Ref`; a name that no actor has leads to dead letters that name the nearest known.
    """

    path: str


class Ref(Generic[M_contra]):
    """A handle on one address. Cheap, hashable, equal to any other handle on the same address."""

    __slots__ = ("_box",)

    def __init__(self, box: Mailbox) -> None:
        self._box = box

    @property
    def path(self) -> str:
        """The address: the ids from the root of the tree down, joined by "/"."""
        return self._box.path

    @enable_ki_protection
    def tell(self, message: M_contra) -> None:
        """Put ``message`` into the mailbox and go on. Never blocks.

        A target that is down keeps the message for its next incarnation. A target that is gone
        for good, or a name nobody has, makes a dead letter of it; that never raises.

        Raises:
          MailboxFull: the mailbox is full and its policy is to refuse; carries the message.
          MessageRefused: the actor does not take messages of this class; names those it takes.
        """
        box = self._box
        normal = box.normal
        if message.__class__ in box.accepts and len(normal) < box.limit:
            normal.append(message)
            task = box.parked
            if task is not None:
                reschedule(task)  # first: outside of the loop it raises, and the task sleeps on
                box.parked = None
        else:
            box.put(message)

    async def send(self, message: M_contra) -> None:
        """Put ``message`` into the mailbox, waiting for room if it is full (backpressure).

        Senders get room in the order they came. If the actor ends for good while this waits, the
        message becomes a dead letter and ``send`` returns.

        Raises:
          MessageRefused: as `tell`.
          MailboxFull: the message is urgent, and so many urgent ones wait; they have no queue.
        """
        await trio.lowlevel.checkpoint()
        box = self._box
        if box.held_back(message):
            await box.wait_room(message)
        else:
            self.tell(message)

    @enable_ki_protection  # a task that waits for an answer must not be torn out half-way
    async def ask(self, question: AskOf[M_contra, R], *, within_s: float) -> R:
        """Put a question and wait for its answer, at most ``within_s`` seconds.

        The deadline travels with the question: once it has passed, nobody works on it. The outcome
        is exactly one of: the reply, one of the errors below, your own cancellation.

        Raises:
          AskTimeout: no answer in time.
          ActorCrashed: the actor failed while the question waited or was worked on; its cause is
            the failure.
          ActorDown: the actor has ended, waits for a delayed restart, or never existed.
          NoReply: the handler returned without an answer.
          MailboxFull, MessageRefused: as `tell`.
          ValueError, TypeError: no deadline, or no question.
        """
        if within_s.__class__ is not float or not within_s > 0:
            _require_deadline(within_s)
        await trio.lowlevel.checkpoint_if_cancelled()
        box = self._box
        if box.closed_why is not None or box.down_because is not None:
            await trio.lowlevel.checkpoint()
            raise box.absent()
        deadline_s = trio.current_time() + within_s
        task = trio.lowlevel.current_task()
        asking = address(cast("Ask[R]", question), task, box, within_s, deadline_s)
        if asking.question.__class__ in box.accepts and len(box.normal) < box.limit:
            box.normal.append(asking)
            box.pending.add(asking)
            owner = box.parked
            if owner is not None:
                reschedule(owner)  # first: outside of the loop it raises, and the task sleeps on
                box.parked = None
        else:
            _put_question(box, asking)
        timer = box.kernel.timers.call_at(deadline_s, asking.expire)
        try:
            return await trio.lowlevel.wait_task_rescheduled(asking.abort)  # type: ignore[no-any-return]
        finally:
            timer.cancel()

    def statistics(self) -> MailboxStatistics:
        """Return the numbers of the mailbox as they are now."""
        return self._box.statistics()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other._box is self._box

    def __hash__(self) -> int:
        return hash(id(self._box))

    def __repr__(self) -> str:
        return f"Ref({self.path!r})"


def _put_question(box: Mailbox, asking: Asking) -> None:
    """Deliver a question that the fast lane did not take; one that is refused has no port."""
    try:
        box.put_question(asking)
    except BaseException:
        asking.void()
        raise


def _require_deadline(within_s: object) -> None:
    try:
        above_zero = within_s > 0  # type: ignore[operator]
    except TypeError:
        above_zero = False
    if not above_zero:
        msg = f"within_s={within_s!r}: a question needs a deadline, a number of seconds above 0"
        raise ValueError(msg)
