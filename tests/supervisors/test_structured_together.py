"""Children that fail in the same pass of the scheduler: one decision, with every cause in it."""

from collections import Counter

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from ringfence.actors.errors import GaveUpWhy, SupervisorFailed
from ringfence.actors.events import ActorEnded, RestartScheduled, SupervisorGaveUp
from ringfence.actors.lifecycle import Failed
from ringfence.supervisors import Intensity, RestartStrategy
from ringfence.supervisors.incident import Outcome, incident_of
from ringfence.supervisors.spec import Child
from tests.supervisors.fakes import (
    CALM,
    CRITICAL,
    HIGH,
    LOW,
    MEDIUM,
    Boom,
    Trial,
    Worker,
    at_any_depth,
    leaves,
    raising,
    raising_when,
)

ONE, ALL, REST = RestartStrategy
how_many = pytest.mark.parametrize("count", [2, 10, 1000])
in_each_strategy = pytest.mark.parametrize("strategy", RestartStrategy)
with_and_without_hooks = pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "bare"])


def children_of(trial: Trial, names: list[str], *, hooks: bool) -> list[Child]:
    return [trial.child(name) if hooks else trial.bare(name) for name in names]


def fail_together(trial: Trial, gate: trio.Event, errors: dict[str, Boom]) -> None:
    for name, error in errors.items():
        trial.do(name, raising_when(gate, error))


@at_any_depth
@in_each_strategy
@how_many
@with_and_without_hooks
async def test_failures_of_one_pass_are_one_decision(
    depth: int, strategy: RestartStrategy, count: int, hooks: bool
) -> None:
    trial = Trial(depth)
    names = ["first", *(f"c{n}" for n in range(count)), "last"]
    children = children_of(trial, names, hooks=hooks)
    gate = trio.Event()
    errors = {f"c{n}": Boom(f"c{n}") for n in range(count)}
    budget = Intensity(restarts_max=1, period_s=60.0)
    async with trial.running(*children, strategy=strategy, intensity=budget):
        fail_together(trial, gate, errors)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert {f"c{n}": 2 for n in range(count)} == {n: trial.incarnations(n) for n in errors}
        assert (2 if strategy is ALL else 1) == trial.incarnations("first")
        assert (1 if strategy is ONE else 2) == trial.incarnations("last")
        assert len(names) == trial.sup.count_children().active
        for name in names:
            assert trial.incarnations(name) == await ask_incarnation(trial, name)
    [incident] = trial.incidents()
    assert Outcome.RESTARTED is incident.outcome
    assert 0 == incident.budget_before
    assert 1 == incident.budget_after  # one decision, one charge
    assert Counter(f"{trial.path}/{name}" for name in errors) == Counter(
        cause.path for cause in incident.causes
    )
    assert set(errors.values()) == {
        cause.exit.error for cause in incident.causes if isinstance(cause.exit, Failed)
    }
    assert [f"{trial.path}/{n}" for n in names if trial.incarnations(n) == 2] == sorted(
        incident.restarted, key=lambda path: names.index(path.rpartition("/")[2])
    )
    assert not trial.of(SupervisorGaveUp)


async def ask_incarnation(trial: Trial, name: str) -> int:
    from tests.supervisors.fakes import Which

    answer: int = await trial.ref(name).ask(Which(), within_s=1.0)
    return answer


@at_any_depth
@how_many
async def test_one_for_all_stops_the_survivors_in_reverse_and_starts_all_in_order(
    depth: int, count: int
) -> None:
    trial = Trial(depth)
    names = ["first", *(f"c{n}" for n in range(count)), "last"]
    gate = trio.Event()
    async with trial.running(*(trial.child(name) for name in names), strategy=ALL):
        fail_together(trial, gate, {f"c{n}": Boom(f"c{n}") for n in range(count)})
        await wait_all_tasks_blocked()
        trial.diary.clear()
        gate.set()
        await wait_all_tasks_blocked()
        failed = 2 * count  # each of the failed notes "stopping" and "stopped" by itself
        assert [
            "last.1 stopping (shutdown)",
            "last.1 stopped",
            "first.1 stopping (shutdown)",
            "first.1 stopped",
            *(f"{name}.2 started" for name in names),
        ] == trial.diary[failed:]


@at_any_depth
@with_and_without_hooks
async def test_the_worst_severity_decides_to_wait(depth: int, hooks: bool) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    errors = {"a": Boom("a", LOW), "b": Boom("b", MEDIUM), "c": Boom("c", LOW)}
    async with trial.running(*children_of(trial, list("abcd"), hooks=hooks), strategy=ALL):
        fail_together(trial, gate, errors)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert [1.0] == [event.delay_s for event in trial.of(RestartScheduled)]
        assert 0 == trial.sup.count_children().active
        await trio.sleep(1.0)
        await wait_all_tasks_blocked()
        assert dict.fromkeys("abcd", 2) == {name: trial.incarnations(name) for name in "abcd"}
    first, second = trial.incidents()
    assert MEDIUM is first.severity
    assert Outcome.WAITING is first.outcome
    assert 3 == len(first.causes)
    assert Outcome.RESTARTED is second.outcome
    assert (1, 1) == (first.budget_after, second.budget_after)


@at_any_depth
@in_each_strategy
@with_and_without_hooks
async def test_one_high_among_low_failures_escalates_with_all_of_them(
    depth: int, strategy: RestartStrategy, hooks: bool
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    errors = {"a": Boom("a", LOW), "b": Boom("b", HIGH), "c": Boom("c", MEDIUM)}
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(*children_of(trial, list("abcd"), hooks=hooks), strategy=strategy):
            fail_together(trial, gate, errors)
            await wait_all_tasks_blocked()
            gate.set()
            await wait_all_tasks_blocked()
    failed = trial.inner(caught.value)
    assert isinstance(failed, SupervisorFailed)
    assert GaveUpWhy.ESCALATED is failed.why
    assert MEDIUM is failed.severity  # HIGH, one step lower
    assert set(errors.values()) == set(failed.exceptions)
    assert 3 == len(failed.exceptions)
    assert dict.fromkeys("abcd", 1) == {name: trial.incarnations(name) for name in "abcd"}
    [incident] = trial.incidents()
    assert HIGH is incident.severity
    assert 3 == len(incident.causes)
    assert Outcome.GAVE_UP is incident.outcome
    assert incident_of(failed) == incident


@at_any_depth
async def test_one_critical_among_others_stops_the_system_and_the_host_is_told_once(
    depth: int,
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    errors = {
        "a": Boom("a", CRITICAL),
        "b": Boom("b", HIGH),
        "c": Boom("c", CRITICAL),
        "d": Boom("d", LOW),
    }
    told = []

    async def emergency(error: SupervisorFailed) -> None:
        told.append(error)

    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(*(trial.child(name) for name in "abcde")) as system:
            system.emergency = emergency
            fail_together(trial, gate, errors)
            await wait_all_tasks_blocked()
            gate.set()
            await wait_all_tasks_blocked()
    [halted] = told
    assert CRITICAL is halted.severity
    assert trial.path == halted.path
    assert set(errors.values()) == set(halted.exceptions)
    assert set(errors.values()) == set(leaves(caught.value))
    assert 4 == len(leaves(caught.value))
    assert "e.1 stopped" == trial.diary[-1]
    assert not any(".2" in line for line in trial.diary)


@at_any_depth
async def test_background_and_handler_that_fail_together_are_one_group_from_one_actor(
    depth: int,
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    errors = [Boom("background 1"), Boom("background 2"), Boom("handler")]

    async def both(actor: Worker) -> None:
        for error in errors[:2]:
            actor.context.start_soon(raising_when(gate, error), actor)
        await gate.wait()
        raise errors[2]

    async with trial.running(trial.child("a"), trial.child("b")):
        trial.do("a", both)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert 2 == trial.incarnations("a")
        assert 1 == trial.incarnations("b")
    [incident] = trial.incidents()
    [cause] = incident.causes
    assert isinstance(cause.exit, Failed)
    assert isinstance(cause.exit.error, ExceptionGroup)
    assert set(errors) == set(leaves(cause.exit.error))
    assert 3 == len(leaves(cause.exit.error))
    assert 1 == incident.budget_after


@at_any_depth
async def test_a_group_from_one_actor_is_as_severe_as_its_worst_leaf(depth: int) -> None:
    trial = Trial(depth)
    gate = trio.Event()

    async def both(actor: Worker) -> None:
        actor.context.start_soon(raising_when(gate, Boom("worse", MEDIUM)), actor)
        await gate.wait()
        raise Boom("mild", LOW)

    async with trial.running(trial.child("a")):
        trial.do("a", both)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert 1 == trial.incarnations("a")
        assert 1 == len(trial.of(RestartScheduled))
    assert MEDIUM is trial.incidents()[0].severity
    decided_by = trial.incidents()[0].causes[0].decided_by
    assert isinstance(decided_by, Boom)
    assert "worse" == decided_by.name


@at_any_depth
async def test_failures_one_after_another_are_decisions_of_their_own(depth: int) -> None:
    """What decides together is the pass of the scheduler, not the time: the clock stands still."""
    trial = Trial(depth)
    async with trial.running(trial.bare("a"), trial.bare("b")):
        await trial.crash("a", Boom("a"))
        await trial.crash("b", Boom("b"))
    assert [1, 1] == [len(incident.causes) for incident in trial.incidents()]
    assert [1, 2] == [incident.budget_after for incident in trial.incidents()]


@at_any_depth
async def test_without_together_each_failure_is_decided_and_charged_alone(depth: int) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    policy = evolve(CALM, together=False)
    async with trial.running(*(trial.bare(name) for name in "abc"), policy=policy, strategy=ALL):
        fail_together(trial, gate, {name: Boom(name) for name in "abc"})
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        # The first decision restarts all; the other ends are swallowed by its stops (R15).
        assert dict.fromkeys("abc", 2) == {name: trial.incarnations(name) for name in "abc"}
    [incident] = trial.incidents()
    assert 1 == len(incident.causes)
    failed = [proof for proof in incident.stopped if isinstance(proof.exit, Failed)]
    assert 2 == len(failed)
    assert not any(proof.asked for proof in failed)


@at_any_depth
async def test_the_end_of_an_actor_is_told_once_however_many_fail(depth: int) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    async with trial.running(*(trial.bare(f"c{n}") for n in range(10)), strategy=ALL):
        fail_together(trial, gate, {f"c{n}": Boom(f"c{n}") for n in range(10)})
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        ended = Counter((event.path, event.incarnation) for event in trial.of(ActorEnded))
        assert {(f"{trial.path}/c{n}", 1): 1 for n in range(10)} == ended


@at_any_depth
async def test_two_failures_of_one_pass_fit_into_a_budget_of_one_and_the_next_does_not(
    depth: int,
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    budget = Intensity(restarts_max=1, period_s=60.0)
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(trial.bare("a"), trial.bare("b"), intensity=budget):
            fail_together(trial, gate, {"a": Boom("a"), "b": Boom("b")})
            await wait_all_tasks_blocked()
            gate.set()
            await wait_all_tasks_blocked()
            assert 2 == trial.sup.count_children().active
            trial.do("a", raising(Boom("again")))
            await wait_all_tasks_blocked()
    failed = trial.inner(caught.value)
    assert isinstance(failed, SupervisorFailed)
    assert GaveUpWhy.INTENSITY is failed.why
    names = [part.name for part in leaves(failed) if isinstance(part, Boom)]
    assert ["a", "again", "b"] == sorted(names)
