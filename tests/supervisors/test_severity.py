"""Classification: what each exception is, alone, as a cause, and in groups.

Mutants of `severity.py` and `rules.py` that these tests must kill (each was tried):
  `>=` for `>` in _merged · any() for all() in retryable · all() for any() in counts_for_breaker ·
  min for max of the waits · `number <= below` in Span · the context followed although suppressed ·
  causes of group members not followed · final ignored · the instance's severity ignored ·
  later rows before earlier ones in extended() · a parent's row before the class's own ·
  members that are no failures kept · the memory of classes never emptied ·
  the catch-all given a say in retryable
"""

import itertools
import socket
from collections.abc import Callable, Iterator

import pytest
import trio
from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st

from ringfence.actors import errors
from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    APIError,
    AskTimeout,
    AsyncOperationError,
    BulkheadFull,
    CircuitBreakerOpenError,
    ConfigurationError,
    DataFeedError,
    DataProcessingError,
    GaveUpWhy,
    Hung,
    IncompleteRead,
    LimitOverrun,
    NetworkError,
    OperationTimeout,
    OrderOutcomeUnknown,
    RateLimited,
    RetryExhausted,
    RiskManagementError,
    Severity,
    StartFailed,
    StrategyError,
    StrayCancellation,
    SupervisorFailed,
    TradingError,
    ValidationError,
)
from ringfence.supervisors import rules as rules_module
from ringfence.supervisors import severity as severity_module
from ringfence.supervisors.severity import (
    DEFAULT_RULES,
    UNKNOWN,
    Kind,
    Rule,
    Rules,
    Span,
    classify,
)

LOW, MEDIUM, HIGH, CRITICAL = Severity


def family(cls: type[TradingError]) -> Iterator[type[TradingError]]:
    for child in cls.__subclasses__():
        if child.__module__.startswith("ringfence."):
            yield child
        yield from family(child)


OURS = sorted(set(family(TradingError)), key=lambda cls: cls.__name__)


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def in_context(error: Exception, context: BaseException) -> Exception:
    error.__context__ = context
    return error


# --- the default rules ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ConnectionError(), OSError(), TimeoutError(), NetworkError("x")])
@pytest.mark.parametrize(
    ("recent_failures", "severity"),
    [(0, LOW), (2, LOW), (3, MEDIUM), (9, MEDIUM), (10, HIGH), (10_000, HIGH)],
)
def test_the_network_gets_worse_with_recent_failures(
    error: Exception, recent_failures: int, severity: Severity
) -> None:
    assert classify(error, recent_failures=recent_failures).severity is severity


@pytest.mark.parametrize(
    "error",
    [ValueError(), KeyError(), TypeError(), DataProcessingError("x"), ValidationError("x")],
)
def test_bad_data_is_less_severe_where_market_data_is_read(error: Exception) -> None:
    assert classify(error, component="desk/market_data/btc").severity is MEDIUM
    assert classify(error, component="desk/execution").severity is HIGH
    assert classify(error).severity is HIGH
    assert not classify(error, component="market_data").retryable


@pytest.mark.parametrize(
    ("error", "severity", "kind"),
    [
        (IncompleteRead(10, b""), MEDIUM, Kind.TRANSIENT),
        (LimitOverrun(10), HIGH, Kind.VALIDATION),
        (RiskManagementError("x"), CRITICAL, Kind.RISK),
        (RuntimeError("boom"), HIGH, Kind.UNKNOWN),
        (ZeroDivisionError(), HIGH, Kind.UNKNOWN),
        (Exception(), HIGH, Kind.UNKNOWN),
        (FileNotFoundError(), HIGH, Kind.CONFIGURATION),
        (ConfigurationError("x"), HIGH, Kind.CONFIGURATION),
        (DataFeedError("x"), MEDIUM, Kind.TRANSIENT),
        (StrategyError("x"), HIGH, Kind.BUG),
        (Hung("a", 1.0), MEDIUM, Kind.TIMEOUT),
        (StrayCancellation("a"), MEDIUM, Kind.TRANSIENT),
        (OperationTimeout(1.0), LOW, Kind.TIMEOUT),
        (AskTimeout(1.0), LOW, Kind.TIMEOUT),
        (trio.TooSlowError(), LOW, Kind.TIMEOUT),
        (trio.BrokenResourceError(), LOW, Kind.TRANSIENT),
        (trio.ClosedResourceError(), HIGH, Kind.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_default_rules(error: Exception, severity: Severity, kind: Kind) -> None:
    found = classify(error)
    assert (found.severity, found.kind) == (severity, kind)
    assert found.decided_by is error


@pytest.mark.parametrize(
    "cls", [AttributeError, NameError, AssertionError, ImportError, NotImplementedError]
)
def test_a_programming_error_is_never_retried(cls: type[Exception]) -> None:
    found = classify(cls("x"))
    assert (found.severity, found.kind, found.retryable) == (HIGH, Kind.BUG, False)
    assert not found.counts_for_breaker


@pytest.mark.parametrize("make", [lambda code: APIError(code, "X"), lambda code: _http(code)])
@pytest.mark.parametrize(
    ("status_code", "severity", "kind", "retryable", "counts", "unknown"),
    [
        (429, MEDIUM, Kind.RATE_LIMITED, True, False, False),
        (401, HIGH, Kind.AUTH, False, False, False),
        (403, HIGH, Kind.AUTH, False, False, False),
        (400, HIGH, Kind.VALIDATION, False, False, False),
        (402, HIGH, Kind.VALIDATION, False, False, False),
        (499, HIGH, Kind.VALIDATION, False, False, False),
        (408, MEDIUM, Kind.TIMEOUT, True, True, True),
        (500, MEDIUM, Kind.SERVER, True, True, True),
        (503, MEDIUM, Kind.OVERLOAD, True, True, True),
        (504, MEDIUM, Kind.TIMEOUT, True, True, True),
        (599, MEDIUM, Kind.SERVER, True, True, True),
    ],
)
def test_a_status_decides_before_the_count_of_failures(
    make: object,
    status_code: int,
    severity: Severity,
    kind: Kind,
    retryable: bool,
    counts: bool,
    unknown: bool,
) -> None:
    assert callable(make)
    found = classify(make(status_code), recent_failures=50)
    assert (found.severity, found.kind) == (severity, kind)
    assert (found.retryable, found.counts_for_breaker, found.outcome_unknown) == (
        retryable,
        counts,
        unknown,
    )


def _http(status_code: int) -> NetworkError:
    return NetworkError("x", status_code=status_code)


def test_an_operation_without_a_status_of_its_own_is_a_server_failure() -> None:
    assert classify(AsyncOperationError("fetch")).kind is Kind.SERVER
    assert classify(APIError(302, "MOVED")).kind is Kind.UNKNOWN


def test_what_was_never_sent_has_a_known_outcome() -> None:
    for error in (ConnectionRefusedError(), socket.gaierror()):
        assert not classify(error).outcome_unknown
    for sent in (ConnectionResetError(), TimeoutError(), OrderOutcomeUnknown("x")):
        assert classify(sent).outcome_unknown


def test_our_own_refusals_do_not_count_for_the_breaker() -> None:
    for refusal in (
        CircuitBreakerOpenError("a"),
        BulkheadFull("a", 1, 1, 1),
        RateLimited("a"),
        ValidationError("x"),
        RiskManagementError("x"),
    ):
        assert not classify(refusal).counts_for_breaker
    assert classify(RetryExhausted("order", 3)).counts_for_breaker


@pytest.mark.parametrize(
    ("given_wait", "wait_s"),
    [(2, 2.0), (0.5, 0.5), (0, 0.0), (-1, None), (None, None), (float("inf"), None), ("2", None)],
)
def test_retry_after_is_passed_on_if_it_makes_sense(given_wait: object, wait_s: object) -> None:
    assert classify(NetworkError("x", retry_after=given_wait)).retry_after_s == wait_s
    assert classify(ValueError()).retry_after_s is None


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_each_class_of_ours_has_a_rule_below_the_root(cls: type[TradingError]) -> None:
    named = {item for rule in DEFAULT_RULES.rows for item in rule.match if isinstance(item, type)}
    between = cls.__mro__[: cls.__mro__.index(TradingError)]
    assert set(between) & named
    found = DEFAULT_RULES.rule_for(cls.__new__(cls, *_NEEDED.get(cls, ())))
    assert found.name not in {"trading", UNKNOWN.name}


_NEEDED: dict[type[TradingError], tuple[object, ...]] = {
    SupervisorFailed: ("desk", GaveUpWhy.INTENSITY, [ValueError()])
}


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_a_class_and_its_rule_agree_unless_circumstances_decide(cls: type[TradingError]) -> None:
    rows = [
        rule
        for rule in DEFAULT_RULES.rows
        if rule.conditional and any(isinstance(m, type) and issubclass(cls, m) for m in rule.match)
    ]
    found = DEFAULT_RULES.rule_for(cls.__new__(cls, *_NEEDED.get(cls, ())))
    assert rows or cls.severity is found.severity


def test_the_root_itself_and_a_users_subclass_of_it_are_high() -> None:
    class OwnError(TradingError):
        pass

    assert classify(TradingError("x")).rule == "trading"
    assert classify(OwnError("x")).severity is HIGH


# --- rules are data ---------------------------------------------------------------------------


def test_a_users_row_for_the_same_class_comes_before_ours() -> None:
    mine = Rule("mine", RuntimeError, LOW, Kind.TRANSIENT, retryable=True)
    newer = Rule("newer", RuntimeError, MEDIUM, Kind.TRANSIENT)
    extended = DEFAULT_RULES.extended(mine)
    assert classify(RuntimeError(), rules=extended).rule == "mine"
    assert classify(RuntimeError(), rules=extended.extended(newer)).rule == "newer"
    assert classify(RuntimeError(), rules=DEFAULT_RULES.extended(mine, newer)).rule == "mine"
    assert classify(RuntimeError()).rule == "unknown"


def test_one_row_turns_every_unknown_exception_into_a_restart() -> None:
    otp = DEFAULT_RULES.extended(Rule("as otp", Exception, MEDIUM, Kind.UNKNOWN))
    assert classify(RuntimeError("boom"), rules=otp).severity is MEDIUM
    assert classify(RiskManagementError("x"), rules=otp).severity is CRITICAL


def test_the_most_special_class_wins_whatever_the_order() -> None:
    class BaseVenueError(Exception):
        pass

    class VenueError(BaseVenueError):
        pass

    rows = [
        Rule("general", BaseVenueError, HIGH, Kind.SERVER),
        Rule("special", VenueError, LOW, Kind.SERVER),
    ]
    for order in itertools.permutations(rows):
        assert classify(VenueError(), rules=Rules(order)).rule == "special"
        assert classify(BaseVenueError(), rules=Rules(order)).rule == "general"


def test_a_row_whose_conditions_do_not_hold_leaves_it_to_the_next() -> None:
    rows = [
        Rule("feed", OSError, LOW, Kind.SERVER, component="feed/*", recent_failures=Span(1, 3)),
        Rule("parent", Exception, HIGH, Kind.SERVER, status_code=Span(500)),
    ]
    table = Rules(rows)
    error = OSError()
    assert classify(error, component="feed/btc", recent_failures=1, rules=table).rule == "feed"
    assert classify(error, component="feed/btc", recent_failures=3, rules=table).rule == "unknown"
    assert classify(error, component="Feed/btc", recent_failures=1, rules=table).rule == "unknown"
    error.status_code = 500  # type: ignore[attr-defined]
    assert classify(error, rules=table).rule == "parent"


def test_a_row_may_name_a_class_that_is_not_imported() -> None:
    class FarError(Exception):
        pass

    class NearError(FarError):
        pass

    name = f"{FarError.__module__}.{FarError.__qualname__}"
    table = DEFAULT_RULES.extended(Rule("far", name, LOW, Kind.TRANSIENT))
    assert classify(NearError(), rules=table).rule == "far"


def test_an_empty_table_knows_nothing() -> None:
    assert classify(RiskManagementError("x"), rules=Rules(())).rule == UNKNOWN.name


@pytest.mark.parametrize("match", [(), (KeyboardInterrupt,), trio.Cancelled, (ValueError, 5)])
def test_a_row_that_can_match_no_failure_is_refused(match: object) -> None:
    with pytest.raises(ConfigurationError):
        Rule("wrong", match, LOW, Kind.BUG)  # type: ignore[arg-type]


def test_a_row_is_plain_data() -> None:
    data = asdict(Rule("r", ValueError, LOW, Kind.BUG, recent_failures=Span(1, 2)))
    assert data["match"] == (ValueError,)
    assert data["recent_failures"] == {"at_least": 1, "below": 2}


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_span_holds_from_its_start_up_to_its_end(at_least: int, below: int, number: int) -> None:
    assert (number in Span(at_least, below)) == (number in range(at_least, below))
    assert (number in Span(at_least)) == (number >= at_least)
    assert "5" not in Span()


def test_the_memory_of_classes_is_bounded() -> None:
    table = Rules(DEFAULT_RULES.rows)
    for number in range(rules_module.CLASSES_MAX + 5):
        assert classify(type(f"Made{number}", (KeyError,), {})(), rules=table).rule == "bad data"
    assert len(table._by_class) == 5
    assert table == Rules(DEFAULT_RULES.rows)


# --- an error of our own with a severity of its own -------------------------------------------


@pytest.mark.parametrize("severity", list(Severity))
def test_a_severity_given_to_the_instance_wins_over_the_rule(severity: Severity) -> None:
    assert classify(StrategyError("x", severity=severity)).severity is severity
    later = NetworkError("x")
    later.severity = severity
    assert classify(later, recent_failures=5).severity is severity


def test_a_severity_given_to_the_wrapper_does_not_hide_a_worse_cause() -> None:
    wrapper = caused(StrategyError("x", severity=LOW), RiskManagementError("limit"))
    assert classify(wrapper).severity is CRITICAL


# --- causes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [caused, in_context])
def test_risk_behind_another_error_stays_critical(wrap: object) -> None:
    assert callable(wrap)
    risk = RiskManagementError("limit")
    found = classify(wrap(NetworkError("x"), wrap(ValueError(), risk)))
    assert (found.severity, found.kind, found.rule) == (CRITICAL, Kind.RISK, "risk")
    assert found.decided_by is risk


def test_a_suppressed_context_is_not_looked_at() -> None:
    error = in_context(ConnectionError(), RiskManagementError("x"))
    error.__suppress_context__ = True
    assert classify(error).severity is LOW


def test_the_cause_is_looked_at_and_then_not_the_context() -> None:
    error = in_context(ConnectionError(), RiskManagementError("x"))
    assert classify(caused(error, ValueError())).severity is HIGH
    error.__suppress_context__ = False
    assert classify(error).severity is HIGH


def test_of_equals_the_outermost_decides() -> None:
    inner = KeyError("inner")
    outer = caused(ValueError("outer"), inner)
    assert classify(outer).decided_by is outer
    assert classify(ExceptionGroup("g", [inner, outer])).decided_by is inner


def test_causes_in_a_ring_are_looked_at_once() -> None:
    one, two = ConnectionError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert classify(one).decided_by is two
    one.__cause__ = one
    assert classify(one).severity is LOW


def test_cancellation_among_the_causes_is_passed_over() -> None:
    interrupt = KeyboardInterrupt()
    interrupt.__context__ = RiskManagementError("limit")
    found = classify(in_context(ConnectionError(), interrupt))
    assert found.severity is CRITICAL
    assert classify(in_context(ConnectionError(), SystemExit())).severity is LOW


def test_a_failed_start_is_as_bad_as_its_cause_but_at_least_medium() -> None:
    assert classify(StartFailed("a", ConnectionError())).severity is MEDIUM
    assert classify(StartFailed("a", ValueError())).severity is HIGH
    assert classify(StartFailed("a", RiskManagementError("x"))).severity is CRITICAL


def test_the_end_of_another_actor_was_judged_by_its_own_supervisor() -> None:
    for error in (ActorCrashed("a", ValueError()), ActorDown("a", RiskManagementError("x"))):
        found = classify(error)
        assert found.severity is MEDIUM
        assert found.decided_by is error


@pytest.mark.parametrize("severity", list(Severity))
def test_a_failed_supervisor_states_its_severity(severity: Severity) -> None:
    leaves = [RiskManagementError("x"), ValueError()]
    failed = SupervisorFailed("desk", GaveUpWhy.INTENSITY, leaves, severity)
    failed.__cause__ = RiskManagementError("y")
    assert classify(failed).severity is severity
    assert classify(failed).decided_by is failed
    assert classify(ExceptionGroup("g", [failed])).severity is severity


def test_an_unknown_part_has_no_say_in_what_the_others_know() -> None:
    found = classify(caused(RuntimeError("lost the feed"), ConnectionResetError()))
    assert (found.severity, found.rule) == (HIGH, "unknown")
    assert (found.retryable, found.counts_for_breaker, found.outcome_unknown) == (True, True, True)
    nothing = classify(caused(RuntimeError(), RuntimeError()))
    assert (nothing.retryable, nothing.counts_for_breaker) == (False, False)


# --- groups -----------------------------------------------------------------------------------


def test_a_group_may_be_retried_only_if_each_part_may() -> None:
    feed, data = DataFeedError("x"), ValueError()
    assert classify(ExceptionGroup("g", [feed, ConnectionError()])).retryable
    both = classify(ExceptionGroup("g", [feed, data]))
    assert (both.retryable, both.counts_for_breaker, both.outcome_unknown) == (False, True, False)
    assert classify(ExceptionGroup("g", [data, TimeoutError()])).outcome_unknown


def test_a_group_waits_as_long_as_its_slowest_part_asks() -> None:
    group = ExceptionGroup("g", [RateLimited("a", 1.0), RateLimited("b", 5.0), RateLimited("c")])
    assert classify(group).retry_after_s == 5.0
    assert classify(ExceptionGroup("g", [ValueError()])).retry_after_s is None


def test_the_cause_of_a_group_is_looked_at() -> None:
    group = caused(ExceptionGroup("g", [ConnectionError()]), RiskManagementError("x"))
    assert classify(group).severity is CRITICAL


def test_a_group_beyond_the_limit_is_judged_by_its_nearest_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(severity_module, "LINKS_MAX", 4)
    leaves = [OSError(), OSError(), ValueError(), RiskManagementError("x")]
    assert classify(ExceptionGroup("g", leaves)).severity is HIGH
    assert classify(ExceptionGroup("g", leaves[1:])).severity is CRITICAL


NOT_FAILURES = [KeyboardInterrupt, SystemExit, GeneratorExit]


@pytest.mark.parametrize("cls", NOT_FAILURES)
def test_what_is_no_failure_is_never_classified(cls: type[BaseException]) -> None:
    for error in (
        cls(),
        BaseExceptionGroup("g", [cls()]),
        BaseExceptionGroup("g", [BaseExceptionGroup("inner", [cls(), cls()])]),
    ):
        with pytest.raises(TypeError):
            classify(error)


def test_a_wish_to_exit_with_a_cause_is_still_no_failure() -> None:
    wish = SystemExit()
    wish.__cause__ = ValueError()
    with pytest.raises(TypeError):
        classify(wish)
    with pytest.raises(TypeError):
        classify(BaseExceptionGroup("g", [wish]))


async def test_a_real_cancellation_is_no_failure() -> None:
    caught: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            caught.append(cancelled)
            raise
    with pytest.raises(TypeError):
        classify(caught[0])
    group = BaseExceptionGroup("g", [caught[0], ValueError()])
    assert classify(group).rule == "bad data"


MAKERS: list[Callable[[], Exception]] = [
    ConnectionError,
    OSError,
    ValueError,
    RuntimeError,
    trio.BrokenResourceError,
    lambda: DataFeedError("x"),
    lambda: RiskManagementError("x"),
    lambda: Hung("a", 1.0),
    lambda: StrategyError("x", severity=Severity.LOW),
    lambda: SupervisorFailed("d", GaveUpWhy.ESCALATED, [ValueError()], Severity.MEDIUM),
]
LEAVES = st.sampled_from(MAKERS).map(lambda make: make())
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda es: ExceptionGroup("g", es)),
    max_leaves=20,
)
COMPONENTS = st.sampled_from(["", "desk/market_data", "desk/execution"])
FAILURES = st.integers(0, 12)


def leaves_of(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup) and not isinstance(error, SupervisorFailed):
        return [leaf for member in error.exceptions for leaf in leaves_of(member)]
    return [error]


@given(NESTED, COMPONENTS, FAILURES)
def test_a_group_is_as_severe_as_its_worst_leaf(
    error: Exception, component: str, recent_failures: int
) -> None:
    def alone(leaf: Exception) -> Severity:
        found = classify(leaf, component=component, recent_failures=recent_failures)
        assert found.decided_by is leaf
        return found.severity

    found = classify(error, component=component, recent_failures=recent_failures)
    assert found.severity is max(map(alone, leaves_of(error)))
    assert any(found.decided_by is leaf for leaf in leaves_of(error))


@given(
    st.lists(LEAVES, min_size=1, max_size=5).flatmap(
        lambda es: st.tuples(st.just(es), st.permutations(es))
    )
)
def test_the_order_of_a_group_changes_nothing_but_who_decided(
    orders: tuple[list[Exception], list[Exception]],
) -> None:
    one, other = (classify(ExceptionGroup("g", order)) for order in orders)
    assert one.severity is other.severity
    assert (one.retryable, one.counts_for_breaker, one.outcome_unknown, one.retry_after_s) == (
        other.retryable,
        other.counts_for_breaker,
        other.outcome_unknown,
        other.retry_after_s,
    )


@given(NESTED, LEAVES, st.sampled_from([caused, in_context]), FAILURES)
def test_wrapping_never_makes_an_error_less_severe(
    inner: Exception, outer: Exception, wrap: object, recent_failures: int
) -> None:
    assert callable(wrap)
    before = classify(inner, recent_failures=recent_failures).severity
    alone = classify(outer, recent_failures=recent_failures).severity
    together = classify(wrap(outer, inner), recent_failures=recent_failures).severity
    final = isinstance(outer, SupervisorFailed)
    assert together is (alone if final else max(before, alone))


@given(NESTED, st.lists(st.sampled_from(NOT_FAILURES), max_size=3))
def test_cancellation_in_a_group_changes_nothing(
    error: Exception, others: list[type[BaseException]]
) -> None:
    mixed = BaseExceptionGroup("g", [*(cls() for cls in others), error])
    assert classify(mixed).severity is classify(error).severity
    assert classify(mixed).decided_by is classify(error).decided_by


# --- taking groups apart ----------------------------------------------------------------------


def test_a_group_is_split_into_critical_and_recoverable_by_classification() -> None:
    group = ExceptionGroup(
        "g", [ConnectionError(), ExceptionGroup("inner", [TimeoutError(), ValueError()])]
    )
    recoverable, critical = group.split(
        lambda error: not isinstance(error, ExceptionGroup) and classify(error).retryable
    )
    assert recoverable is not None
    assert critical is not None
    assert [ConnectionError, TimeoutError] == [type(leaf) for leaf in leaves_of(recoverable)]
    assert [ValueError] == [type(leaf) for leaf in leaves_of(critical)]


def test_handling_by_type_reaches_nested_leaves() -> None:
    handled: list[str] = []
    try:
        raise ExceptionGroup("g", [errors.NetworkError("x"), ExceptionGroup("i", [ValueError()])])
    except* ConnectionError:
        handled.append("network")
    except* ValueError:
        handled.append("other")
    assert handled == ["network", "other"]
