"""The rules that say what each class of exception is, as data to read, extend or replace.

It does not look at causes or groups: `ringfence.supervisors.severity` does, and has all the names
of this file. Pure: no clock, no I/O.

How one exception is judged. The rules for its class are tried first, then those for each parent in
the order of `__mro__`; among rules for the same class, in the order they are written. The first
whose conditions hold decides. A `TradingError` that was given a severity of its own keeps it.
"""

from collections.abc import Iterable
from enum import Enum
from fnmatch import fnmatchcase

from attrs import field, frozen

from ringfence.actors import errors
from ringfence.actors.errors import ConfigurationError, Severity, TradingError

CLASSES_MAX = 1_000  # classes whose rules are remembered; more come only from classes made in loops


class Kind(Enum):
    """What went wrong, for those who choose between retry, fallback and a person."""

    TRANSIENT = "transient"
    TIMEOUT = "timeout"
    OVERLOAD = "overload"
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    AUTH = "auth"
    VALIDATION = "validation"
    BUSINESS = "business"
    RISK = "risk"
    CONFIGURATION = "configuration"
    BUG = "bug"
    UNKNOWN = "unknown"


@frozen
class Span:
    """A range of whole numbers, `at_least <= n < below`; `below=None` has no end."""

    at_least: int = 0
    below: int | None = None

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int) or number < self.at_least:
            return False
        return self.below is None or number < self.below


Match = type[Exception] | str


def _matches(given: Match | Iterable[Match]) -> tuple[Match, ...]:
    return (given,) if isinstance(given, str | type) else tuple(given)


@frozen
class Rule:
    """One row of the table: which exceptions, in which circumstances, are what.

    Args:
      name: for logs and reports.
      match: a class, or its full name as text ("trio.BrokenResourceError", so that a library need
        not be imported), or several of them. Subclasses match too.
      severity: how bad it is.
      kind: what it is.
      retryable: the same call may succeed later.
      counts_for_breaker: it says something about the health of the other side.
      outcome_unknown: what was asked for may have happened nevertheless.
      component: a pattern as in file names ("*market_data*"); None holds for each component.
      recent_failures: how many failures the component had lately; None holds for any number.
      status_code: range of the exception's `status_code`; None holds for any, and for none.
      final: neither its members nor its causes are looked at.

    Raises:
      ConfigurationError: `match` is empty, or holds something that is no class of `Exception`.
    """

    name: str
    match: tuple[Match, ...] = field(converter=_matches)
    severity: Severity
    kind: Kind
    retryable: bool = field(default=False, kw_only=True)
    counts_for_breaker: bool = field(default=False, kw_only=True)
    outcome_unknown: bool = field(default=False, kw_only=True)
    component: str | None = field(default=None, kw_only=True)
    recent_failures: Span | None = field(default=None, kw_only=True)
    status_code: Span | None = field(default=None, kw_only=True)
    final: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        wrong = [item for item in self.match if not _can_match(item)]
        if wrong or not self.match:
            raise ConfigurationError(
                f"rule {self.name!r} matches {wrong or 'nothing'}: "
                "`match` takes subclasses of Exception, or their full names as text"
            )

    @property
    def conditional(self) -> bool:
        """Whether it may not hold for an exception of its class."""
        conditions = (self.component, self.recent_failures, self.status_code)
        return any(condition is not None for condition in conditions)

    @property
    def knows(self) -> bool:
        """Whether it is about something more special than every exception there is."""
        return Exception not in self.match

    def holds(self, error: Exception, component: str, recent_failures: int) -> bool:
        """Tell whether its conditions are met; that the class matches is known already."""
        return (
            (self.recent_failures is None or recent_failures in self.recent_failures)
            and (self.component is None or fnmatchcase(component, self.component))
            and (self.status_code is None or _status_of(error) in self.status_code)
        )


def _status_of(error: Exception) -> object:
    try:
        return getattr(error, "status_code", None)
    except Exception:  # noqa: BLE001 - a property of somebody else's class
        return None


def _can_match(item: object) -> bool:
    return isinstance(item, str) or (isinstance(item, type) and issubclass(item, Exception))


# SV-08: an exception nobody has described is HIGH, so its supervisor escalates. To have plain
# exceptions restarted instead, as OTP does, this is the one row to replace.
UNKNOWN = Rule("unknown", Exception, Severity.HIGH, Kind.UNKNOWN)


def _in_order(rows: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(rows)


@frozen
class Rules:
    """An ordered table of rules; where no row holds, `UNKNOWN` does."""

    rows: tuple[Rule, ...] = field(converter=_in_order)
    _by_class: dict[type, tuple[tuple[Rule, bool], ...]] = field(
        factory=dict, init=False, eq=False, repr=False
    )

    def extended(self, *rows: Rule) -> "Rules":
        """Return a table in which these rows stand before all present ones."""
        return Rules((*rows, *self.rows))

    def rule_for(self, error: Exception, *, component: str = "", recent_failures: int = 0) -> Rule:
        """Return the row that decides about this one exception, without its causes and members."""
        rows = self._by_class.get(type(error))
        if rows is None:
            rows = self._look_up(type(error))
        for rule, conditional in rows:
            if not conditional or rule.holds(error, component, recent_failures):
                return rule
        return UNKNOWN

    def _look_up(self, cls: type) -> tuple[tuple[Rule, bool], ...]:
        rows: list[tuple[Rule, bool]] = []
        for parent in cls.__mro__:
            name = f"{parent.__module__}.{parent.__qualname__}"
            rows += [
                (rule, rule.conditional)
                for rule in self.rows
                if parent in rule.match or name in rule.match
            ]
        if len(self._by_class) >= CLASSES_MAX:
            self._by_class.clear()
        found = self._by_class[cls] = tuple(rows)
        return found


def _by_recent_failures(
    name: str, match: Match | tuple[Match, ...], kind: Kind, *, outcome_unknown: bool
) -> list[Rule]:
    # SV-03: the first three are noise, up to ten are a bad day, more is an outage.
    return [
        Rule(
            name,
            match,
            severity,
            kind,
            retryable=True,
            counts_for_breaker=True,
            outcome_unknown=outcome_unknown,
            recent_failures=span,
        )
        for severity, span in (
            (Severity.LOW, Span(below=3)),
            (Severity.MEDIUM, Span(3, 10)),
            (Severity.HIGH, None),
        )
    ]


def _server_failure(name: str, match: tuple[Match, ...], kind: Kind, span: Span) -> Rule:
    return Rule(
        name,
        match,
        Severity.MEDIUM,
        kind,
        retryable=True,
        counts_for_breaker=True,
        outcome_unknown=True,
        status_code=span,
    )


def _by_status(*match: Match) -> list[Rule]:
    refused = (Severity.HIGH, Kind.AUTH)
    return [
        Rule(
            "status 429",
            match,
            Severity.MEDIUM,
            Kind.RATE_LIMITED,
            retryable=True,
            status_code=Span(429, 430),
        ),
        Rule("status 401", match, *refused, status_code=Span(401, 402)),
        Rule("status 403", match, *refused, status_code=Span(403, 404)),
        _server_failure("status 408", match, Kind.TIMEOUT, Span(408, 409)),
        Rule("status 4xx", match, Severity.HIGH, Kind.VALIDATION, status_code=Span(400, 500)),
        _server_failure("status 503", match, Kind.OVERLOAD, Span(503, 504)),
        _server_failure("status 504", match, Kind.TIMEOUT, Span(504, 505)),
        _server_failure("status 5xx", match, Kind.SERVER, Span(500, 600)),
    ]


_BAD_DATA = (ValueError, KeyError, TypeError, errors.DataProcessingError, errors.ValidationError)
_NOT_SENT = (ConnectionRefusedError, "socket.gaierror")
_NETWORK = (OSError, errors.NetworkError, "trio.BrokenResourceError")
_TIMEOUTS = (TimeoutError, errors.OperationTimeout, "trio.TooSlowError")
_FILES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_BUGS = (AttributeError, NameError, AssertionError, ImportError, NotImplementedError)

DEFAULT_RULES = Rules(
    (
        # Money first.
        Rule("risk", errors.RiskManagementError, Severity.CRITICAL, Kind.RISK),
        Rule("emergency", errors.EmergencyShutdown, Severity.CRITICAL, Kind.RISK),
        Rule(
            "order outcome unknown",
            errors.OrderOutcomeUnknown,
            Severity.HIGH,
            Kind.TIMEOUT,
            counts_for_breaker=True,
            outcome_unknown=True,
        ),
        # The way to the market, and the market. A status says more than a count of failures.
        *_by_status(errors.APIError, errors.NetworkError),
        *_by_recent_failures("not sent", _NOT_SENT, Kind.TRANSIENT, outcome_unknown=False),
        *_by_recent_failures("timeout", _TIMEOUTS, Kind.TIMEOUT, outcome_unknown=True),
        *_by_recent_failures("network", _NETWORK, Kind.TRANSIENT, outcome_unknown=True),
        Rule("files", _FILES, Severity.HIGH, Kind.CONFIGURATION),
        Rule("api", errors.APIError, Severity.HIGH, Kind.UNKNOWN),
        Rule(
            "data feed",
            errors.DataFeedError,
            Severity.MEDIUM,
            Kind.TRANSIENT,
            retryable=True,
            counts_for_breaker=True,
        ),
        Rule(
            "broker",
            errors.BrokerError,
            Severity.HIGH,
            Kind.SERVER,
            counts_for_breaker=True,
        ),
        Rule(
            "incomplete read",
            errors.IncompleteRead,
            Severity.MEDIUM,
            Kind.TRANSIENT,
            retryable=True,
            counts_for_breaker=True,
            outcome_unknown=True,
        ),
        Rule("limit overrun", errors.LimitOverrun, Severity.HIGH, Kind.VALIDATION),
        # Data. Bad market data is somebody else's fault; anywhere else it is ours.
        Rule(
            "bad market data",
            _BAD_DATA,
            Severity.MEDIUM,
            Kind.VALIDATION,
            component="*market_data*",
        ),
        Rule("bad data", _BAD_DATA, Severity.HIGH, Kind.VALIDATION),
        # Our own protections.
        Rule(
            "breaker open",
            errors.CircuitBreakerOpenError,
            Severity.MEDIUM,
            Kind.OVERLOAD,
            retryable=True,
            final=True,  # what opened it was counted when it happened
        ),
        Rule("full", errors.BulkheadFull, Severity.MEDIUM, Kind.OVERLOAD, retryable=True),
        Rule(
            "rate limited", errors.RateLimited, Severity.MEDIUM, Kind.RATE_LIMITED, retryable=True
        ),
        Rule("retry budget", errors.RetryBudgetExhausted, Severity.MEDIUM, Kind.OVERLOAD),
        Rule(
            "retries exhausted",
            errors.RetryExhausted,
            Severity.HIGH,
            Kind.TRANSIENT,
            counts_for_breaker=True,
        ),
        Rule("protection", errors.ResilienceError, Severity.HIGH, Kind.UNKNOWN),
        # Between actors.
        Rule("mailbox full", errors.MailboxFull, Severity.MEDIUM, Kind.OVERLOAD, retryable=True),
        Rule(
            "actor down",
            errors.ActorDown,
            Severity.MEDIUM,
            Kind.TRANSIENT,
            retryable=True,
            final=True,  # its own supervisor has judged why
        ),
        Rule(
            "actor crashed",
            errors.ActorCrashed,
            Severity.MEDIUM,
            Kind.TRANSIENT,
            outcome_unknown=True,
            final=True,  # as above: else one crash would fell every actor that had asked
        ),
        Rule("unknown name", errors.UnknownName, Severity.HIGH, Kind.CONFIGURATION),
        Rule("illegal transition", errors.IllegalTransition, Severity.CRITICAL, Kind.BUG),
        Rule(
            "misuse of an actor",
            (errors.MessageRefused, errors.NoReply, errors.ReplyTwice),
            Severity.HIGH,
            Kind.BUG,
        ),
        Rule("actor", errors.ActorError, Severity.MEDIUM, Kind.TRANSIENT),
        # Supervision. Where these have a cause, it may raise the severity.
        Rule(
            "gave up",
            errors.SupervisorFailed,
            Severity.MEDIUM,
            Kind.UNKNOWN,
            final=True,  # the supervisor has judged its children and states the result
        ),
        Rule("child refused", errors.ChildRefused, Severity.HIGH, Kind.BUSINESS),
        Rule("hung", errors.Hung, Severity.MEDIUM, Kind.TIMEOUT),
        Rule("start timeout", errors.StartTimeout, Severity.MEDIUM, Kind.TIMEOUT),
        Rule("stop overdue", errors.StopOverdue, Severity.MEDIUM, Kind.TIMEOUT),
        Rule("supervision", errors.SupervisionError, Severity.MEDIUM, Kind.TRANSIENT),
        # People.
        Rule("bug", _BUGS, Severity.HIGH, Kind.BUG),
        Rule(
            "configuration",
            (errors.ConfigurationError, errors.SpecError),
            Severity.HIGH,
            Kind.CONFIGURATION,
        ),
        Rule("strategy", errors.StrategyError, Severity.HIGH, Kind.BUG),
        Rule(
            "invalid state",
            (errors.InvalidStateError, errors.UnsupportedOperation),
            Severity.HIGH,
            Kind.BUG,
        ),
        Rule("recovery", errors.RecoveryError, Severity.HIGH, Kind.UNKNOWN),
        Rule("foreign", errors.ForeignError, Severity.HIGH, Kind.UNKNOWN),
        Rule("trading", TradingError, Severity.HIGH, Kind.UNKNOWN),
    )
)
