"""Where Ringfence is not OTP, on purpose. docs/otp.md gives the reasons and names these tests."""

import pytest
import trio
import trio.testing
from attrs import evolve, frozen

from ringfence.actors import Actor, Ask, Exit, Name, Normal
from ringfence.actors.errors import ActorDown, GaveUpWhy, Severity
from ringfence.actors.errors import SupervisorFailed as GaveUp
from ringfence.actors.events import (
    ActorEnded,
    ActorStarted,
    ChildStopFailed,
    Event,
    SupervisorEnded,
)
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Failed
from ringfence.runtime.system import System, open_system
from ringfence.supervisors import (
    DEFAULT,
    OTP,
    Backoff,
    Child,
    Directive,
    DynamicSupervisor,
    Intensity,
    Policy,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.incident import IncidentRecorded, incident_of

OFTEN = Intensity(100_000, 5.0)
WAIT = evolve(
    DEFAULT,
    directives=dict.fromkeys(Severity, Directive.RESTART_AFTER_BACKOFF),
    backoff=Backoff(initial_s=10.0, jitter=0.0),
)
AT_ONCE = evolve(DEFAULT, directives=dict.fromkeys(Severity, Directive.RESTART))


@frozen
class Question(Ask[str]):
    """Never answered."""


class Steady(Actor[str]):
    """Runs, and fails when told anything."""

    def receive(self, message: str) -> None:
        raise RuntimeError(message)


def steady(key: str, restart: Restart = Restart.PERMANENT) -> Child:
    return Child(key, Start(Steady), restart=restart)


def crash(system: System, path: str) -> None:
    system.ref(Name[str](path)).tell("boom")


def heard(system: System) -> list[Event]:
    seen: list[Event] = []
    system.events.listen(seen.append)
    return seen


def started(seen: list[Event]) -> list[str]:
    return [event.path for event in seen if isinstance(event, ActorStarted)]


# -- backoff -----------------------------------------------------------------------------------


async def test_a_wait_for_a_restart_is_over_when_the_supervisor_is_told_to_stop() -> None:
    tree = Supervisor("top", policy=WAIT, intensity=OFTEN, children=[steady("a")])
    async with open_system(tree) as system:
        crash(system, "top/a")
        await trio.sleep(3)
        began_s = trio.current_time()
    assert trio.current_time() == began_s


async def test_a_child_that_was_stopped_is_not_revived_by_its_own_delayed_restart() -> None:
    tree = Supervisor("top", policy=WAIT, intensity=OFTEN, children=[steady("a")])
    async with open_system(tree) as system:
        crash(system, "top/a")
        await trio.sleep(3)
        await system.supervisor().terminate_child("a")
        await system.supervisor().restart_child("a")
        seen = heard(system)
        await trio.sleep(100)
        assert seen == []
        assert system.supervisor().which_children()[0].incarnation == 2


async def test_a_group_is_stopped_at_once_and_started_together_after_one_wait() -> None:
    tree = Supervisor(
        "top",
        policy=WAIT,
        intensity=OFTEN,
        strategy=RestartStrategy.ONE_FOR_ALL,
        children=[steady("a"), steady("b")],
    )
    async with open_system(tree) as system:
        seen = heard(system)
        began_s = trio.current_time()
        crash(system, "top/b")
        await trio.sleep(30)
        times = [(e.path, e.at_s - began_s) for e in seen if isinstance(e, ActorEnded)]
        assert times == [("top/b", 0.0), ("top/a", 0.0)]
        times = [(e.path, e.at_s - began_s) for e in seen if isinstance(e, ActorStarted)]
        assert [path for path, _ in times] == ["top/a", "top/b"]
        assert [after_s for _, after_s in times] == pytest.approx([10.0, 10.0])


# -- the end of a supervisor -------------------------------------------------------------------


def nested(policy: Policy, restart: Restart) -> Supervisor:
    """A supervisor that may restart nobody, below one that may."""
    desk = Supervisor("desk", restart=restart, intensity=Intensity(0, 5.0), children=[steady("a")])
    return Supervisor("top", policy=policy, intensity=OFTEN, children=[desk])


async def test_a_transient_supervisor_that_gave_up_is_restarted() -> None:
    for policy, expected in ((AT_ONCE, ["top/desk/a"]), (OTP, [])):
        async with open_system(nested(policy, Restart.TRANSIENT)) as system:
            seen = heard(system)
            crash(system, "top/desk/a")
            await trio.testing.wait_all_tasks_blocked()
            assert started(seen) == expected


async def test_giving_up_is_a_failure_of_its_own_with_the_chain_of_causes() -> None:
    async with open_system(nested(AT_ONCE, Restart.PERMANENT)) as system:
        seen = heard(system)
        crash(system, "top/desk/a")
        await trio.testing.wait_all_tasks_blocked()
        (end,) = [event for event in seen if isinstance(event, SupervisorEnded)]
        assert isinstance(end.exit, Failed)
        failed = end.exit.error
        assert isinstance(failed, GaveUp)
        assert failed.why is GaveUpWhy.INTENSITY
        assert [type(cause) for cause in failed.exceptions] == [RuntimeError]
        incident = incident_of(failed)
        assert incident is not None
        assert incident.causes[0].path == "top/desk/a"
        upper = [e.incident for e in seen if isinstance(e, IncidentRecorded)][-1]
        assert [step.path for step in upper.chain()] == ["top", "top/desk"]


async def test_killing_a_supervisor_leaves_no_orphans_and_no_overlap() -> None:
    desk = Supervisor("desk", children=[steady("a"), steady("b")])
    tree = Supervisor("top", policy=OTP, intensity=OFTEN, children=[desk])
    async with open_system(tree) as system:
        seen = heard(system)
        assert system.supervisor().kill_child("desk")
        await trio.testing.wait_all_tasks_blocked()
        kinds = [
            (type(e).__name__, e.path)
            for e in seen
            if isinstance(e, ActorEnded | SupervisorEnded | ActorStarted)
        ]
        assert sorted(kinds[:2]) == [("ActorEnded", "top/desk/a"), ("ActorEnded", "top/desk/b")]
        assert kinds[2:] == [
            ("SupervisorEnded", "top/desk"),
            ("ActorStarted", "top/desk/a"),
            ("ActorStarted", "top/desk/b"),
        ]
        ends = [event.exit for event in seen if isinstance(event, ActorEnded | SupervisorEnded)]
        assert ends == [KILLED, KILLED, KILLED]


# -- limits OTP does not have ------------------------------------------------------------------


async def test_a_child_that_crashes_too_slowly_for_the_window_does_not_live_for_ever() -> None:
    slow = evolve(AT_ONCE, no_progress_max=5)
    tree = Supervisor("top", policy=slow, intensity=Intensity(1, 1.0), children=[steady("a")])
    crashes = 0
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_system(tree) as system:
            for _ in range(100):
                crash(system, "top/a")
                crashes += 1
                await trio.sleep(2)
    assert crashes == 6
    gave_up = raised.value.subgroup(lambda error: isinstance(error, GaveUp))
    assert gave_up is not None
    found: BaseException = gave_up
    while not isinstance(found, GaveUp):
        assert isinstance(found, BaseExceptionGroup)
        (found,) = found.exceptions
    assert found.why is GaveUpWhy.NO_PROGRESS


async def test_failures_of_one_batch_are_one_group_restart_and_one_charge() -> None:
    for policy, charges in ((AT_ONCE, 1), (evolve(AT_ONCE, together=False), 2)):
        tree = Supervisor("top", policy=policy, children=[steady("a"), steady("b")])
        async with open_system(tree) as system:
            seen = heard(system)
            for key in "ab":
                system.supervisor().kill_child(key)
            await trio.testing.wait_all_tasks_blocked()
            incidents = [e.incident for e in seen if isinstance(e, IncidentRecorded)]
            assert sum(len(incident.causes) for incident in incidents) == 2
            assert incidents[-1].budget_after == charges
            assert len(incidents) == charges
            assert sorted(started(seen)) == ["top/a", "top/b"]


# -- a supervisor that answers -----------------------------------------------------------------


class Sluggish(Actor[str]):
    """Takes ten seconds to start from the second time on, and ten to stop."""

    async def started(self) -> None:
        if self.context.incarnation > 1:
            await trio.sleep(10)

    def receive(self, message: str) -> None:
        raise RuntimeError(message)

    async def stopping(self, reason: Exit) -> None:
        if reason == SHUTDOWN:
            await trio.sleep(10)


async def test_a_supervisor_answers_while_a_child_starts_and_while_one_stops() -> None:
    children = [Child("a", Start(Sluggish), shutdown_s=60.0), steady("b")]
    tree = Supervisor("top", policy=OTP, intensity=OFTEN, children=children)

    def states(system: System) -> list[str]:
        return [info.status.value for info in system.supervisor().which_children()]

    async with open_system(tree) as system:
        crash(system, "top/a")
        await trio.sleep(1)
        began_s = trio.current_time()
        assert states(system) == ["running", "restarting"]
        await trio.sleep(20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.supervisor().terminate_child, "a")
            await trio.sleep(1)
            assert states(system) == ["running", "running"]
        assert states(system) == ["running", "stopped"]
        assert trio.current_time() - began_s == pytest.approx(30.0)


async def test_a_start_in_progress_is_called_off_by_a_stop() -> None:
    tree = Supervisor(
        "top", policy=OTP, intensity=OFTEN, children=[Child("a", Start(Sluggish), shutdown_s=60.0)]
    )
    async with open_system(tree) as system:
        crash(system, "top/a")
        await trio.sleep(1)
        began_s = trio.current_time()
    assert trio.current_time() == began_s


# -- how a child may answer --------------------------------------------------------------------


class Obliging(Actor[str]):
    """Answers a request to stop with "my work is done"."""

    def receive(self, message: str) -> None:
        pass

    async def stopping(self, reason: Exit) -> Normal | None:
        return Normal() if reason == SHUTDOWN else None


async def test_a_permanent_child_that_answers_normal_has_done_nothing_wrong() -> None:
    for policy, complaints in ((DEFAULT, 0), (OTP, 1)):
        tree = Supervisor("top", policy=policy, children=[Child("a", Start(Obliging))])
        async with open_system(tree) as system:
            seen = heard(system)
            await system.supervisor().terminate_child("a")
            assert [e.exit for e in seen if isinstance(e, ActorEnded)] == [Normal()]
            assert len([e for e in seen if isinstance(e, ChildStopFailed)]) == complaints


# -- keys --------------------------------------------------------------------------------------


async def test_the_key_of_a_dynamic_child_is_its_handle_and_the_end_of_its_address() -> None:
    async with open_system(DynamicSupervisor("top", template=steady("t"), policy=OTP)) as system:
        top = system.supervisor()
        up = await top.start_child("BTC")
        assert up.ref.path == "top/BTC"
        await top.terminate_child("BTC")
        assert top.which_children() == []
        with pytest.raises(ActorDown):
            await system.ref(Name[Question](up.ref.path)).ask(Question(), within_s=1.0)
        assert (await top.start_child("BTC")).ref == up.ref
