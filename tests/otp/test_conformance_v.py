"""Cases of OTP's supervisor_SUITE in which OTP sleeps for seconds, in virtual time.

What is `restarting` in OTP for as long as a retry loop spins is, here, restarting for as long as a
start takes or a restart waits: the supervisor answers meanwhile.
"""

import pytest
import trio
import trio.testing
from attrs import evolve

from ringfence.actors import Actor, Exit, Name
from ringfence.actors.errors import ChildRefused
from ringfence.actors.events import ActorEnded, ActorStarted, Event
from ringfence.actors.lifecycle import KILLED, SHUTDOWN
from ringfence.runtime.system import System, open_system
from ringfence.supervisors import (
    OTP,
    Child,
    Directive,
    DynamicSupervisor,
    Intensity,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.policy import DIRECTIVES_DEFAULT, Backoff
from ringfence.supervisors.spec import SupervisorSpec

OFTEN = Intensity(100_000, 5.0)


class Slow(Actor[str]):
    """Fails when told. From then on each start takes two seconds, and fails."""

    async def started(self) -> None:
        if self.context.incarnation > 1:
            await trio.sleep(2)
            msg = "still not there"
            raise ConnectionError(msg)

    def receive(self, message: str) -> None:
        raise ConnectionError(message)


class Steady(Actor[str]):
    def receive(self, message: str) -> None:
        pass


def crash(system: System, path: str) -> None:
    system.ref(Name[str](path)).tell("gone")


def states(system: System) -> dict[str, str]:
    """Return id -> status, the newest first."""
    return {info.id: info.status.value for info in system.supervisor().which_children()}


async def refused(system: System, key: str) -> list[str]:
    """Ask for what may not be done with a child that waits; return the refusals."""
    top, refusals = system.supervisor(), []
    child = key if isinstance(system.tree, DynamicSupervisor) else Child(key, Start(Steady))
    with pytest.raises(ChildRefused) as raised:
        await top.start_child(child)
    refusals.append(raised.value.refusal)
    with pytest.raises(ChildRefused) as raised:
        await top.restart_child(key)
    refusals.append(raised.value.refusal)
    with pytest.raises(ChildRefused) as raised:
        await top.delete_child(key)
    return [*refusals, raised.value.refusal]


async def stop_takes_no_time(tree: SupervisorSpec, key: str, *, dynamic: bool) -> None:
    """Check that a supervisor whose child hangs in a restart stops at once."""
    async with open_system(tree) as system:
        if dynamic:
            await system.supervisor().start_child(key)
        crash(system, f"top/{key}")
        await trio.sleep(1)
        began_s = trio.current_time()
    assert trio.current_time() == began_s


# -- the cases ---------------------------------------------------------------------------------


async def test_count_restarting_children__those_that_wait_count_as_workers_and_not_as_active() -> (
    None
):
    waiting = evolve(OTP, directives=DIRECTIVES_DEFAULT, backoff=Backoff(initial_s=10.0, jitter=0))
    tree = DynamicSupervisor(
        "top", template=Child("t", Start(Slow)), policy=waiting, intensity=OFTEN
    )
    tree = evolve(
        tree,
        policy=waiting.with_directives(
            dict.fromkeys(DIRECTIVES_DEFAULT, Directive.RESTART_AFTER_BACKOFF)
        ),
    )
    async with open_system(tree) as system:
        top = system.supervisor()
        for key in "abc":
            await top.start_child(key)
        crash(system, "top/a")
        crash(system, "top/b")
        await trio.testing.wait_all_tasks_blocked()
        counts = top.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (1, 1, 0, 3)
        assert states(system) == {"c": "running", "b": "restarting", "a": "restarting"}
        await top.terminate_child("a")
        await trio.sleep(100)
        counts = top.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (1, 1, 0, 2)


async def test_simple_one_for_one_shutdown__children_stop_at_once_under_one_common_timer() -> None:
    class Leisurely(Steady):
        def __init__(self, stop_s: float = 0) -> None:
            self.stop_s = stop_s

        async def stopping(self, reason: Exit) -> None:
            await trio.sleep(self.stop_s)

    seen: list[Event] = []
    template = Child("t", Start(Leisurely), shutdown_s=2.0)
    async with open_system(DynamicSupervisor("top", template=template, policy=OTP)) as system:
        system.events.listen(seen.append)
        for key, stop_s in (("a", 1.0), ("b", 1.0), ("c", 5.0)):
            await system.supervisor().start_child(key, stop_s)
        began_s = trio.current_time()
    assert trio.current_time() - began_s == pytest.approx(2.0)
    ends = {event.path: event for event in seen if isinstance(event, ActorEnded)}
    expected = (("top/a", 1.0, SHUTDOWN), ("top/b", 1.0, SHUTDOWN), ("top/c", 2.0, KILLED))
    for path, after_s, exit_ in expected:
        assert ends[path].at_s - began_s == pytest.approx(after_s)
        assert ends[path].exit == exit_


async def test_hanging_restart_loop__the_supervisor_answers_and_a_stop_ends_the_loop() -> None:
    tree = Supervisor("top", policy=OTP, intensity=OFTEN, children=[Child("a", Start(Slow))])
    async with open_system(tree) as system:
        crash(system, "top/a")
        await trio.sleep(3)
        assert states(system) == {"a": "restarting"}
        assert await refused(system, "a") == ["already_present", "restarting", "restarting"]
        began_s = trio.current_time()
        await system.supervisor().terminate_child("a")
        assert trio.current_time() == began_s
        assert states(system) == {"a": "stopped"}
        seen: list[Event] = []
        system.events.listen(seen.append)
        await trio.sleep(100)
        assert seen == []
    await stop_takes_no_time(tree, "a", dynamic=False)


async def test_hanging_restart_loop_rest_for_one__those_after_a_stopped_child_stay_down() -> None:
    tree = Supervisor(
        "top",
        policy=OTP,
        intensity=OFTEN,
        strategy=RestartStrategy.REST_FOR_ONE,
        children=[
            *(Child("a", Start(Steady)), Child("b", Start(Slow)), Child("c", Start(Steady))),
        ],
    )
    async with open_system(tree) as system:
        seen: list[Event] = []
        system.events.listen(seen.append)
        crash(system, "top/b")
        await trio.sleep(3)
        assert states(system) == {"c": "stopped", "b": "restarting", "a": "running"}
        assert await refused(system, "b") == ["already_present", "restarting", "restarting"]
        await system.supervisor().terminate_child("b")
        await trio.sleep(100)
        assert states(system) == {"c": "stopped", "b": "stopped", "a": "running"}
        assert not [event for event in seen if isinstance(event, ActorStarted)]
        assert (await system.supervisor().restart_child("c")).ref.path == "top/c"
    await stop_takes_no_time(tree, "b", dynamic=False)


async def test_hanging_restart_loop_simple__a_dynamic_child_in_the_loop_can_be_stopped() -> None:
    tree = DynamicSupervisor("top", template=Child("t", Start(Slow)), policy=OTP, intensity=OFTEN)
    async with open_system(tree) as system:
        for key in "ab":
            await system.supervisor().start_child(key)
        crash(system, "top/a")
        await trio.sleep(3)
        assert states(system) == {"b": "running", "a": "restarting"}
        refusals = await refused(system, "a")
        assert refusals == ["already_present", "simple_one_for_one", "simple_one_for_one"]
        await system.supervisor().terminate_child("a")
        await trio.sleep(100)
        assert states(system) == {"b": "running"}
    await stop_takes_no_time(tree, "a", dynamic=True)
