"""`Actor`, the class users derive from, and `Context`, what an actor can do besides receive.

    >>> from attrs import define
    >>> @define
    ... class Counter(Actor[int]):
    ...     total: int = 0
    ...
    ...     async def receive(self, message: int) -> None:
    ...         self.total += message

An actor is built from a `Start` for each incarnation, so its state is fresh after a restart. It
never runs itself: see `incarnation.py` for its life and `ringfence.supervisors` for its death.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import sys
import types
import typing
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from attrs import frozen

from ringfence.actors.address import Ref
from ringfence.actors.lifecycle import NORMAL, required_exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import structlog

    from ringfence.actors.address import Name
    from ringfence.actors.incarnation import Incarnation
    from ringfence.actors.lifecycle import Exit, Normal, Shutdown
    from ringfence.actors.timers import Timer

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
Args = typing.TypeVarTuple("Args")


class Ignore(enum.Enum):
    """Returned from ``started()``: do not run this actor, and do not retry it (OTP's ignore)."""

    IGNORE = "ignore"


IGNORE: typing.Final = Ignore.IGNORE


@frozen
class Info:
    """Returned from ``started()``: handed to who called ``start_child`` or ``restart_child``."""

    value: object


@frozen
class Terminated:
    """Told to a watcher, before its ordinary messages, each time the watched actor ends.

    Attributes:
      path: the address of the watched actor.
      incarnation: which one ended, from 1; 0 if there was none to watch.
      exit: how it ended; the error is inside if it failed.
    """

    path: str
    incarnation: int
    exit: Exit


class Actor(Generic[M_contra]):
    """Base class of all actors: ``class Portfolio(Actor[Fill | PositionOf])``.

    The type in brackets is the union of the messages the actor takes; the sender of any other
    gets `MessageRefused`, and the type checker says so earlier.
    """

    __slots__ = ("context",)

    context: Context[M_contra]
    """Set before ``started()``, for the life of the incarnation."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> typing.Never:
            """Say when there is a context; called only for attributes that are not there."""
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name == "context":
                text += ": it is there from started() on, until the incarnation has ended"
            raise AttributeError(text, name=name, obj=self)

    async def started(self) -> Ignore | Info | None:
        """Acquire what the actor needs. The next sibling starts only when this returned.

        Bounded by the child's ``start_s``. An error here is a failed start: ``stopping`` is not
        called. Messages wait meanwhile. Return `IGNORE` not to run at all.
        """

    def receive(self, message: M_contra) -> Awaitable[None] | None:
        """Handle one message. ``async def`` or plain ``def``; one at a time, in order.

        An error ends this incarnation; the message is not delivered again.
        """
        raise NotImplementedError

    async def stopping(self, reason: Exit) -> Normal | Shutdown | None:
        """Release what ``started`` acquired. Called for every end of a started incarnation.

        After a failure too; only a brutal kill leaves it out. Bounded by ``shutdown_s``.
        Background tasks still run; they are cancelled when this returns.

        Return an exit to end with that instead of ``reason`` ("asked to stop, but my work was
        done": `Normal`). It cannot make a failure or a kill undone.
        """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        # The loop that calls the hooks is protected from KeyboardInterrupt; user code is not, or
        # a handler that spins could not be interrupted.
        for hook in ("started", "receive", "stopping"):
            method = getattr(cls, hook)  # its own, or that of a base which is no actor
            if inspect.isfunction(method):
                trio.lowlevel.disable_ki_protection(method)


class Context(Generic[M_contra]):
    """What an actor can do: who it is, timers, topics, watching, background tasks, its own end.

    Everything begun here ends with the incarnation.
    """

    __slots__ = ("_life", "_log")

    def __init__(self, life: Incarnation) -> None:
        self._life = life
        self._log: structlog.typing.FilteringBoundLogger | None = None

    @property
    def path(self) -> str:
        """The address of this actor."""
        return self._life.box.path

    @property
    def incarnation(self) -> int:
        """Which incarnation this is, counted from 1 over the life of the address."""
        return self._life.number

    @property
    def ref(self) -> Ref[M_contra]:
        """The handle on this actor, valid over restarts: give it to others."""
        return Ref(self._life.box)

    def ref_of(self, name: Name[M]) -> Ref[M]:
        """Return the handle on another actor by its typed name, whether it runs yet or not."""
        return typing.cast("Ref[M]", self._life.kernel.ref(name.path))

    def after(self, delay_s: float, message: M_contra) -> Timer:
        """Tell this actor ``message`` once, ``delay_s`` seconds from now. Returns the timer.

        A full mailbox makes a dead letter of it.

        Raises:
          MessageRefused: the actor does not take messages of this class.
        """
        return self._life.own().after(delay_s, message)

    def every(self, period_s: float, message: M_contra) -> Timer:
        """Tell this actor ``message`` every ``period_s`` seconds, the first time after one period.

        The schedule does not drift. Periods missed while the loop was late are skipped, not made
        up for, so a slow actor is never flooded by its own clock.
        """
        return self._life.own().every(period_s, message)

    def watch(self, ref: Ref[M]) -> None:
        """Be told `Terminated` each time the actor of ``ref`` ends, until `unwatch`.

        If it is gone for good already, the message comes at once. ``Terminated`` must be in this
        actor's declared union.
        """
        self._life.own().watch(typing.cast("Ref[object]", ref))

    def unwatch(self, ref: Ref[M]) -> None:
        """Undo `watch`."""
        self._life.own().unwatch(typing.cast("Ref[object]", ref))

    def publish(self, message: object) -> None:
        """Tell ``message`` to every actor that subscribed to its class or a base of it."""
        self._life.kernel.publish(message)

    def subscribe(self, topic: type[M_contra]) -> None:
        """Get every published message of class ``topic``, which must be in the declared union."""
        self._life.own().subscribe(topic)

    def unsubscribe(self, topic: type[M_contra]) -> None:
        """Undo `subscribe`."""
        self._life.own().unsubscribe(topic)

    def start_soon(self, fn: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Run ``fn(*args)`` beside the handlers, in this actor's own nursery.

        Its failure is the actor's failure, together with any other at the same time, as one
        exception group. It is cancelled after ``stopping`` returned.
        """
        self._life.start_soon(fn, args)

    def stop(self, reason: Exit = NORMAL) -> None:
        """End this actor after the current message, with ``reason`` (default `Normal`).

        Raises:
          TypeError: ``reason`` is no exit.
        """
        self._life.leave(required_exit(reason))

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A structured logger that already knows ``actor`` and ``incarnation``."""
        if self._log is None:
            import structlog  # noqa: PLC0415 - an actor that never logs does not pay for it

            self._log = structlog.get_logger().bind(actor=self.path, incarnation=self.incarnation)
        return self._log


def attach(actor: Actor[typing.Never], context: Context[typing.Never]) -> None:
    """Give an actor its context, even a frozen one.

    Raises:
      ValueError: it has one: two incarnations cannot be one object.
    """
    try:
        other = _CONTEXT.__get__(actor)
    except AttributeError:
        other = None
    if isinstance(other, Context):
        msg = f"{context.path} got an object that {other.path} uses: build a new one each time"
        raise ValueError(msg)  # noqa: TRY004 - its type is right
    _CONTEXT.__set__(actor, context)


def detach(actor: Actor[typing.Never]) -> None:
    """Take an actor's context away: its incarnation has ended, and nothing may outlive it."""
    with contextlib.suppress(AttributeError):  # its own code may have deleted it
        _CONTEXT.__delete__(actor)


_CONTEXT = Actor.__dict__["context"]  # the slot: a frozen subclass refuses ordinary assignment


def has_hook(cls: type[Actor[typing.Never]], hook: str) -> bool:
    """Say whether ``cls`` defines the hook itself, so that an empty one costs nothing."""
    return getattr(cls, hook) is not getattr(Actor, hook)


def accepted_types(cls: type[Actor[typing.Never]]) -> tuple[type, ...] | None:
    """Return the classes of the union declared in ``Actor[...]``; ``None`` if it takes anything."""
    if cls not in _ACCEPTED:
        found: set[type] = set()
        _ACCEPTED[cls] = tuple(found) if _collect(_argument_of(cls), cls, found) else None
    return _ACCEPTED[cls]


_ACCEPTED: weakref.WeakKeyDictionary[type, tuple[type, ...] | None] = weakref.WeakKeyDictionary()


def _argument_of(cls: type) -> object:
    """Return what stands in the brackets of ``Actor[...]``, through generic bases in between."""
    for base in getattr(cls, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if origin is Actor:
            return typing.get_args(base)[0]
        if isinstance(origin, type) and issubclass(origin, Actor):
            return _filled_in(_argument_of(origin), origin, typing.get_args(base))
    for plain in cls.__bases__:
        if plain is not Actor and issubclass(plain, Actor):
            return _argument_of(plain)
    return object


def _filled_in(argument: Any, origin: Any, given: tuple[object, ...]) -> object:
    """Return ``argument`` with the type variables of the generic class ``origin`` filled in."""
    values = dict(zip(origin.__parameters__, given, strict=False))
    if isinstance(argument, TypeVar):
        return values.get(argument, argument)
    variables = getattr(argument, "__parameters__", ())
    return argument[tuple(values.get(var, var) for var in variables)] if variables else argument


def _collect(argument: Any, cls: type, found: set[type]) -> bool:
    """Add the classes of one type expression to ``found``; return False for "anything"."""
    if isinstance(argument, typing.ForwardRef):
        return _collect(_resolved(argument.__forward_arg__, cls), cls, found)
    if isinstance(argument, typing.NewType):
        return _collect(argument.__supertype__, cls, found)
    if hasattr(argument, "__value__") and not isinstance(argument, type):
        return _collect(argument.__value__, cls, found)  # a type alias of Python 3.12
    if argument is typing.Never or argument is typing.NoReturn:
        return True
    if typing.is_typeddict(argument):
        argument = dict
    origin = typing.get_origin(argument)
    if origin is typing.Union or origin is types.UnionType:
        known = True
        for part in typing.get_args(argument):
            known = _collect(part, cls, found) and known
        return known
    if origin is typing.Annotated:
        return _collect(typing.get_args(argument)[0], cls, found)
    if origin is typing.Literal:
        found.update(value.__class__ for value in typing.get_args(argument))
        return True
    if argument is None:
        argument = type(None)
    if isinstance(origin, type):
        argument = origin
    if not isinstance(argument, type) or argument is object or not _checkable(argument):
        return False
    found.update((argument, *_PROMOTED.get(argument, ())))
    return True


_PROMOTED: dict[type, tuple[type, ...]] = {float: (int,), complex: (float, int)}
"""Type checkers let an ``int`` pass for a ``float``; so do we."""


def _checkable(cls: type) -> bool:
    """Say whether ``isinstance`` works with ``cls``: not for ``Any`` and most protocols."""
    try:
        isinstance(None, cls)
    except TypeError:
        return False
    return True


def _resolved(text: str, cls: type) -> object:
    """Return the type a quoted annotation names, or ``object`` if it cannot be known here."""
    try:
        return eval(text, vars(sys.modules[cls.__module__]))  # noqa: S307 - the user's own annotation
    except (NameError, KeyError, AttributeError, TypeError):
        return object
