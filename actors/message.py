"""Messages: plain frozen data, questions that know the type of their answer, and the urgent mark.

A message is any object; a frozen attrs class is the house style. Two base classes add meaning:

    >>> from attrs import frozen
    >>> @frozen
    ... class PositionOf(Ask[int]):
    ...     symbol: str
    >>> @frozen
    ... class Halt(Urgent):
    ...     reason: str

`Ask` makes a question: ``await ref.ask(PositionOf("BTC"), within_s=1.0)`` is an ``int``.
`Urgent` makes a message overtake the ordinary ones that wait in the mailbox.

It does not queue or deliver anything: that is `mailbox.py` and `address.py`.
"""

from __future__ import annotations

import copy
import enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from outcome import Error, Value
from trio.lowlevel import Abort, enable_ki_protection, reschedule

from ringfence.actors.errors import AskTimeout, ReplyTwice

if TYPE_CHECKING:
    from typing import Self

    import trio

    from ringfence.actors.mailbox import Mailbox

M_co = TypeVar("M_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
Q = TypeVar("Q", bound="Ask[object]")


class Urgent:
    """Mark a message class as urgent: cancel, halt, flatten.

    Urgent messages are handled before ordinary ones, in the order they came, after the system's
    own (a stop, a `Terminated`). They have their own bound, of the mailbox's capacity.
    """

    __slots__ = ()


class PortState(enum.Enum):
    """What became of one question."""

    WAITING = "waiting"
    ANSWERED = "answered"
    VOID = "void"
    """The asker is gone (deadline, cancellation, end of the actor): a late reply goes nowhere."""


class Asking:
    """One question on its way: the envelope in the mailbox and the port the answer goes back to.

    The asker gets exactly one outcome, whichever comes first: the reply, an error, its deadline,
    its own cancellation. Each of them looks at ``state`` and changes it, with no checkpoint in
    between.
    """

    __slots__ = ("box", "deadline_s", "deferred", "question", "state", "taken", "task", "within_s")

    def __init__(
        self,
        question: Ask[object],
        task: trio.lowlevel.Task,
        box: Mailbox,
        within_s: float,
        deadline_s: float,
    ) -> None:
        self.question = question
        self.task = task
        self.box = box
        self.within_s = within_s
        self.deadline_s = deadline_s
        self.state = PortState.WAITING
        self.deferred = False
        self.taken = False  # a handler has seen it

    def unanswered(self) -> bool:
        """Whether the asker waits and nobody promised to answer later."""
        return self.state is PortState.WAITING and not self.deferred

    def may_still_be_answered(self) -> bool:
        """Whether somebody waits, or some handler may come late with an answer."""
        return self.state is PortState.WAITING or (self.state is PortState.VOID and self.taken)

    @enable_ki_protection
    def answer(self, outcome: Value[object] | Error) -> None:
        """Give the asker the actor's answer; drop it silently if the asker is gone."""
        if self.state is PortState.WAITING:
            reschedule(self.task, outcome)  # first: outside of the loop it raises
            self.state = PortState.ANSWERED
            self.box.pending.discard(self)
        elif self.state is PortState.ANSWERED:
            raise ReplyTwice(path=self.box.path, question=self.question)

    @enable_ki_protection
    def refuse(self, error: Exception) -> None:
        """Fail the question in the name of the runtime, unless it has its outcome already."""
        if self.state is PortState.WAITING:
            self.void()
            reschedule(self.task, Error(error))

    def expire(self) -> None:
        """Fail the question: its deadline has come."""
        self.refuse(AskTimeout(limit=self.within_s, elapsed=self.within_s, scope=self.box.path))

    def abort(self, _raise_cancel: object) -> Abort:
        """The asker is cancelled."""
        self.void()
        return Abort.SUCCEEDED

    def void(self) -> None:
        """Nobody waits any more: an answer from now on goes nowhere."""
        self.state = PortState.VOID
        self.box.pending.discard(self)


class Ask(Generic[R_co]):
    """Base class of a question whose reply has type ``R_co``.

    The handler of the question calls exactly one of `reply` and `fail`, or `defer` to answer
    later. A handler that returns without any of them fails the question with `NoReply`.
    """

    __slots__ = ("_port",)

    if TYPE_CHECKING:
        # How `Ref.ask` checks both at once, that the question is one of the actor's messages and
        # what its reply is: see `AskOf`. Nothing has these methods at run time.
        def _as_message(self) -> Self: ...
        def _reply_type(self) -> R_co: ...

    # The reply type is covariant so that `print(await ref.ask(question))` type-checks; the value
    # given to `reply` is still checked against the type declared by the question's class.
    def reply(self, value: R_co) -> None:  # type: ignore[misc]
        """Answer the asker with ``value``. Late answers (the asker is gone) go nowhere.

        Raises:
          ReplyTwice: the question already has an answer (severity HIGH).
        """
        port: Asking | None = getattr(self, "_port", None)
        if port is not None:
            port.answer(Value(value))

    def fail(self, error: Exception) -> None:
        """Answer the asker with ``error``: it is raised from its ``ask``.

        For a question that cannot be answered. The actor itself goes on: a failure of the actor
        is raised, not sent.
        """
        port = port_of(self)
        if port is not None:
            port.answer(Error(error))

    def defer(self) -> None:
        """Promise to answer after the handler has returned, from a later message or a task.

        The asker still has its deadline, and gets `ActorCrashed` or `ActorDown` at once if this
        actor ends before it answered.
        """
        port = port_of(self)
        if port is not None:
            port.deferred = True

    def __getstate__(self) -> object:
        """Leave the port behind: neither a copy nor a question sent elsewhere has an asker."""
        state = object.__getstate__(self)
        if not isinstance(state, tuple):
            return state
        attributes, slots = state
        return attributes, {name: slots[name] for name in slots if name != "_port"}


class AskOf(Protocol[M_co, R_co]):
    """For the type checker: a question that is an ``M`` and is answered by an ``R``."""

    def _as_message(self) -> M_co: ...
    def _reply_type(self) -> R_co: ...


_bind_port = Ask.__dict__["_port"].__set__  # a frozen subclass refuses ordinary assignment


def port_of(question: Ask[object]) -> Asking | None:
    """Return the port of a question that was asked; ``None`` if it was only told."""
    return getattr(question, "_port", None)


def address(
    question: Q, task: trio.lowlevel.Task, box: Mailbox, within_s: float, deadline_s: float
) -> Asking:
    """Put a question into its envelope.

    A question object that may still be answered for an earlier ``ask`` is copied first, so that
    two askers never share a port and a late reply can never answer the wrong one.

    Raises:
      TypeError: it is no question.
    """
    if not isinstance(question, Ask):
        msg = f"{question!r} is no question: ask an object of a class that derives from Ask[...]"
        raise TypeError(msg)
    before: Asking | None = getattr(question, "_port", None)
    answered = before is None or before.state is PortState.ANSWERED
    if not answered and before is not None and before.may_still_be_answered():
        question = copy.copy(question)
    asking = Asking(question, task, box, within_s, deadline_s)
    _bind_port(question, asking)
    return asking


class Latest:
    """A slot in a conflating mailbox: the newest message of one key, at the oldest one's place."""

    __slots__ = ("key", "message")

    def __init__(self, key: object, message: object) -> None:
        self.key = key
        self.message = message


ENVELOPES = frozenset({Asking, Latest})
"""What a mailbox may hold besides plain messages; everything else is handed over as it is."""


def plain(entry: object) -> object:
    """Return the message in an entry of a mailbox."""
    if isinstance(entry, Asking):
        return entry.question
    return entry.message if isinstance(entry, Latest) else entry
