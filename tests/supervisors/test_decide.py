"""The rules of a supervisor, one by one; `Rn` is the rule in docs/otp.md.

A machine in tests/properties compares long histories with a model of OTP; here are the single
decisions, and everything OTP does not have. The mistakes these tests must notice are listed in
test_decide_mutants.py.
"""

from collections.abc import Callable

from attrs import evolve

from ringfence.actors.errors import GaveUpWhy, Severity
from ringfence.actors.lifecycle import KILLED, NORMAL, SHUTDOWN, Exit, Failed, Shutdown
from ringfence.supervisors import decide
from ringfence.supervisors.policy import DEFAULT, OTP, Backoff, Directive, Policy
from ringfence.supervisors.spec import AutoShutdown, Intensity, Restart, RestartStrategy

LOW, MEDIUM, HIGH, CRITICAL = Severity
PERMANENT, TRANSIENT, TEMPORARY = Restart
ONE, ALL, REST = RestartStrategy
CRASH = Failed(RuntimeError("boom"))


def child(
    key: str,
    restart: Restart = PERMANENT,
    *,
    significant: bool = False,
    budget: Intensity | None = None,
    exhausted: Directive = Directive.ESCALATE,
) -> decide.Member:
    return decide.Member(
        key=key,
        restart=restart,
        significant=significant,
        directives={},
        budget=None if budget is None else vars(decide)["Window"](budget),
        exhausted=exhausted,
    )


def books(
    *children: decide.Member,
    strategy: RestartStrategy = ONE,
    restarts_max: int = 3,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    policy: Policy = OTP,
) -> decide.Core:
    """Return the books of a supervisor whose children are all up since second 0."""
    core = decide.Core(
        strategy=strategy,
        intensity=Intensity(restarts_max, period_s=10.0),
        auto_shutdown=auto_shutdown,
        policy=policy,
    )
    for each in children:
        each.directives = each.directives or policy.directives
        core.add(each)
        core.up(each.key, 0.0)
    return core


def ended(key: str, exit_: Exit = CRASH, severity: Severity | None = MEDIUM) -> decide.Ended:
    return decide.Ended(key, exit_, severity if exit_ in (CRASH, KILLED) else None)


def crash(core: decide.Core, *keys: str, now_s: float = 1.0) -> list[decide.Action]:
    return core.on_exits([ended(key) for key in keys], now_s)


def quietly(core: decide.Core, key: str, exit_: Exit = NORMAL) -> list[decide.Action]:
    return core.on_exits([ended(key, exit_)], 1.0)


def told(actions: list[decide.Action]) -> list[str]:
    """Write actions as words, which is easier to read and to compare."""
    return [f"{type(action).__name__} {action.key}" for action in actions]


# -- R6, R7: who is restarted, and what is reported --------------------------------------------


def test_a_permanent_child_is_restarted_and_reported_however_it_ended() -> None:
    for exit_ in (NORMAL, SHUTDOWN, Shutdown("done"), CRASH, KILLED):
        actions = books(child("a")).on_exits([ended("a", exit_)], 1.0)
        assert told(actions) == ["ReportTerminated a", "StartChild a"]
        assert actions[0] == decide.ReportTerminated("a", exit_)


def test_a_transient_child_is_restarted_after_a_failure_only_and_keeps_its_spec() -> None:
    for exit_ in (NORMAL, SHUTDOWN, Shutdown("done")):
        core = books(child("a", TRANSIENT))
        assert core.on_exits([ended("a", exit_)], 1.0) == [
            decide.GoneForGood("a", exit_, forgotten=False)
        ]
        assert core.members["a"].status is decide.Status.STOPPED
        assert core.window.used(1.0) == 0
    assert told(crash(books(child("a", TRANSIENT)), "a")) == ["ReportTerminated a", "StartChild a"]


def test_a_temporary_child_is_never_restarted_and_forgotten() -> None:
    core = books(child("a", TEMPORARY), child("b", TEMPORARY), restarts_max=0)
    assert quietly(core, "a") == [decide.GoneForGood("a", NORMAL, forgotten=True)]
    assert told(crash(core, "b")) == ["ReportTerminated b", "GoneForGood b"]
    assert not core.members


# -- R8: the budget ----------------------------------------------------------------------------


def test_the_budget_holds_exactly_so_many_restarts() -> None:
    for restarts_max in range(4):
        core = books(child("a"), restarts_max=restarts_max)
        for _ in range(restarts_max):
            assert told(crash(core, "a")) == ["ReportTerminated a", "StartChild a"]
            core.up("a", 1.0)
        last = crash(core, "a")
        assert told(last) == ["ReportTerminated a", "GiveUp a"]
        assert last[1] == decide.GiveUp("a", GaveUpWhy.INTENSITY, MEDIUM)


def test_a_restart_exactly_a_period_old_still_counts_and_an_older_one_does_not() -> None:
    for second_s, expected in ((11.0, "GiveUp"), (11.000001, "StartChild"), (10.9, "GiveUp")):
        core = books(child("a"), restarts_max=1)
        crash(core, "a", now_s=1.0)
        core.up("a", 1.0)
        assert told(crash(core, "a", now_s=second_s))[-1] == f"{expected} a"


def test_the_window_slides_and_does_not_start_over() -> None:
    core = books(child("a"), restarts_max=2)
    for now_s in (0.0, 6.0, 12.0, 18.0):  # never more than two in ten seconds
        assert told(crash(core, "a", now_s=now_s))[-1] == "StartChild a"
        core.up("a", now_s)
    assert told(crash(core, "a", now_s=19.0))[-1] == "GiveUp a"


def test_children_share_the_budget_and_a_group_restart_costs_one() -> None:
    core = books(child("a"), child("b"), restarts_max=1)
    assert told(crash(core, "a"))[-1] == "StartChild a"
    assert told(crash(core, "b"))[-1] == "GiveUp b"
    group = books(child("a"), child("b"), strategy=ALL)
    crash(group, "a")
    assert group.window.used(1.0) == 1


# -- R9, R10: restarts that fail ---------------------------------------------------------------


def test_a_failed_restart_comes_back_behind_what_waits_and_costs_budget_again() -> None:
    core = books(child("a"), restarts_max=2)
    crash(core, "a")
    (later,) = core.on_start_failed("a", MEDIUM)
    assert later == decide.Later("a", core.members["a"].generation, 0.0, 0)
    assert core.members["a"].status is decide.Status.RESTARTING
    assert core.window.used(1.0) == 1
    assert told(core.on_retry("a", later.generation, 1.0)) == ["StartChild a"]
    assert core.window.used(1.0) == 2
    (again,) = core.on_start_failed("a", MEDIUM)
    assert isinstance(again, decide.Later)
    assert told(core.on_retry("a", again.generation, 1.0)) == ["GiveUp a"]


def test_a_retry_is_void_once_the_child_was_stopped_revived_or_deleted() -> None:
    changes: tuple[Callable[[decide.Core], object], ...] = (
        lambda core: core.terminated("a"),
        lambda core: core.up("a", 1.0),
        lambda core: core.members.pop("a"),
        lambda core: core.on_start_failed("a", MEDIUM),
    )
    for meanwhile in changes:
        core = books(child("a"))
        crash(core, "a")
        (later,) = core.on_start_failed("a", MEDIUM)
        assert isinstance(later, decide.Later)
        meanwhile(core)
        assert core.on_retry("a", later.generation, 1.0) == []
        assert core.window.used(1.0) == 1


# -- R11, R12: groups --------------------------------------------------------------------------


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_but_temporary_ones() -> None:
    core = books(child("a"), child("b"), child("t", TEMPORARY), child("c"), strategy=ALL)
    assert told(crash(core, "b")) == [
        *("ReportTerminated b", "Stop c", "Stop t", "Stop a"),
        *("StartChild a", "StartChild b", "StartChild c"),
    ]


def test_rest_for_one_leaves_those_before_alone() -> None:
    core = books(child("a"), child("b"), child("c"), strategy=REST)
    expected = ["ReportTerminated b", "Stop c", "StartChild b", "StartChild c"]
    assert told(crash(core, "b")) == expected


def test_a_group_restart_revives_children_that_were_stopped() -> None:
    for strategy in (ALL, REST):
        core = books(child("a"), child("b"), child("c", TRANSIENT), strategy=strategy)
        core.terminated("b")
        quietly(core, "c")
        assert told(crash(core, "a")) == [
            *("ReportTerminated a", "StartChild a", "StartChild b", "StartChild c"),
        ]


def test_a_sibling_that_waits_for_a_restart_joins_the_group_and_its_retry_is_void() -> None:
    core = books(child("a"), child("b"), strategy=REST)
    crash(core, "b")
    (later,) = core.on_start_failed("b", MEDIUM)
    assert isinstance(later, decide.Later)
    assert told(crash(core, "a"))[1:] == ["Stop b", "StartChild a", "StartChild b"]
    assert core.stopped("b") is False
    core.on_start_failed("a", MEDIUM)
    assert core.on_retry("b", later.generation, 1.0) == []


def test_the_retry_of_one_for_all_redoes_all_and_that_of_rest_for_one_the_rest() -> None:
    for strategy, expected in (
        (ALL, ["Stop a", "StartChild a", "StartChild b", "StartChild c"]),
        (REST, ["StartChild b", "StartChild c"]),
        (ONE, ["StartChild b"]),
    ):
        core = books(child("a"), child("b"), child("c"), strategy=strategy)
        crash(core, "a")
        core.down("b")
        core.down("c")
        core.up("a", 1.0)
        (later,) = core.on_start_failed("b", MEDIUM)
        assert isinstance(later, decide.Later)
        assert told(core.on_retry("b", later.generation, 1.0)) == expected


def test_a_temporary_child_stopped_with_its_group_is_forgotten_and_others_are_not() -> None:
    core = books(child("a"), child("t", TEMPORARY))
    assert core.stopped("t") is True
    assert core.stopped("a") is False
    assert list(core.members) == ["a"]
    assert core.members["a"].status is decide.Status.STOPPED


# -- R14: how a child may answer a request to stop ---------------------------------------------


def test_which_answers_to_a_request_to_stop_are_well() -> None:
    answers = (SHUTDOWN, NORMAL, Shutdown("bye"), KILLED, CRASH)
    for policy, restart, well in (
        (OTP, PERMANENT, [True, False, False, False, False]),
        (OTP, TRANSIENT, [True, True, True, False, False]),
        (OTP, TEMPORARY, [True, True, True, False, False]),
        (DEFAULT, PERMANENT, [True, True, True, False, False]),
    ):
        core = books(child("a", restart), policy=policy)
        assert [core.answered_well("a", exit_, brutal=False) for exit_ in answers] == well


def test_a_brutal_kill_is_well_answered_by_killed() -> None:
    strict, lax = books(child("a")), books(child("a", TRANSIENT))
    answers = (KILLED, SHUTDOWN, NORMAL, CRASH)
    assert [strict.answered_well("a", exit_, brutal=True) for exit_ in answers] == [
        *(True, False, False, False)
    ]
    assert [lax.answered_well("a", exit_, brutal=True) for exit_ in answers] == [
        *(True, True, True, False)
    ]


# -- R17: auto-shutdown ------------------------------------------------------------------------


def significant_pair(auto_shutdown: AutoShutdown) -> decide.Core:
    return books(
        child("a", TRANSIENT, significant=True),
        child("b", TEMPORARY, significant=True),
        child("c", TRANSIENT),
        auto_shutdown=auto_shutdown,
    )


def test_any_significant_child_that_ends_well_ends_the_supervisor() -> None:
    core = significant_pair(AutoShutdown.ANY_SIGNIFICANT)
    assert told(quietly(core, "c")) == ["GoneForGood c"]
    assert told(crash(core, "a")) == ["ReportTerminated a", "StartChild a"]
    assert told(crash(core, "b")) == ["ReportTerminated b", "GoneForGood b", "Finish b"]


def test_the_last_significant_child_that_ends_well_ends_the_supervisor() -> None:
    core = significant_pair(AutoShutdown.ALL_SIGNIFICANT)
    assert told(quietly(core, "a")) == ["GoneForGood a"]
    assert told(quietly(core, "b")) == ["GoneForGood b", "Finish b"]


def test_a_significant_child_that_waits_for_a_restart_keeps_the_supervisor_up() -> None:
    core = significant_pair(AutoShutdown.ALL_SIGNIFICANT)
    crash(core, "a")
    core.on_start_failed("a", MEDIUM)
    assert told(quietly(core, "b")) == ["GoneForGood b"]


def test_a_stop_through_the_api_and_mode_never_end_no_supervisor() -> None:
    core = significant_pair(AutoShutdown.ALL_SIGNIFICANT)
    core.terminated("a")
    core.terminated("b")
    assert told(quietly(core, "c")) == ["GoneForGood c"]
    never = significant_pair(AutoShutdown.NEVER)
    assert [told(quietly(never, key)) for key in "ab"] == [["GoneForGood a"], ["GoneForGood b"]]


# -- R18 to R21: the API -----------------------------------------------------------------------


def test_what_the_api_may_do_with_a_child_depends_on_its_status() -> None:
    core = books(child("running"), child("waiting"), child("stopped"))
    crash(core, "waiting")
    core.on_start_failed("waiting", MEDIUM)
    core.terminated("stopped")
    refusals = {
        key: (core.may_start(key), core.may_restart(key))
        for key in ("running", "waiting", "stopped", "unknown")
    }
    assert refusals == {
        "running": (decide.Refusal.ALREADY_STARTED, decide.Refusal.RUNNING),
        "waiting": (decide.Refusal.ALREADY_PRESENT, decide.Refusal.RESTARTING),
        "stopped": (decide.Refusal.ALREADY_PRESENT, None),
        "unknown": (None, decide.Refusal.NOT_FOUND),
    }


def test_a_stop_through_the_api_costs_no_budget_and_forgets_temporary_children() -> None:
    core = books(child("a"), child("t", TEMPORARY))
    assert (core.terminated("a"), core.terminated("t")) == (False, True)
    assert list(core.members) == ["a"]
    assert core.window.used(1.0) == 0


def test_a_new_child_is_last_in_the_order() -> None:
    core = books(child("b"), child("c"), strategy=ALL)
    core.add(child("a"))
    core.up("a", 1.0)
    assert told(crash(core, "c"))[1:3] == ["Stop a", "Stop b"]


# -- severity and directives: not in OTP -------------------------------------------------------


def test_each_severity_has_its_directive() -> None:
    for severity, last in (
        (LOW, "StartChild a"),
        (MEDIUM, "Later a"),
        (HIGH, "GiveUp a"),
        (CRITICAL, "GiveUp a"),
    ):
        core = books(child("a"), policy=DEFAULT)
        actions = core.on_exits([decide.Ended("a", CRASH, severity)], 1.0)
        assert told(actions) == ["ReportTerminated a", last]


def test_an_escalation_falls_one_step_and_a_shutdown_does_not() -> None:
    for severity, expected in (
        (HIGH, decide.GiveUp("a", GaveUpWhy.ESCALATED, MEDIUM)),
        (CRITICAL, decide.GiveUp("a", GaveUpWhy.SHUTDOWN, CRITICAL)),
    ):
        core = books(child("a"), policy=DEFAULT)
        assert core.on_exits([decide.Ended("a", CRASH, severity)], 1.0)[-1] == expected
        core = books(child("a"), policy=DEFAULT)
        assert core.on_start_failed("a", severity) == [expected]


def test_a_temporary_child_never_escalates_but_may_shut_the_system_down() -> None:
    for severity, last in ((HIGH, "GoneForGood t"), (CRITICAL, "GiveUp t")):
        core = books(child("t", TEMPORARY), policy=DEFAULT)
        actions = core.on_exits([decide.Ended("t", CRASH, severity)], 1.0)
        assert told(actions)[-1] == last


def test_resume_is_too_late_for_a_child_that_ended_and_restarts_it() -> None:
    core = books(child("a"), policy=OTP.with_directives({LOW: Directive.RESUME}))
    actions = core.on_exits([decide.Ended("a", CRASH, LOW)], 1.0)
    assert told(actions) == ["ReportTerminated a", "StartChild a"]


def test_stop_ends_this_child_only_and_keeps_its_spec() -> None:
    stop = OTP.with_directives({MEDIUM: Directive.STOP})
    core = books(child("a"), child("b"), strategy=ALL, policy=stop)
    assert told(crash(core, "a")) == ["ReportTerminated a", "GoneForGood a"]
    assert told(core.on_start_failed("b", MEDIUM)) == ["GoneForGood b"]
    assert list(core.members) == ["a", "b"]
    assert core.window.used(1.0) == 0


def test_a_significant_child_that_is_stopped_for_a_failure_ends_the_supervisor() -> None:
    stop = OTP.with_directives({MEDIUM: Directive.STOP})
    anyone = AutoShutdown.ANY_SIGNIFICANT
    core = books(child("a", TRANSIENT, significant=True), auto_shutdown=anyone, policy=stop)
    assert told(core.on_start_failed("a", MEDIUM)) == ["GoneForGood a", "Finish a"]


# -- several at once: not in OTP ---------------------------------------------------------------


def test_failures_of_one_batch_cost_one_restart_and_make_one_group() -> None:
    core = books(child("a"), child("b"), child("c"), strategy=REST, restarts_max=1)
    actions = crash(core, "c", "b")
    assert told(actions) == [
        *("ReportTerminated c", "ReportTerminated b", "StartChild b", "StartChild c"),
    ]
    assert core.window.used(1.0) == 1


def test_the_worst_of_a_batch_decides_and_every_end_is_reported() -> None:
    ends = [decide.Ended("a", CRASH, LOW), decide.Ended("b", CRASH, HIGH)]
    for batch in (ends, ends[::-1]):
        core = books(child("a"), child("b"), policy=DEFAULT)
        actions = core.on_exits(batch, 1.0)
        assert sorted(told(actions)) == ["GiveUp b", "ReportTerminated a", "ReportTerminated b"]
        assert told(actions)[-1] == "GiveUp b"


def test_a_batch_with_a_significant_end_finishes_and_restarts_nobody() -> None:
    core = books(
        child("a"),
        child("b", TRANSIENT, significant=True),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    actions = core.on_exits([ended("a"), ended("b", NORMAL)], 1.0)
    assert told(actions) == ["ReportTerminated a", "GoneForGood b", "Finish b"]


# -- backoff: not in OTP -----------------------------------------------------------------------


def later_of(actions: list[decide.Action]) -> decide.Later:
    (later,) = (action for action in actions if isinstance(action, decide.Later))
    return later


def test_the_wait_grows_with_failures_in_a_row_and_starts_anew_after_a_stable_time() -> None:
    core = books(child("a"), restarts_max=99, policy=DEFAULT)
    waits, now_s = [], 0.0
    for up_for_s in (1.0, 1.0, 59.9, 60.0, 1.0):
        now_s += up_for_s
        later = later_of(crash(core, "a", now_s=now_s))
        waits.append((later.delay_s, later.attempt))
        assert told(core.on_retry("a", later.generation, now_s)) == ["StartChild a"]
        core.up("a", now_s)
    assert waits == [(1.0, 1), (2.0, 2), (4.0, 3), (1.0, 1), (2.0, 2)]


def test_a_wait_is_charged_once_when_it_begins() -> None:
    core = books(child("a"), policy=DEFAULT)
    later = later_of(crash(core, "a"))
    assert core.window.used(1.0) == 1
    core.on_retry("a", later.generation, 2.0)
    assert core.window.used(2.0) == 1


def test_a_restart_that_fails_after_its_wait_waits_longer_and_costs_again() -> None:
    core = books(child("a"), policy=DEFAULT)
    core.on_retry("a", later_of(crash(core, "a")).generation, 2.0)
    later = later_of(core.on_start_failed("a", MEDIUM))
    assert (later.delay_s, later.attempt) == (2.0, 2)
    core.on_retry("a", later.generation, 4.0)
    assert core.window.used(4.0) == 2
    assert later_of(core.on_start_failed("a", LOW)).delay_s == 0.0


def test_a_group_stops_at_once_and_waits_together_led_by_the_first_that_failed() -> None:
    core = books(child("a"), child("b"), child("c"), strategy=REST, policy=DEFAULT)
    core.members["c"].waits = 2
    actions = crash(core, "c", "b")
    assert told(actions)[2:] == ["Later b"]
    assert later_of(actions).attempt == 3  # the longest of those that failed
    assert core.may_restart("c") is None
    retried = core.on_retry("b", later_of(actions).generation, 5.0)
    assert told(retried) == ["StartChild b", "StartChild c"]


def test_a_group_that_waits_has_stopped_its_other_members() -> None:
    core = books(child("a"), child("b"), strategy=ALL, policy=DEFAULT)
    assert told(crash(core, "b"))[1:] == ["Stop a", "Later b"]


def test_each_of_several_children_waits_for_itself_under_one_for_one() -> None:
    core = books(child("a"), child("b"), policy=DEFAULT)
    core.members["b"].waits = 1
    waits = [action for action in crash(core, "a", "b") if isinstance(action, decide.Later)]
    assert [(wait.key, wait.delay_s) for wait in waits] == [("a", 1.0), ("b", 2.0)]


def test_a_permanent_child_that_ends_normally_among_failures_waits_the_shortest_time() -> None:
    core = books(child("a"), child("b"), policy=DEFAULT)
    waits = core.on_exits([ended("a", NORMAL), ended("b")], 1.0)
    assert [(w.key, w.attempt) for w in waits if isinstance(w, decide.Later)] == [
        *(("a", 1), ("b", 1))
    ]


# -- budgets of children, and progress: not in OTP ---------------------------------------------


def test_a_child_that_spent_its_own_budget_is_dealt_with_as_its_spec_says() -> None:
    for exhausted, last in (
        (Directive.ESCALATE, decide.GiveUp("a", GaveUpWhy.CHILD_BUDGET, MEDIUM)),
        (Directive.SHUTDOWN, decide.GiveUp("a", GaveUpWhy.SHUTDOWN, CRITICAL)),
    ):
        core = books(child("a", budget=Intensity(1, 10.0), exhausted=exhausted), restarts_max=9)
        assert told(crash(core, "a"))[-1] == "StartChild a"
        core.up("a", 1.0)
        assert crash(core, "a")[-1] == last


def test_a_child_that_spent_its_own_budget_may_be_left_down_and_siblings_go_on() -> None:
    spent = child("a", budget=Intensity(0, 10.0), exhausted=Directive.STOP)
    core = books(spent, child("b"))
    actions = crash(core, "a", "b")
    assert told(actions)[2:] == ["GoneForGood a", "StartChild b"]
    assert list(core.members) == ["a", "b"]


def test_a_significant_child_left_down_for_its_budget_ends_the_supervisor() -> None:
    spent = child("a", TRANSIENT, significant=True, budget=Intensity(0, 10.0))
    spent.exhausted = Directive.STOP
    core = books(spent, child("b"), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    assert told(crash(core, "a", "b"))[2:] == ["GoneForGood a", "Finish a"]


def test_failures_in_a_row_without_a_stable_time_end_the_supervisor() -> None:
    impatient = evolve(OTP, no_progress_max=2, backoff=Backoff(stable_s=60.0))
    core = books(child("a"), restarts_max=99, policy=impatient)
    for now_s in (20.0, 40.0):
        assert told(crash(core, "a", now_s=now_s))[-1] == "StartChild a"
        core.up("a", now_s)
    expected = decide.GiveUp("a", GaveUpWhy.NO_PROGRESS, MEDIUM)
    assert crash(core, "a", now_s=99.9)[-1] == expected


def test_a_stable_time_or_a_stop_through_the_api_forgives_earlier_failures() -> None:
    impatient = evolve(OTP, no_progress_max=1)
    core = books(child("a"), restarts_max=99, policy=impatient)
    crash(core, "a", now_s=1.0)
    core.up("a", 1.0)
    assert told(crash(core, "a", now_s=61.0))[-1] == "StartChild a"
    core.terminated("a")
    core.up("a", 62.0)
    assert told(crash(core, "a", now_s=63.0))[-1] == "StartChild a"


def test_failures_that_were_healed_at_once_do_not_lengthen_the_first_wait() -> None:
    core = books(child("a"), restarts_max=99, policy=DEFAULT)
    for second in range(3):
        core.on_exits([decide.Ended("a", CRASH, LOW)], float(second))
        core.up("a", float(second))
    core.on_exits([decide.Ended("a", CRASH, MEDIUM)], 4.0)
    assert core.members["a"].waits == 1
    core.up("a", 5.0)
    actions = core.on_exits([decide.Ended("a", CRASH, MEDIUM)], 6.0)
    assert later_of(actions).delay_s == 2.0


def test_restarts_that_fail_are_no_progress_either() -> None:
    impatient = evolve(OTP, no_progress_max=1)
    core = books(child("a"), restarts_max=99, policy=impatient)
    crash(core, "a")
    assert core.on_start_failed("a", MEDIUM) == [decide.GiveUp("a", GaveUpWhy.NO_PROGRESS, MEDIUM)]


def test_a_stop_with_the_group_forgives_nothing() -> None:
    core = books(child("a"), child("b"), policy=DEFAULT)
    core.members["a"].failures = 3
    core.stopped("a")
    assert core.members["a"].failures == 3
