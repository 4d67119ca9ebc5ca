"""The root of every error: the `Severity` scale, `TradingError`, and how an error is sent.

It does not judge: what an error means for a supervisor is decided by rules in
`ringfence.supervisors.severity`. No I/O and no trio; the one outside fact is the wall clock stamp
of a new error. Import from `ringfence.actors.errors`, which has these names and all the others.
"""

import pickle
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import ClassVar, Final, TypeVar, cast

from attrs import Factory, frozen
from typing_extensions import override

from ringfence.actors import seams

LINKS_MAX = 64  # errors followed from one error when it is sent: no chain is deeper in practice


class Severity(Enum):
    """How bad a failure is, as a fact; never what to do about it."""

    __hash__ = object.__hash__  # by identity: several times faster as a key than by name

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    def __lt__(self, other: object) -> bool:
        return self._value_ < other._value_ if isinstance(other, Severity) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._value_ <= other._value_ if isinstance(other, Severity) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._value_ > other._value_ if isinstance(other, Severity) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._value_ >= other._value_ if isinstance(other, Severity) else NotImplemented

    @property
    def level(self) -> str:
        """The name a log uses: INFO, WARNING, ERROR or CRITICAL."""
        return _LEVELS[self]

    def lowered(self) -> "Severity":
        """Tell what this failure is one supervisor further up: CRITICAL never falls."""
        return _LOWERED[self]


_LEVELS = {
    Severity.LOW: "INFO",
    Severity.MEDIUM: "WARNING",
    Severity.HIGH: "ERROR",
    Severity.CRITICAL: "CRITICAL",
}
_LOWERED = {
    Severity.LOW: Severity.LOW,
    Severity.MEDIUM: Severity.LOW,
    Severity.HIGH: Severity.MEDIUM,
    Severity.CRITICAL: Severity.CRITICAL,
}


class ErrorSeverity:
    """Other names of the severities, for those who think in log levels.

    Not enum aliases: a type checker would ask every `match` over `Severity` to name them too.
    """

    LOW: Final = Severity.LOW
    MEDIUM: Final = Severity.MEDIUM
    HIGH: Final = Severity.HIGH
    CRITICAL: Final = Severity.CRITICAL
    INFO: Final = LOW
    WARNING: Final = MEDIUM
    ERROR: Final = HIGH


_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


Sent = Mapping[int, tuple[BaseException, BaseException]]
Link = tuple[BaseException, BaseException | None, BaseException | None, bool]
State = tuple[dict[str, object], list[Link]]


class TradingError(Exception):
    """The root of every error of ours.

    Args:
      message: what happened, the rule, and the fix, for a person.
      context: free keys (`user_id`, `request_id`, `user`, ...). Four have a meaning: `component`
        replaces the class's; `severity`, if it is a `Severity`, replaces the class's;
        `error_code`, if it is text, likewise; `context`, if it is a mapping, holds more keys,
        over which explicit ones win.

    Class attributes: `component`, `error_code` (made from the class name unless set), `severity`
    (the raiser's view, without circumstances: rules may decide otherwise, unless the instance was
    given one) and `declared`, the names of the fields that `context` always holds.
    """

    component: str = "trading"
    error_code: str = "TRADING_ERROR"
    severity: Severity = Severity.HIGH
    declared: ClassVar[tuple[str, ...]] = ()

    wall_ns: int
    _free: Mapping[str, object] | None = None
    _context: dict[str, object] | None = None

    @override
    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        if "error_code" not in cls.__dict__:
            cls.error_code = _WORD_STARTS.sub("_", cls.__name__).upper()

    def __init__(self, message: str = "", **context: object) -> None:
        super().__init__(message)
        self.wall_ns = seams.wall_ns()
        if context:
            self._take(context)

    @property
    def context(self) -> dict[str, object]:
        """Every declared field (None when not given), `component`, then the free keys."""
        if self._context is None:
            context: dict[str, object] = {name: getattr(self, name, None) for name in self.declared}
            context["component"] = self.component
            if self._free:
                context |= self._free
            self._context = context
        return self._context

    @property
    def timestamp(self) -> str:
        """When the error was made: ISO-8601, UTC, ending in Z."""
        seconds, nanoseconds = divmod(self.wall_ns, 1_000_000_000)
        made = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
        return made.isoformat().replace("+00:00", "Z")

    def to_dict(self) -> dict[str, object]:
        """Describe the error as plain data, for a log or an alert."""
        return {
            "message": str(self),
            "error_code": self.error_code,
            "severity": self.severity.level,
            "context": self.context,
            "timestamp": self.timestamp,
        }

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the fields and, unlike Python, the whole chain of causes; not the tracebacks."""
        sent = _sendable(self)
        args = tuple(_swapped(argument, sent) for argument in self.args)
        return _rebuilt, (type(self), args), (self.__dict__, _links(sent))

    @override
    def __setstate__(self, state: object) -> None:
        fields, links = cast("State", state)  # what __reduce__ made
        self.__dict__.update(fields)
        for error, cause, context, suppress in links:
            error.__cause__, error.__context__ = cause, context
            error.__suppress_context__ = suppress

    def _take(self, given: dict[str, object]) -> None:
        more = given.get("context")
        if isinstance(more, Mapping):
            del given["context"]
            given = {**more, **given}
        if isinstance(given.get("severity"), Severity):
            self.__dict__["severity"] = given.pop("severity")
        if isinstance(given.get("error_code"), str):
            self.error_code = str(given.pop("error_code"))
        if given.get("component") is not None:
            self.component = str(given.pop("component"))
        for name in self.declared:
            value = given.pop(name, None)
            if self.__dict__.get(name) is None:
                self.__dict__[name] = value
        self._free = given


ErrorT = TypeVar("ErrorT", bound=BaseException)


def _rebuilt(cls: type[ErrorT], args: tuple[object, ...]) -> ErrorT:
    # Not cls(*args): most constructors here take fields, and args hold the finished text.
    error = cls.__new__(cls, *args)
    error.args = args
    return error


def text_of(error: BaseException) -> str:
    """Return the text of an error; one whose class cannot make it must not hide what happened."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 somebody else's class
        return "(its text cannot be made)"


def _sendable(root: BaseException) -> dict[int, tuple[BaseException, BaseException]]:
    """Find every error reachable from root, each with what may be sent in its place."""
    found = {id(root): (root, root)}
    queue = [root]
    for error in queue:
        members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        for further in (error.__cause__, error.__context__, *members):
            if further is not None and id(further) not in found and len(found) < LINKS_MAX:
                found[id(further)] = (further, _portable(further))
                queue.append(further)
    return found


def _portable(error: BaseException) -> BaseException:
    if isinstance(error, TradingError):
        return error
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 only bytes written on this very line
    except Exception:  # noqa: BLE001 whatever a foreign class raises, the answer is the same
        return ForeignError(f"{type(error).__module__}.{type(error).__qualname__}", text_of(error))
    return error


def _swapped(argument: object, sent: Sent) -> object:
    if isinstance(argument, tuple):
        return tuple(_swapped(item, sent) for item in argument)
    return sent[id(argument)][1] if id(argument) in sent else argument


def _links(sent: Sent) -> list[Link]:
    nothing = (None, None)
    return [
        (
            replacement,
            sent.get(id(error.__cause__), nothing)[1],
            sent.get(id(error.__context__), nothing)[1],
            error.__suppress_context__,
        )
        for error, replacement in sent.values()
        if error.__cause__ is not None or error.__context__ is not None
    ]


class ForeignError(TradingError):
    """Stands for an error of somebody else's class that could not be sent or stored as it is."""

    component = "foreign"
    declared = ("type_name", "text")

    def __init__(self, type_name: str, text: str, **context: object) -> None:
        self.type_name, self.text = type_name, text
        super().__init__(f"{type_name}: {text}", **context)


@frozen
class ErrorContext:
    """The circumstances of a failure, as data.

    Args:
      component: what failed, such as "desk/market_data".
      operation: what it was doing.
      timestamp: when, in seconds of the monotonic clock.
      retry_count: tries before this one.
      metadata: anything else; `message_type` names the class of message.
      wall_ns: when, for display: nanoseconds since 1970-01-01 UTC; None if not known.
      actor_path: of the actor; None outside of one.
      generation: how often its supervisor had started it, from 1; None outside of one.
      request_id: ties what one request caused together; None if there was none.
      client_order_id: of the order concerned; None if there was none.
    """

    component: str
    operation: str
    timestamp: float
    retry_count: int = 0
    metadata: Mapping[str, object] = Factory(dict)
    wall_ns: int | None = None
    actor_path: str | None = None
    generation: int | None = None
    request_id: str | None = None
    client_order_id: str | None = None

    @property
    def message_type(self) -> str:
        """The class of message that was handled, or "unknown"; reading it never fails."""
        name = self.metadata.get("message_type")
        return name if isinstance(name, str) else "unknown"
