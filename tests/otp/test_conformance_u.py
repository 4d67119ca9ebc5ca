"""Cases of OTP's supervisor_SUITE a trace cannot show: answers, memory, names, scale, reports.

Each test is named after the case; its docstring says what stands for what is Erlang's own.
"""

import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

from ringfence.actors import IGNORE, Actor, Exit, Failed, Ignore, Info, Name
from ringfence.actors.errors import ChildRefused
from ringfence.actors.errors import SupervisorFailed as GaveUp
from ringfence.actors.events import ChildStarted, ChildStopFailed, Event, SupervisorEnded
from ringfence.actors.lifecycle import KILLED
from ringfence.runtime.system import System, open_system
from ringfence.supervisors import (
    DEFAULT,
    OTP,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.control import ChildCounts
from ringfence.supervisors.incident import IncidentRecorded, Outcome
from ringfence.supervisors.spec import SupervisorSpec
from ringfence.supervisors.tree import check

OFTEN = Intensity(100_000, 5.0)


@frozen
class Crash:
    """Told to an actor: fail with this."""

    error: Exception


class Quiet(Actor[Crash | str]):
    """Runs, and fails when told."""

    def __init__(self, load: object = None) -> None:
        self.load = load

    def receive(self, message: Crash | str) -> None:
        if isinstance(message, Crash):
            raise message.error


class Telling(Quiet):
    """Tells who started it which incarnation it is, and what it was given."""

    async def started(self) -> Info:
        return Info((self.context.incarnation, self.load))


def boom(system: System, path: str) -> None:
    system.ref(Name[Crash | str](path)).tell(Crash(RuntimeError("boom")))


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def counted(system: System, path: str | None = None) -> tuple[int, int, int, int]:
    counts = system.supervisor(path).count_children()
    return (counts.specs, counts.active, counts.supervisors, counts.workers)


# -- answers of the API ------------------------------------------------------------------------


async def test_extra_return__info_reaches_who_started_and_is_dropped_on_a_restart() -> None:
    tree = Supervisor("top", policy=OTP, intensity=OFTEN)
    async with open_system(tree) as system:
        top = system.supervisor()
        up = await top.start_child(Child("a", Start(Telling, "load")))
        assert up.info == (1, "load")
        boom(system, "top/a")
        await settled()
        await top.terminate_child("a")
        assert (await top.restart_child("a")).info == (3, "load")


async def test_simple_one_for_one_extra__info_reaches_who_started_a_dynamic_child() -> None:
    tree = DynamicSupervisor("top", template=Child("t", Start(Telling)), policy=OTP)
    async with open_system(tree) as system:
        up = await system.supervisor().start_child("a", "load")
        assert up.info == (1, "load")


@pytest.mark.parametrize("count", [1_000, 2_000])
async def test_count_children__counts_and_lists_agree_before_and_after_all_are_killed(
    count: int,
) -> None:
    template = Child("t", Start(Quiet), restart=Restart.TEMPORARY)
    async with open_system(DynamicSupervisor("top", template=template, policy=OTP)) as system:
        top = system.supervisor()
        for number in range(count):
            await top.start_child(str(number))
        assert counted(system) == (1, count, 0, count)
        assert len(top.which_children()) == count
        for number in range(count):
            assert top.kill_child(str(number))
        await settled()
        assert counted(system) == (1, 0, 0, 0)
        assert top.which_children() == []


async def test_count_children_supervisor__supervisors_and_workers_are_told_apart() -> None:
    tree = Supervisor("top", children=[Supervisor("desk"), Child("a", Start(Quiet))])
    async with open_system(tree) as system:
        assert system.supervisor().count_children() == ChildCounts(
            specs=2, active=2, supervisors=1, workers=1
        )


async def test_external_start_no_progress_log__each_start_is_one_event_whoever_asked() -> None:
    """OTP 27 logs a start through the API at debug only; an event has no level."""
    async with open_system(Supervisor("top", policy=OTP, intensity=OFTEN)) as system:
        seen: list[Event] = []
        system.events.listen(seen.append)
        await system.supervisor().start_child(Child("a", Start(Quiet)))
        assert [e.child for e in seen if isinstance(e, ChildStarted)] == ["a"]
        boom(system, "top/a")
        await settled()
        assert [e.child for e in seen if isinstance(e, ChildStarted)] == ["a", "a"]


async def test_already_started_outside_supervisor__a_taken_name_is_a_refusal_not_a_failure() -> (
    None
):
    """Names are places in the tree, so only the supervisor itself can have given one away."""
    async with open_system(Supervisor("top", children=[Child("a", Start(Quiet))])) as system:
        with pytest.raises(ChildRefused) as refused:
            await system.supervisor().start_child(Child("a", Start(Telling)))
        assert refused.value.refusal == "already_started"
        assert refused.value.__cause__ is None
        assert system.supervisor().which_children()[0].incarnation == 1


# -- dynamic children --------------------------------------------------------------------------


async def test_simple_one_for_one_restart_ignore__a_child_that_will_not_return_is_dropped() -> None:
    class Shy(Quiet):
        async def started(self) -> Ignore | None:
            return IGNORE if self.context.incarnation > 1 else None

    tree = DynamicSupervisor("top", template=Child("t", Start(Shy)), policy=OTP)
    async with open_system(tree) as system:
        await system.supervisor().start_child("a")
        boom(system, "top/a")
        await settled()
        assert counted(system) == (1, 0, 0, 0)
        await system.supervisor().start_child("b")
        assert counted(system) == (1, 1, 0, 1)


def test_significant_simple__dynamic_children_cannot_be_significant() -> None:
    """As in OTP 27; OTP 25 allowed it."""
    template = Child("t", Start(Quiet), significant=True, restart=Restart.TEMPORARY)
    paths = [problem.path for problem in check(DynamicSupervisor("top", template=template))]
    assert paths == ["top/*: significant"]


class Load:
    """Something big that is given to an actor."""


async def given_and_ended(restart: Restart) -> bool:
    """Start a dynamic child with an argument, end it; return whether the argument is still held."""
    template = Child("t", Start(Quiet), restart=restart)
    async with open_system(DynamicSupervisor("top", template=template, policy=OTP)) as system:
        load = Load()
        held = weakref.ref(load)
        await system.supervisor().start_child("a", load)
        await system.supervisor().start_child("b")
        del load
        if restart is Restart.PERMANENT:
            boom(system, "top/a")
        else:
            system.supervisor().kill_child("a")
        await settled()
        gc.collect()
        assert counted(system)[1] == (2 if restart is Restart.PERMANENT else 1)
        return held() is not None


async def test_simple_one_for_one_corruption__arguments_of_a_temporary_child_die_with_it() -> None:
    assert not await given_and_ended(Restart.TEMPORARY)
    assert await given_and_ended(Restart.PERMANENT)


async def test_do_not_save_start_parameters_for_temporary_children__static_ones_too() -> None:
    for strategy in RestartStrategy:
        tree = Supervisor("top", strategy=strategy, policy=OTP, intensity=OFTEN)
        async with open_system(tree) as system:
            held = {}
            for restart in (Restart.TEMPORARY, Restart.TRANSIENT):
                load = Load()
                held[restart] = weakref.ref(load)
                child = Child(restart.value, Start(Quiet, load), restart=restart)
                await system.supervisor().start_child(child)
                await system.supervisor().terminate_child(restart.value)
                del load, child
            gc.collect()
            assert held[Restart.TEMPORARY]() is None
            assert held[Restart.TRANSIENT]() is not None


# -- children that hang on ---------------------------------------------------------------------


async def test_child_unlink__a_child_that_ignores_a_stop_does_not_hang_its_supervisor() -> None:
    """Nothing can unlink itself here; a child that never answers is the nearest."""

    class Stubborn(Quiet):
        async def stopping(self, reason: Exit) -> None:
            await trio.sleep_forever()

    tree = Supervisor("top", policy=OTP, children=[Child("a", Start(Stubborn), shutdown_s=5.0)])
    async with open_system(tree) as system:
        seen: list[Event] = []
        system.events.listen(seen.append)
        began_s = trio.current_time()
        await system.supervisor().terminate_child("a")
        assert trio.current_time() - began_s == pytest.approx(5.0)
        (failed,) = [event for event in seen if isinstance(event, ChildStopFailed)]
        assert failed.exit == KILLED
        assert counted(system) == (1, 0, 0, 1)


# -- names -------------------------------------------------------------------------------------


async def test_simple_global_supervisor__a_name_leads_to_the_new_incarnation_each_time() -> None:
    class Counting(Actor[str | Crash]):
        def receive(self, message: str | Crash) -> None:
            if isinstance(message, Crash):
                raise message.error
            told.append((self.context.incarnation, message))

    told: list[tuple[int, str]] = []
    desk = Supervisor("desk", children=[Child("a", Start(Counting))], intensity=OFTEN)
    tree = Supervisor("top", policy=OTP, children=[desk], intensity=OFTEN)
    async with open_system(tree) as system:
        ref = system.ref(Name[str | Crash]("top/desk/a"))

        async def tell(text: str) -> None:
            await settled()
            ref.tell(text)
            await settled()

        await tell("first")
        system.supervisor().kill_child("desk")
        await tell("supervisor killed")
        system.supervisor("top/desk").kill_child("a")
        await tell("worker killed")
        ref.tell(Crash(RuntimeError("boom")))
        await tell("worker crashed")
        await system.supervisor("top/desk").terminate_child("a")
        await system.supervisor("top/desk").restart_child("a")
        await tell("stopped and restarted")
    assert told == [
        (1, "first"),
        (2, "supervisor killed"),
        (3, "worker killed"),
        (4, "worker crashed"),
        (5, "stopped and restarted"),
    ]


# -- scale -------------------------------------------------------------------------------------


def seconds_of(tree: SupervisorSpec, keys: int = 0) -> float:
    """Return the real seconds of processor time to start and stop a tree."""

    async def run() -> None:
        async with open_system(tree) as system:
            for number in range(keys):
                await system.supervisor().start_child(str(number))

    began_s = time.process_time()
    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return time.process_time() - began_s


def grows_in_proportion(seconds: Callable[[int], float], *, factor: int = 10) -> bool:
    """Say whether ten times the children take less than 30 times as long; once may be unlucky."""
    return any(seconds(200 * factor) < 3 * factor * seconds(200) for _ in range(3))


def test_simple_one_for_one_scale_many_temporary_children__stopping_stays_in_proportion() -> None:
    template = Child("t", Start(Quiet), restart=Restart.TEMPORARY)
    tree = DynamicSupervisor("top", template=template, policy=OTP)
    assert grows_in_proportion(lambda count: seconds_of(tree, count))


def test_scale_start_stop_many_children__start_and_stop_stay_in_proportion() -> None:
    def seconds(count: int) -> float:
        children = [Child(f"c{number}", Start(Quiet)) for number in range(count)]
        return seconds_of(Supervisor("top", children=children, policy=OTP))

    assert grows_in_proportion(seconds)


# -- reports -----------------------------------------------------------------------------------


async def incident_after_giving_up() -> tuple[GaveUp, list[Event]]:
    seen: list[Event] = []
    child = Child("a", Start(Quiet))
    tree = Supervisor("top", children=[child], policy=DEFAULT, intensity=Intensity(0, 5.0))
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_system(tree) as system:
            system.events.listen(seen.append)
            system.ref(Name[Crash | str]("top/a")).tell(Crash(RuntimeError("x" * 5_000)))
            await trio.sleep_forever()
    found: Any = raised.value
    while not isinstance(found, GaveUp):
        (found,) = found.exceptions
    return found, seen


async def test_format_log_1__a_report_is_data_and_names_supervisor_context_reason_and_child() -> (
    None
):
    """OTP formats text with limits of depth and size; here the report is an object."""
    failed, seen = await incident_after_giving_up()
    (recorded,) = [event for event in seen if isinstance(event, IncidentRecorded)]
    incident = recorded.incident
    assert (incident.path, incident.outcome) == ("top", Outcome.GAVE_UP)
    assert incident.why is failed.why
    (cause,) = incident.causes
    assert (cause.path, cause.incarnation) == ("top/a", 1)
    assert isinstance(cause.exit, Failed)
    assert isinstance(cause.exit.error, RuntimeError)


async def test_format_log_2__the_text_of_a_failure_is_one_short_line_whatever_its_cause() -> None:
    failed, seen = await incident_after_giving_up()
    assert "\n" not in str(failed)
    assert len(str(failed)) < 200
    assert "top" in str(failed)
    (end,) = [event for event in seen if isinstance(event, SupervisorEnded)]
    assert str(end.exit).startswith("SupervisorFailed: top gave up")
    assert len(str(end.exit)) < 250
