"""From the first exception up to the host: severity, causes, incidents, one group at the end."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ringfence.actors.errors import GaveUpWhy, Severity, SupervisorFailed
from ringfence.actors.events import RestartScheduled, SupervisorGaveUp, SystemStopping
from ringfence.runtime.system import run_async
from ringfence.supervisors import DEFAULT, Directive, Intensity, Policy, Supervisor
from ringfence.supervisors.incident import Incident, Outcome, incident_of
from ringfence.supervisors.spec import Spec
from tests.supervisors.fakes import (
    CALM,
    CRITICAL,
    HIGH,
    LOW,
    MANY,
    MEDIUM,
    Boom,
    Trial,
    Worker,
    at_any_depth,
    leaves,
    raising,
    raising_when,
)


def nest(child: Spec, *levels: str, policy: Policy) -> Supervisor:
    """Put ``child`` below supervisors, the innermost level first."""
    for level in levels:
        child = Supervisor(level, children=[child], policy=policy, intensity=MANY)
    assert isinstance(child, Supervisor)
    return child


@at_any_depth
@pytest.mark.parametrize(
    ("severity", "seen"),
    [
        (HIGH, [MEDIUM, LOW, LOW, LOW]),
        (MEDIUM, [LOW, LOW, LOW, LOW]),
        (LOW, [LOW, LOW, LOW, LOW]),
        (CRITICAL, [CRITICAL, CRITICAL, CRITICAL, CRITICAL]),
    ],
)
async def test_severity_falls_by_one_for_each_step_and_critical_never_falls(
    depth: int, severity: Severity, seen: list[Severity]
) -> None:
    everything_up = Policy(directives=dict.fromkeys(Severity, Directive.ESCALATE))
    trial = Trial(depth)
    boom = Boom("deep", severity)
    deep = nest(trial.child("a"), "one", "two", "three", policy=everything_up)
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(deep, policy=everything_up):
            trial.do("three/two/one/a", raising(boom))
            await wait_all_tasks_blocked()
    below = [event for event in trial.of(SupervisorGaveUp) if event.path.startswith(trial.path)]
    assert seen == [event.severity for event in below]
    assert [boom] == leaves(caught.value)


@at_any_depth
async def test_a_high_failure_is_escalated_once_and_then_healed(depth: int) -> None:
    """HIGH ends its supervisor, which is a MEDIUM for the next one: restarted after a wait."""
    trial = Trial(depth)
    deep = nest(trial.child("a"), "one", policy=CALM)
    async with trial.running(deep, trial.child("b")):
        trial.do("one/a", raising(Boom("a", HIGH)))
        await wait_all_tasks_blocked()
        assert [("one", 1.0)] == [(e.child, e.delay_s) for e in trial.of(RestartScheduled)]
        await trio.sleep(1.5)
        assert 2 == trial.ups[f"{trial.path}/one/a"]
        assert 1 == trial.incarnations("b")
    [inner] = trial.incidents(f"{trial.path}/one")
    outer = trial.incidents()[0]
    assert (Outcome.GAVE_UP, HIGH) == (inner.outcome, inner.severity)
    assert (Outcome.WAITING, MEDIUM) == (outer.outcome, outer.severity)


@at_any_depth
async def test_the_chain_leads_from_the_last_action_to_the_first_exception(depth: int) -> None:
    everything_up = Policy(directives=dict.fromkeys(Severity, Directive.ESCALATE))
    trial = Trial(depth)
    boom = Boom("deep", HIGH)
    deep = nest(trial.child("a"), "one", "two", policy=everything_up)
    async with trial.running(deep):
        trial.do("two/one/a", raising(boom))
        await wait_all_tasks_blocked()
        # "sup" takes it for LOW, and restarts "two" at once
        assert 2 == trial.ups[f"{trial.path}/two/one/a"]
    [last] = trial.incidents()
    chain = list(last.chain())
    below = [trial.path, f"{trial.path}/two", f"{trial.path}/two/one"]
    assert below == [incident.path for incident in chain]
    assert [LOW, MEDIUM, HIGH] == [incident.severity for incident in chain]
    outcomes = [Outcome.RESTARTED, Outcome.GAVE_UP, Outcome.GAVE_UP]
    assert outcomes == [incident.outcome for incident in chain]
    first = chain[-1].causes[0]
    assert f"{trial.path}/two/one/a" == first.path
    assert boom is first.decided_by


@at_any_depth
async def test_the_chain_has_every_branch_of_failures_that_came_together(depth: int) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    booms = {"x": Boom("x", HIGH), "y": Boom("y", HIGH)}
    inner = [nest(trial.child("a"), name, policy=CALM) for name in booms]
    async with trial.running(*inner):
        for name, boom in booms.items():
            trial.do(f"{name}/a", raising_when(gate, boom))
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
    first = trial.incidents()[0]
    assert {f"{trial.path}/x", f"{trial.path}/y"} == {cause.path for cause in first.causes}
    assert set(booms.values()) == {root_of(incident) for incident in list(first.chain())[1:]}
    assert 1 == first.budget_after


def root_of(incident: Incident) -> object:
    [cause] = incident.causes
    return cause.decided_by


@at_any_depth
async def test_a_critical_failure_deep_down_is_told_once_and_stops_the_system_in_reverse(
    depth: int,
) -> None:
    trial = Trial(depth)
    boom = Boom("deep", CRITICAL)
    told: list[SupervisorFailed] = []

    async def go_flat(error: SupervisorFailed) -> None:
        told.append(error)
        assert not any("(shutdown)" in line for line in trial.diary)  # not before it is flat
        await trio.sleep(7.0)
        assert not any("(shutdown)" in line for line in trial.diary)

    children = [trial.child("x"), nest(trial.child("a"), "one", "two", policy=DEFAULT)]
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(*children, trial.child("y"), trial.child("z")) as system:
            system.emergency = go_flat
            trial.do("two/one/a", raising(boom))
            await trio.sleep(8.0)
    [error] = told
    assert f"{trial.path}/two/one" == error.path
    assert (GaveUpWhy.SHUTDOWN, CRITICAL) == (error.why, error.severity)
    assert [boom] == leaves(caught.value)
    stops = [line for line in trial.diary if line.endswith("stopped")]
    assert ["a.1 stopped", "z.1 stopped", "y.1 stopped", "x.1 stopped"] == stops
    assert [7.0] == [event.at_s for event in trial.of(SystemStopping)]
    assert {1} == set(trial.ups.values())


@at_any_depth
async def test_two_critical_failures_one_after_the_other_are_told_once_and_both_come_out(
    depth: int,
) -> None:
    trial = Trial(depth)
    first, second = Boom("first", CRITICAL), Boom("second", CRITICAL)
    told: list[SupervisorFailed] = []

    async def go_flat(error: SupervisorFailed) -> None:
        told.append(error)
        await trio.sleep(5.0)

    inner = [nest(trial.child("a"), name, policy=DEFAULT) for name in ("one", "two")]
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(*inner) as system:
            system.emergency = go_flat
            trial.do("one/a", raising(first))
            await trio.sleep(1.0)
            trial.do("two/a", raising(second))
            await trio.sleep(5.0)
    assert [f"{trial.path}/one"] == [error.path for error in told]
    assert {first, second} == set(leaves(caught.value))


@at_any_depth
async def test_a_child_that_fails_while_the_emergency_runs_comes_out_and_is_not_restarted(
    depth: int,
) -> None:
    trial = Trial(depth)
    critical, late = Boom("critical", CRITICAL), Boom("late", LOW)

    async def go_flat(_error: SupervisorFailed) -> None:
        trial.do("b", raising(late))
        await trio.sleep(5.0)

    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(trial.child("a"), trial.child("b")) as system:
            system.emergency = go_flat
            trial.do("a", raising(critical))
            await trio.sleep(6.0)
    assert {critical, late} == set(leaves(caught.value))
    assert 1 == trial.incarnations("b")


async def test_except_star_takes_apart_what_run_async_raises() -> None:
    trial = Trial(2)

    async def fail_soon(actor: Worker) -> None:
        async def soon() -> None:
            await trio.sleep(1.0)
            raise Boom("feed", HIGH)

        actor.context.start_soon(soon)

    tree = trial.tree(
        trial.child("a", stopping=raising(ValueError("clean-up"))),
        trial.child("b", started=fail_soon),
    )
    seen: list[object] = []
    try:
        await run_async(tree)
    except* Boom as booms:
        seen += [getattr(booms, "path", None), *leaves(booms)]
    except* ValueError as values:
        seen += leaves(values)
    assert ["top", "feed", "clean-up"] == [str(error) for error in seen]


@at_any_depth
async def test_giving_up_names_all_failures_in_the_window_and_the_incident(depth: int) -> None:
    trial = Trial(depth)
    booms = [Boom(f"crash {n}", LOW) for n in range(4)]
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(trial.child("a"), intensity=Intensity(2, period_s=10.0)):
            for boom in booms:
                await trial.crash("a", boom)
                if boom is booms[0]:
                    await trio.sleep(10.5)  # it slides out of the window
    failed = trial.inner(caught.value)
    assert isinstance(failed, SupervisorFailed)
    assert GaveUpWhy.INTENSITY is failed.why
    assert tuple(booms[1:]) == failed.exceptions
    incident = incident_of(failed)
    assert incident is not None
    assert (2, 2, 3) == (incident.budget_max, incident.budget_before, incident.budget_after)


@at_any_depth
async def test_what_those_above_pass_on_is_the_same_failure(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("a", HIGH)
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(trial.child("a")):
            await trial.crash("a", boom)
    assert trial.path.partition("/")[0] == caught.value.path
    assert (boom,) == trial.inner(caught.value).exceptions  # type: ignore[attr-defined]
