"""Restarts that wait: how long, for whom, what ends the wait, and the budgets."""

from __future__ import annotations

import random

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from ringfence.actors import seams
from ringfence.actors.errors import GaveUpWhy, SupervisionError, SupervisorFailed
from ringfence.actors.events import (
    ActorResumed,
    DeadLetter,
    DeadLetterWhy,
    RestartScheduled,
    SupervisorGaveUp,
)
from ringfence.supervisors import Backoff, Directive, Intensity, Policy, Restart, RestartStrategy
from ringfence.supervisors.child import Retry
from ringfence.supervisors.decide import Status
from tests.supervisors.fakes import (
    CALM,
    CRITICAL,
    LOW,
    MEDIUM,
    Boom,
    Trial,
    Which,
    Worker,
    at_any_depth,
    leaves,
    once,
    raising,
)

ONE, ALL, REST = RestartStrategy
LONG = Policy(backoff=Backoff(initial_s=10.0, factor=2.0, max_s=60.0, jitter=0.0, stable_s=100.0))


def delays(trial: Trial) -> list[float]:
    return [event.delay_s for event in trial.of(RestartScheduled) if event.path == trial.path]


@at_any_depth
async def test_the_wait_doubles_with_each_failure_in_a_row_and_is_capped(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a"), policy=LONG):
        for attempt, delay_s in enumerate([10.0, 20.0, 40.0, 60.0, 60.0], start=1):
            before_s = trio.current_time()
            await trial.crash("a", Boom("a", MEDIUM))
            assert attempt == trial.of(RestartScheduled)[-1].attempt
            await trio.sleep(delay_s - 0.001)
            assert attempt == trial.incarnations("a")
            await trio.sleep(0.002)
            assert attempt + 1 == trial.incarnations("a")
            assert before_s + delay_s == pytest.approx(trio.current_time(), abs=0.01)
    assert [10.0, 20.0, 40.0, 60.0, 60.0] == delays(trial)


@at_any_depth
async def test_the_wait_starts_again_after_a_stable_time_and_not_before(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a"), policy=LONG):
        for up_s in (0.0, 99.0, 100.0, 99.9):
            await trio.sleep(up_s)
            await trial.crash("a", Boom("a", MEDIUM))
            await trio.sleep(trial.of(RestartScheduled)[-1].delay_s)
            await wait_all_tasks_blocked()
    assert [10.0, 20.0, 10.0, 20.0] == delays(trial)


@at_any_depth
async def test_the_wait_is_spread_within_its_jitter(depth: int) -> None:
    spread = Policy(backoff=Backoff(initial_s=10.0, factor=1.0, jitter=0.25), no_progress_max=None)
    trial = Trial(depth)
    given = random.Random(7)
    with seams.replaced(seams.Seams(random_source=lambda: given)):
        async with trial.running(trial.child("a"), policy=spread):
            for _ in range(40):
                await trial.crash("a", Boom("a", MEDIUM))
                await trio.sleep(12.5)
                await wait_all_tasks_blocked()
    assert 40 == len(delays(trial))
    assert all(7.5 <= delay_s <= 12.5 for delay_s in delays(trial))
    assert min(delays(trial)) < 8.5
    assert max(delays(trial)) > 11.5


@at_any_depth
async def test_a_stop_does_not_wait_for_a_restart(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a"), trial.child("b"), policy=LONG):
        await trial.crash("a", Boom("a", MEDIUM))
        await trio.sleep(1.0)
    assert 1.0 == trio.current_time()
    assert 1 == trial.incarnations("a")
    assert 0 == trial.system.kernel.timers.pending_count()


@at_any_depth
async def test_terminate_child_ends_a_wait_and_restart_child_starts_again(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a"), trial.child("b"), policy=LONG):
        await trial.crash("a", Boom("a", MEDIUM))
        [info] = [info for info in trial.sup.which_children() if info.id == "a"]
        assert (Status.RESTARTING, 10.0) == (info.status, info.restart_at_s)
        await trial.sup.terminate_child("a")
        assert 0.0 == trio.current_time()
        await trio.sleep(50.0)
        assert 1 == trial.incarnations("a")
        await trial.sup.restart_child("a")
        assert 2 == await trial.ref("a").ask(Which(), within_s=1.0)
        await trio.sleep(50.0)
        assert (2, 1) == (trial.incarnations("a"), trial.incarnations("b"))


@at_any_depth
async def test_a_stale_retry_does_nothing(depth: int) -> None:
    """Terminated and started again: the old retry, already on its way, must not start it twice."""
    trial = Trial(depth)
    async with trial.running(trial.child("a"), policy=LONG):
        life = trial.system.kernel.controls[trial.path]
        await trial.crash("a", Boom("a", MEDIUM))
        stale = life.core.members["a"].generation  # type: ignore[attr-defined]
        await trial.sup.terminate_child("a")
        for _ in range(2):
            life.push(Retry("a", stale))  # type: ignore[attr-defined]
            await wait_all_tasks_blocked()
            assert 1 == trial.incarnations("a")
        await trial.sup.restart_child("a")
        await trial.crash("a", Boom("a", MEDIUM))
        life.push(Retry("a", stale))  # type: ignore[attr-defined]
        await wait_all_tasks_blocked()
        assert 2 == trial.incarnations("a")


@at_any_depth
@pytest.mark.parametrize(("strategy", "waiting"), [(ALL, "abcd"), (REST, "bcd")])
async def test_a_group_stops_at_once_and_waits_together(
    depth: int, strategy: RestartStrategy, waiting: str
) -> None:
    trial = Trial(depth)
    children = [trial.child(name) for name in "abcd"]
    async with trial.running(*children, policy=LONG, strategy=strategy):
        await trial.crash("b", Boom("b", MEDIUM))
        assert 0.0 == trio.current_time()
        assert 4 - len(waiting) == trial.sup.count_children().active
        trial.diary.clear()
        await trio.sleep(9.9)
        assert not trial.diary
        await trio.sleep(0.2)
        assert [f"{name}.2 started" for name in waiting] == trial.diary
    assert [10.0] == delays(trial)


@at_any_depth
async def test_a_failure_elsewhere_takes_a_waiting_child_with_its_group_and_starts_it_once(
    depth: int,
) -> None:
    trial = Trial(depth)
    children = [trial.child(name) for name in "abc"]
    async with trial.running(*children, policy=LONG, strategy=REST):
        await trial.crash("c", Boom("c", MEDIUM))
        await trio.sleep(5.0)
        await trial.crash("b", Boom("b", LOW))  # LOW: at once, with c, which still waits
        assert {"a": 1, "b": 2, "c": 2} == {n: trial.incarnations(n) for n in "abc"}
        await trio.sleep(50.0)
        assert {"a": 1, "b": 2, "c": 2} == {n: trial.incarnations(n) for n in "abc"}


@at_any_depth
async def test_each_child_waits_for_itself_in_one_for_one(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(*(trial.child(name) for name in "abc"), policy=LONG):
        await trial.crash("a", Boom("a", MEDIUM))
        await trio.sleep(4.0)
        await trial.crash("b", Boom("b", MEDIUM))
        await trio.sleep(6.5)
        assert {"a": 2, "b": 1, "c": 1} == {n: trial.incarnations(n) for n in "abc"}
        await trio.sleep(4.0)
        assert {"a": 2, "b": 2, "c": 1} == {n: trial.incarnations(n) for n in "abc"}


# -- budgets -----------------------------------------------------------------------------------


async def gave_up(trial: Trial, *children: object, crashes: int, **spec: object) -> object:
    """Let "a" crash so often; return what the supervisor under test failed with, if it did."""
    try:
        async with trial.running(*children, **spec):  # type: ignore[arg-type]
            for n in range(crashes):
                await trial.crash("a", Boom(f"crash {n}", LOW))
    except ExceptionGroup as error:
        return error
    return None


@at_any_depth
async def test_a_spent_child_budget_escalates(depth: int) -> None:
    trial = Trial(depth)
    child = trial.child("a", budget=Intensity(2, 60.0))
    failed = trial.inner(await gave_up(trial, child, trial.child("b"), crashes=3))
    assert isinstance(failed, SupervisorFailed)
    assert (GaveUpWhy.CHILD_BUDGET, MEDIUM) == (failed.why, failed.severity)
    assert ["crash 2"] == [leaf.name for leaf in leaves(failed) if isinstance(leaf, Boom)]
    assert 3 == trial.incarnations("a")


@at_any_depth
async def test_a_spent_child_budget_may_stop_the_child_only(depth: int) -> None:
    trial = Trial(depth)
    child = trial.child("a", budget=Intensity(2, 60.0), exhausted=Directive.STOP)
    async with trial.running(child, trial.child("b")):
        for _ in range(3):
            await trial.crash("a", Boom("a", LOW))
        assert 3 == trial.incarnations("a")
        assert 1 == trial.sup.count_children().active
        await trio.sleep(1_000.0)
        assert 1 == await trial.ref("b").ask(Which(), within_s=1.0)
    assert not trial.of(SupervisorGaveUp)


@at_any_depth
async def test_a_spent_child_budget_may_stop_the_system(depth: int) -> None:
    trial = Trial(depth)
    told: list[SupervisorFailed] = []

    async def emergency(error: SupervisorFailed) -> None:
        told.append(error)

    child = trial.child("a", budget=Intensity(1, 60.0), exhausted=Directive.SHUTDOWN)
    with pytest.raises(ExceptionGroup):
        async with trial.running(child) as system:
            system.emergency = emergency
            for _ in range(2):
                await trial.crash("a", Boom("a", LOW))
    assert [(CRITICAL, GaveUpWhy.SHUTDOWN)] == [(error.severity, error.why) for error in told]


@at_any_depth
async def test_a_loop_without_progress_ends_however_slow_it_is(depth: int) -> None:
    """Each restart is outside the window of the one before: only the row of failures grows."""
    trial = Trial(depth)
    policy = evolve(LONG, no_progress_max=5)
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(
            trial.child("a"), policy=policy, intensity=Intensity(1, period_s=1.0)
        ):
            for _ in range(5):
                await trial.crash("a", Boom("a", MEDIUM))
                await trio.sleep(60.5)
                await wait_all_tasks_blocked()
            assert 6 == trial.incarnations("a")
            await trial.crash("a", Boom("a", MEDIUM))
    failed = trial.inner(caught.value)
    assert isinstance(failed, SupervisorFailed)
    assert GaveUpWhy.NO_PROGRESS is failed.why


@at_any_depth
async def test_giving_up_over_a_child_that_ended_normally_blames_nobody_else(depth: int) -> None:
    """An old failure of another child is not what made it give up."""
    trial = Trial(depth)

    async def leave(actor: Worker) -> None:
        actor.context.stop()

    child = trial.child("a", budget=Intensity(0, 60.0))
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(child, trial.child("b")):
            await trial.crash("b", Boom("an old story", LOW))
            trial.do("a", leave)
            await wait_all_tasks_blocked()
    failed = trial.inner(caught.value)
    assert isinstance(failed, SupervisorFailed)
    assert GaveUpWhy.CHILD_BUDGET is failed.why
    assert [SupervisionError] == [type(leaf) for leaf in leaves(failed)]


@at_any_depth
async def test_resume_keeps_the_state_and_buries_the_message_until_the_budget_is_spent(
    depth: int,
) -> None:
    trial = Trial(depth)
    child = trial.child("a", directives={LOW: Directive.RESUME}, budget=Intensity(2, period_s=60.0))
    async with trial.running(child, trial.child("b")):
        for _ in range(2):
            await trial.crash("a", Boom("a", LOW))
        assert 1 == await trial.ref("a").ask(Which(), within_s=1.0)
        assert 2 == len(trial.of(ActorResumed))
        assert [DeadLetterWhy.RESUMED_PAST] * 2 == [event.why for event in trial.of(DeadLetter)]
        assert ["a.1 started", "b.1 started"] == trial.diary
        await trio.sleep(61.0)
        await trial.crash("a", Boom("a", LOW))  # the window has slid on
        assert 1 == await trial.ref("a").ask(Which(), within_s=1.0)
    assert not trial.incidents()


@at_any_depth
async def test_resume_beyond_its_budget_fails_the_child(depth: int) -> None:
    trial = Trial(depth)
    child = trial.child("a", directives={LOW: Directive.RESUME}, budget=Intensity(2, 60.0))
    failed = trial.inner(await gave_up(trial, child, crashes=3))
    assert isinstance(failed, SupervisorFailed)
    assert GaveUpWhy.CHILD_BUDGET is failed.why
    assert 2 == len(trial.of(ActorResumed))


@at_any_depth
async def test_a_background_failure_cannot_be_resumed(depth: int) -> None:
    trial = Trial(depth)

    async def begin(actor: Worker) -> None:
        actor.context.start_soon(raising(Boom("background", LOW)), actor)

    async with trial.running(trial.child("a", directives={LOW: Directive.RESUME})):
        trial.do("a", begin)
        await wait_all_tasks_blocked()
        assert 2 == await trial.ref("a").ask(Which(), within_s=1.0)
    assert not trial.of(ActorResumed)


@at_any_depth
async def test_stop_ends_the_failed_child_only(depth: int) -> None:
    trial = Trial(depth)
    child = trial.child("b", directives={MEDIUM: Directive.STOP}, restart=Restart.PERMANENT)
    children = [trial.child("a"), child, trial.child("c")]
    async with trial.running(*children, strategy=ALL):
        await trial.crash("b", Boom("b", MEDIUM))
        await trio.sleep(1_000.0)
        assert {"a": 1, "b": 1, "c": 1} == {n: trial.incarnations(n) for n in "abc"}
        assert 2 == trial.sup.count_children().active
    [incident] = trial.incidents()
    assert (0, "stopped for good") == (incident.budget_after, incident.outcome.value)


@at_any_depth
async def test_a_restart_after_backoff_costs_one_charge_and_not_two(depth: int) -> None:
    trial = Trial(depth)
    budget = Intensity(restarts_max=1, period_s=1_000.0)
    async with trial.running(trial.child("a"), policy=CALM, intensity=budget):
        await trial.crash("a", Boom("a", MEDIUM))
        await trio.sleep(1.5)
        assert 2 == await trial.ref("a").ask(Which(), within_s=1.0)
    assert [1, 1] == [incident.budget_after for incident in trial.incidents()]


@at_any_depth
async def test_a_failed_start_after_a_wait_waits_longer(depth: int) -> None:
    trial = Trial(depth)
    child = trial.child("a", started=once(raising(Boom("start", MEDIUM)), at=2))
    async with trial.running(child, policy=LONG):
        await trial.crash("a", Boom("a", MEDIUM))
        await trio.sleep(10.5)
        assert [10.0, 20.0] == delays(trial)
        await trio.sleep(20.0)
        assert 3 == await trial.ref("a").ask(Which(), within_s=1.0)
