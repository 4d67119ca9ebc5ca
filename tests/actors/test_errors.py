"""The error tree: its fields, its names, what it says, and that it survives being sent.

Mutants of `error_root.py` that these tests must kill (each was tried):
  `<` for `<=` in Severity.__le__ · lowered() of CRITICAL -> HIGH · `{**given, **more}` in _take ·
  no `component` in context · links left out of __reduce__ · context links not restored ·
  `__suppress_context__` not restored · _portable returns the error as it is ·
  derive() with the default severity · error_code from the parent class
"""

import builtins
import inspect
import itertools
import pickle
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.actors import error_root, errors, market_errors, runtime_errors, seams
from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    ActorError,
    ActorKilled,
    APIError,
    AskTimeout,
    AsyncOperationError,
    BrokerError,
    BulkheadFull,
    ChildRefused,
    CircuitBreakerOpenError,
    CleanupFailed,
    ConfigurationError,
    DataFeedError,
    DataProcessingError,
    EmergencyShutdown,
    ErrorContext,
    ErrorSeverity,
    ForeignError,
    GaveUpWhy,
    Hung,
    IllegalTransition,
    IncompleteRead,
    InvalidStateError,
    LimitOverrun,
    MailboxFull,
    MessageRefused,
    NetworkError,
    NoReply,
    OperationTimeout,
    OrderOutcomeUnknown,
    Problem,
    RateLimited,
    RecoveryError,
    ReplyTwice,
    ResilienceError,
    RetryBudgetExhausted,
    RetryExhausted,
    RiskManagementError,
    Severity,
    SpecError,
    StartFailed,
    StartTimeout,
    StopOverdue,
    StrategyError,
    StrayCancellation,
    SupervisionError,
    SupervisorFailed,
    TradingError,
    UnknownName,
    UnsupportedOperation,
    ValidationError,
)


class IntentClassificationFailedError(AsyncOperationError):
    """How a domain subclass of an operation's error looks."""

    def __init__(self, query: str, details: dict[str, object] | None = None) -> None:
        super().__init__(
            "INTENT_CLASSIFICATION",
            {
                "query": query,
                "suggestion": "Try rephrasing your request more clearly",
                **(details or {}),
            },
        )


class TwoArgumentsError(Exception):
    """Python cannot unpickle this: its `args` are not those of its constructor."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(f"{text} {number}")


def failed_group() -> SupervisorFailed:
    return SupervisorFailed(
        "desk",
        GaveUpWhy.NO_PROGRESS,
        [ValueError("a"), NetworkError("b"), ExceptionGroup("inner", [KeyError("c")])],
        Severity.CRITICAL,
    )


SAMPLES: list[TradingError] = [
    TradingError("x", user_id=7),
    ForeignError("lib.Odd", "text"),
    NetworkError("x", url="u", status_code=500, timeout=30),
    DataFeedError("x", data_source="binance", symbol="BTC", interval="1m"),
    DataProcessingError("x", symbol="BTC"),
    BrokerError("x", broker_type="paper", symbol="BTC", order_type="limit"),
    OrderOutcomeUnknown("x", symbol="BTC"),
    StrategyError("x", name="mean reversion"),
    ConfigurationError("x"),
    ValidationError("x"),
    RecoveryError("x"),
    RiskManagementError("x"),
    APIError(404, "NOT_FOUND", {"id": 1}),
    AsyncOperationError("fetch"),
    IntentClassificationFailedError("buy?"),
    IncompleteRead(10, b"abc"),
    LimitOverrun(65536),
    InvalidStateError("x"),
    UnsupportedOperation("x"),
    ResilienceError("x"),
    CircuitBreakerOpenError("api", "open", 12.5, 1.0, "refused", "wait"),
    CircuitBreakerOpenError("api"),
    BulkheadFull("api", 5, 10, 5, retry_after=1.0),
    OperationTimeout(2.0, 2.1, "order"),
    RetryExhausted("order", 3, 1.5),
    RetryBudgetExhausted("api", 5.0),
    RateLimited("api", 5.0),
    RateLimited("api"),
    EmergencyShutdown("x"),
    ActorError("x"),
    MailboxFull("tick", "desk/a", 10),
    MessageRefused("tick", "desk/a", [int, bytes]),
    MessageRefused("tick", "desk/a", []),
    NoReply("desk/a", "PositionOf"),
    ActorDown("desk/a", ValueError()),
    ActorDown("desk/a"),
    ActorCrashed("desk/a", ValueError("x")),
    AskTimeout(1.0, 1.0, "desk/a"),
    ReplyTwice("desk/a", question=object()),
    UnknownName("desk/a", ["desk/b", "desk/c"]),
    UnknownName("desk/a"),
    IllegalTransition(state="ended", trigger="start"),
    SupervisionError("x"),
    Hung("desk/a", 2.0, "line 1"),
    Hung("desk/a", 2.0),
    StrayCancellation("desk/a"),
    StartTimeout("desk/a", 30.0),
    StartFailed("desk/a", ValueError("x")),
    ChildRefused("desk/a", verb="start", refusal="already_started"),
    ActorKilled("desk/a"),
    StopOverdue("desk/a", 5.0),
    CleanupFailed("desk/a", ValueError("x")),
    SpecError([Problem("desk", -1, "at least 0", "write 0")]),
    failed_group(),
]


def subclasses(cls: type[TradingError]) -> Iterator[type[TradingError]]:
    for child in cls.__subclasses__():
        if child.__module__.startswith("ringfence."):
            yield child
        yield from subclasses(child)


OURS: list[type[TradingError]] = sorted(
    {TradingError, *subclasses(TradingError)}, key=lambda cls: cls.__name__
)


def name_of_class(error: object) -> str:
    return type(error).__name__


def sent(error: TradingError) -> TradingError:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 our own bytes
    assert isinstance(copy, TradingError)
    return copy


# --- severity ---------------------------------------------------------------------------------


def test_severities_are_ordered_from_low_to_critical() -> None:
    scale = [Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]
    assert scale == sorted([scale[3], scale[1], scale[0], scale[2]])
    assert scale == list(Severity)
    for (low, a), (high, b) in itertools.product(enumerate(scale), repeat=2):
        assert (low < high) == (a < b)
        assert (low <= high) == (a <= b)
        assert (low > high) == (a > b)
        assert (low >= high) == (a >= b)


def test_severity_is_not_comparable_with_a_number() -> None:
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(Severity.LOW, compare)(2) is NotImplemented


def test_severity_has_the_names_of_log_levels_as_aliases() -> None:
    assert ErrorSeverity.INFO is Severity.LOW
    assert ErrorSeverity.WARNING is Severity.MEDIUM
    assert ErrorSeverity.ERROR is Severity.HIGH
    assert ErrorSeverity.CRITICAL is Severity.CRITICAL
    assert ErrorSeverity.HIGH is Severity.HIGH
    levels = [severity.level for severity in Severity]
    assert ["INFO", "WARNING", "ERROR", "CRITICAL"] == levels


def test_severity_falls_one_step_but_critical_never_falls() -> None:
    lowered = [severity.lowered() for severity in Severity]
    assert [Severity.LOW, Severity.LOW, Severity.MEDIUM, Severity.CRITICAL] == lowered


# --- the root ---------------------------------------------------------------------------------


def test_network_error_is_as_documented() -> None:
    error = errors.NetworkException("API call failed", url="https://api.example.com")
    assert {
        "url": "https://api.example.com",
        "status_code": None,
        "timeout": None,
        "component": "network",
    } == error.context
    with seams.replaced(seams.Seams(wall_ns=lambda: 1_704_110_400_000_000_000)):
        described = errors.NetworkException("API call failed").to_dict()
    assert {
        "message": "API call failed",
        "error_code": "NETWORK_ERROR",
        "severity": "ERROR",
        "context": {"url": None, "status_code": None, "timeout": None, "component": "network"},
        "timestamp": "2024-01-01T12:00:00Z",
    } == described


def test_timestamp_is_taken_at_creation_with_microseconds() -> None:
    with seams.replaced(seams.Seams(wall_ns=lambda: 1_704_110_400_000_001_999)):
        error = TradingError("x")
    assert error.timestamp == "2024-01-01T12:00:00.000001Z"


@pytest.mark.parametrize("error", SAMPLES, ids=name_of_class)
def test_context_holds_every_declared_key_and_the_component(error: TradingError) -> None:
    assert {*error.declared, "component"} <= set(error.context)
    assert error.component == error.context["component"]
    for name in error.declared:
        assert error.context[name] == getattr(error, name)


@pytest.mark.parametrize("error", SAMPLES, ids=name_of_class)
def test_to_dict_has_exactly_five_keys(error: TradingError) -> None:
    keys = ["message", "error_code", "severity", "context", "timestamp"]
    assert keys == list(error.to_dict())


def test_a_declared_field_that_a_subclass_forgot_to_set_is_none() -> None:
    class ForgetfulError(StrategyError):
        declared = ("signal",)

    assert ForgetfulError("x").context == {"signal": None, "component": "strategy"}


def test_the_same_key_twice_does_not_raise_and_the_explicit_one_wins() -> None:
    twice = {"url": "from context", "status_code": 503, "user_id": 1, "component": "desk"}
    error = NetworkError("x", url="explicit", user_id=2, context=twice)
    assert (error.url, error.status_code) == ("explicit", 503)
    assert {
        "url": "explicit",
        "status_code": 503,
        "timeout": None,
        "component": "desk",
        "user_id": 2,
    } == error.context
    assert error.component == "desk"


def test_free_keys_follow_a_user_and_a_request() -> None:
    error = StrategyError("x", user_id="u", request_id="r", user="Ann", context="not a mapping")
    assert {
        "component": "strategy",
        "user_id": "u",
        "request_id": "r",
        "user": "Ann",
        "context": "not a mapping",
    } == error.context


def test_severity_code_and_component_are_overridable_per_instance() -> None:
    error = StrategyError("x", severity=Severity.LOW, error_code="S1", component="desk/alpha")
    assert (error.severity, error.error_code, error.component) == (
        Severity.LOW,
        "S1",
        "desk/alpha",
    )
    assert error.context == {"component": "desk/alpha"}
    assert (StrategyError.severity, StrategyError.error_code) == (Severity.HIGH, "STRATEGY_ERROR")


def test_severity_code_and_component_of_a_wrong_type_are_plain_context() -> None:
    error = StrategyError("x", severity="bad", error_code=5, component=None)
    assert error.severity is Severity.HIGH
    assert error.error_code == "STRATEGY_ERROR"
    assert error.component == "strategy"
    assert error.context["severity"] == "bad"


def test_context_is_built_once_so_that_added_keys_stay() -> None:
    error = TradingError("x")
    error.context["order"] = 1
    assert error.context["order"] == 1


def test_creating_an_error_builds_no_context_and_formats_no_traceback() -> None:
    error = NetworkError("x", url="u")
    assert error._context is None
    assert error.__traceback__ is None


def test_error_codes_come_from_the_class_name_unless_set() -> None:
    class HTTPQuotaError(TradingError):
        pass

    class NamedError(TradingError):
        error_code = "N-1"

    classes: list[type[TradingError]] = [DataFeedError, BulkheadFull, HTTPQuotaError, NamedError]
    codes = {cls.error_code for cls in classes}
    assert codes == {"DATA_FEED_ERROR", "BULKHEAD_FULL", "HTTP_QUOTA_ERROR", "N-1"}
    assert len(OURS) == len({cls.error_code for cls in OURS})


# --- the tree ---------------------------------------------------------------------------------


def test_other_names_are_the_same_classes() -> None:
    assert errors.TradingSystemError is errors.TradingException is TradingError
    assert errors.NetworkException is NetworkError
    assert errors.DataFeedException is DataFeedError
    assert errors.DataProcessingException is DataProcessingError
    assert errors.BrokerException is BrokerError
    assert errors.StrategyException is StrategyError
    assert errors.ConfigurationException is ConfigurationError
    assert errors.ValidationException is ValidationError
    assert errors.RecoveryException is RecoveryError
    assert errors.RiskManagementException is RiskManagementError
    assert errors.CircuitBreakerOpen is CircuitBreakerOpenError


def test_no_class_has_the_name_of_a_builtin() -> None:
    assert [] == [cls.__name__ for cls in OURS if hasattr(builtins, cls.__name__)]


def test_one_module_exports_every_error() -> None:
    for module in (error_root, market_errors, runtime_errors):
        public = {
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        }
        assert public <= set(errors.__all__)
    assert sorted(errors.__all__) == errors.__all__


def test_every_class_has_a_sample_here() -> None:
    assert set(OURS) == {type(error) for error in SAMPLES} - {IntentClassificationFailedError}


@pytest.mark.parametrize(
    ("child", "parents"),
    [
        (NetworkError, (ConnectionError,)),
        (DataProcessingError, (DataFeedError,)),
        (OrderOutcomeUnknown, (BrokerError,)),
        (AsyncOperationError, (APIError,)),
        (IncompleteRead, (EOFError,)),
        (UnsupportedOperation, (RuntimeError,)),
        (CircuitBreakerOpenError, (ResilienceError,)),
        (BulkheadFull, (ResilienceError,)),
        (OperationTimeout, (ResilienceError, TimeoutError)),
        (RetryExhausted, (ResilienceError,)),
        (RetryBudgetExhausted, (ResilienceError,)),
        (RateLimited, (ResilienceError,)),
        (EmergencyShutdown, (ResilienceError,)),
        (MailboxFull, (ActorError,)),
        (MessageRefused, (ActorError, TypeError)),
        (AskTimeout, (OperationTimeout, ActorError)),
        (ReplyTwice, (ActorError, InvalidStateError)),
        (Hung, (SupervisionError,)),
        (SpecError, (ConfigurationError, SupervisionError, ValueError)),
        (SupervisorFailed, (ExceptionGroup, SupervisionError)),
    ],
)
def test_each_error_is_of_its_families(child: type, parents: tuple[type, ...]) -> None:
    assert all(issubclass(child, parent) for parent in (TradingError, *parents))


def test_components_and_codes_of_the_trading_families() -> None:
    assert (BrokerError.component, BrokerError.error_code) == ("broker", "BROKER_ERROR")
    assert (DataFeedError.component, DataFeedError.error_code) == ("data_feed", "DATA_FEED_ERROR")
    for cls, component in (
        (StrategyError, "strategy"),
        (ConfigurationError, "configuration"),
        (ValidationError, "validation"),
        (RecoveryError, "recovery"),
    ):
        assert (cls.component, cls.error_code) == (component, f"{component.upper()}_ERROR")


def test_api_error_keeps_status_code_and_details() -> None:
    error = APIError(404, "NOT_FOUND")
    assert (error.status_code, error.error_code, error.details) == (404, "NOT_FOUND", {})
    assert str(error) == "API Error [NOT_FOUND]"
    assert error.to_dict()["error_code"] == "NOT_FOUND"


def test_an_operation_names_its_code_and_a_subclass_its_status() -> None:
    class SlowOperationError(AsyncOperationError):
        status = 504

    error = AsyncOperationError("fetch")
    assert (error.status_code, error.error_code, error.operation) == (
        500,
        "ASYNC_FETCH_FAILED",
        "fetch",
    )
    assert SlowOperationError("fetch").status_code == 504


def test_a_domain_subclass_suggests_what_to_do_and_details_override() -> None:
    error = IntentClassificationFailedError("buy?")
    assert error.error_code == "ASYNC_INTENT_CLASSIFICATION_FAILED"
    assert error.details["query"] == "buy?"
    assert error.details["suggestion"] == "Try rephrasing your request more clearly"
    own = IntentClassificationFailedError("buy?", {"suggestion": "mine"})
    assert own.details["suggestion"] == "mine"


def test_a_time_limit_says_how_long_and_is_a_builtin_timeout() -> None:
    assert str(OperationTimeout(2.0)) == "Operation exceeded 2.0s"
    with pytest.raises(TimeoutError):
        raise AskTimeout(limit=1.0, elapsed=1.1, scope="desk/a")


# --- what the runtime says --------------------------------------------------------------------


def test_a_full_mailbox_gives_the_message_back() -> None:
    message = object()
    error = MailboxFull(message=message, path="desk/a", capacity=10)
    assert error.message is message
    assert (error.path, error.capacity) == ("desk/a", 10)


def test_a_refused_message_names_the_accepted_types() -> None:
    error = MessageRefused(message=1.5, path="desk/a", accepted=[int, bytes])
    assert "float" in str(error)
    assert "int, bytes" in str(error)


def test_a_question_is_kept_by_name_only() -> None:
    assert NoReply("desk/a", question=1.5).question == "float"
    assert ReplyTwice("desk/a", question="PositionOf").question == "PositionOf"


@pytest.mark.parametrize("cls", [ActorCrashed, ActorDown, StartFailed, CleanupFailed])
def test_a_cause_becomes_the_cause(cls: Callable[[str, Exception], TradingError]) -> None:
    cause = ValueError("why")
    error = cls("desk/a", cause)
    assert error.__cause__ is cause
    assert "desk/a" in str(error)
    assert "why" in str(error)


def test_down_without_a_cause_does_not_hide_what_is_being_handled() -> None:
    assert not ActorDown("desk/a").__suppress_context__


def test_a_spec_error_lists_every_problem_on_its_own_line() -> None:
    problems = [Problem("desk.a", -1, "at least 0", "write 0"), Problem("desk.b", "x", "r", "f")]
    error = SpecError(problems)
    assert error.problems == tuple(problems)
    head, *lines = str(error).splitlines()
    assert head == "2 problems in the tree:"
    assert ["desk.a = -1: at least 0; write 0", "desk.b = 'x': r; f"] == [
        line.strip() for line in lines
    ]
    assert str(SpecError(problems[:1])).startswith("1 problem in")


# --- supervisor failed ------------------------------------------------------------------------


def test_except_star_takes_a_failed_supervisor_apart() -> None:
    caught: list[BaseExceptionGroup[BaseException]] = []
    try:
        raise failed_group()
    except* (ValueError, KeyError) as part:
        caught.append(part)
    except* TradingError as part:
        caught.append(part)
    values, rest = caught
    assert isinstance(values, SupervisorFailed)
    assert isinstance(rest, SupervisorFailed)
    assert [NetworkError] == [type(error) for error in rest.exceptions]


def test_each_part_of_a_failed_supervisor_keeps_its_fields() -> None:
    failed = failed_group()
    failed.__cause__ = cause = KeyError("cause")
    failed.add_note("a note")
    for part in failed.split(ValueError):
        assert isinstance(part, SupervisorFailed)
        assert (part.path, part.why, part.severity) == (failed.path, failed.why, failed.severity)
        assert part.__cause__ is cause
        assert part.__notes__ == ["a note"]
        assert part.context == failed.context


def test_except_supervision_error_catches_a_failed_supervisor_whole() -> None:
    with pytest.raises(SupervisionError) as caught:
        raise failed_group()
    assert isinstance(caught.value, SupervisorFailed)
    assert len(caught.value.exceptions) == 3
    assert "desk gave up: restarts without progress" in str(caught.value)


# --- sending ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", SAMPLES, ids=name_of_class)
def test_every_error_survives_being_sent(error: TradingError) -> None:
    copy = sent(error)
    assert type(error) is type(copy)
    assert str(error) == str(copy)
    if not isinstance(error, SupervisorFailed):
        assert error.args == copy.args
        assert error.to_dict() == copy.to_dict()
    assert error.severity == copy.severity
    assert error.timestamp == copy.timestamp
    assert type(error.__cause__) is type(copy.__cause__)


def test_a_sent_group_keeps_members_their_causes_and_notes() -> None:
    failed = failed_group()
    failed.exceptions[0].__cause__ = KeyError("behind")
    failed.add_note("seen twice")
    copy = sent(failed)
    assert isinstance(copy, SupervisorFailed)
    assert repr(failed) == repr(copy)
    assert isinstance(copy.exceptions[0].__cause__, KeyError)
    assert copy.__notes__ == ["seen twice"]
    assert copy.why is GaveUpWhy.NO_PROGRESS


CHAINED = st.lists(
    st.tuples(st.sampled_from([ValueError, OSError, NetworkError, ActorKilled]), st.booleans()),
    max_size=8,
)


@given(CHAINED)
def test_the_whole_chain_of_causes_is_sent(chain: list[tuple[type[Exception], bool]]) -> None:
    root: Exception = TradingError("root")
    inner: BaseException = root
    for cls, as_cause in chain:
        behind = cls("behind")
        if as_cause:
            inner.__cause__ = behind
        else:
            inner.__context__ = behind
        inner = behind
    assert isinstance(root, TradingError)
    copy: BaseException | None = sent(root)
    for cls, as_cause in chain:
        assert copy is not None
        assert copy.__suppress_context__ == as_cause
        copy = copy.__cause__ if as_cause else copy.__context__
        assert type(copy) is cls
    assert copy is not None
    assert copy.__cause__ is None
    assert copy.__context__ is None


def test_a_chain_in_a_ring_is_sent() -> None:
    one, two = TradingError("one"), ValueError("two")
    one.__cause__, two.__context__ = two, one
    copy = sent(one)
    assert copy.__cause__ is not None
    assert copy.__cause__.__context__ is copy


def test_a_chain_longer_than_the_limit_is_cut() -> None:
    root = inner = TradingError("root")
    for number in range(error_root.LINKS_MAX + 10):
        behind = ValueError(number)
        inner.__cause__ = behind
        inner = behind  # type: ignore[assignment]
    copy: BaseException | None = sent(root)
    length = 0
    while copy is not None:
        copy, length = copy.__cause__, length + 1
    assert error_root.LINKS_MAX == length


def test_what_cannot_be_sent_is_replaced_by_its_name_and_text() -> None:
    odd = TwoArgumentsError("odd", 1)
    odd.__cause__ = KeyError("behind")
    copy = sent(ActorCrashed("desk/a", odd)).__cause__
    assert isinstance(copy, ForeignError)
    assert copy.type_name.endswith("TwoArgumentsError")
    assert copy.text == "odd 1"
    assert isinstance(copy.__cause__, KeyError)
    group = SupervisorFailed("desk", GaveUpWhy.INTENSITY, [TwoArgumentsError("odd", 2)])
    member = sent(group)
    assert isinstance(member, SupervisorFailed)
    assert isinstance(member.exceptions[0], ForeignError)


# --- context ----------------------------------------------------------------------------------


def test_error_context_has_the_circumstances() -> None:
    context = ErrorContext("feed", "read", 12.5, 2, {"message_type": "Trade"}, actor_path="desk/f")
    assert (context.component, context.operation, context.timestamp) == ("feed", "read", 12.5)
    assert (context.retry_count, context.message_type, context.actor_path) == (2, "Trade", "desk/f")
    bare = ErrorContext("feed", "read", 12.5)
    assert (bare.retry_count, bare.metadata, bare.wall_ns, bare.generation) == (0, {}, None, None)
    assert (bare.request_id, bare.client_order_id) == (None, None)


@pytest.mark.parametrize("metadata", [{}, {"message_type": None}, {"message_type": 5}])
def test_reading_the_message_type_never_fails(metadata: dict[str, object]) -> None:
    assert ErrorContext("feed", "read", 0.0, metadata=metadata).message_type == "unknown"
