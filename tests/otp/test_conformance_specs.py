"""Cases of OTP's supervisor_SUITE a trace cannot show: how a supervisor starts, and its specs.

Each test is named after the case; its docstring says what stands for what is Erlang's own.
"""

import itertools
import math
from typing import Any

import pytest
import trio

from ringfence.actors import IGNORE, Actor, Ignore
from ringfence.actors.errors import ChildRefused, GaveUpWhy, SpecError, StartFailed
from ringfence.actors.errors import SupervisorFailed as GaveUp
from ringfence.actors.events import ActorStarted, ChildTerminated, Ended, SupervisorEnded
from ringfence.actors.kernel import Kernel
from ringfence.runtime.system import System, open_system
from ringfence.supervisors import (
    BRUTAL_KILL,
    INFINITY,
    OTP,
    AutoShutdown,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.spec import Spec
from ringfence.supervisors.tree import check


class Quiet(Actor[str]):
    """Runs and does nothing."""

    def receive(self, message: str) -> None:
        pass


class Absent(Quiet):
    async def started(self) -> Ignore:
        return IGNORE


class Faulty(Quiet):
    async def started(self) -> None:
        await trio.sleep(1)
        raise LookupError("no such venue")


def quiet(key: str, **fields: Any) -> Child:
    return Child(key, Start(Quiet), **fields)


async def failure_of(tree: Supervisor) -> tuple[GaveUp, list[object]]:
    """Run a tree that cannot start; return what it raised, and its events."""
    system, seen = System(tree, Kernel()), list[object]()
    system.events.listen(seen.append)
    with pytest.raises(GaveUp) as raised:
        await system.run()
    return raised.value, seen


def fields_with_problems(tree: object) -> list[str]:
    return [problem.path.partition(": ")[2] for problem in check(tree)]


# -- starting ----------------------------------------------------------------------------------


async def test_sup_start_ignore_init__nobody_is_told_of_an_end() -> None:
    """OTP's supervisor can ignore in init; here it is an actor that chooses not to run."""
    async with open_system(Supervisor("top", policy=OTP)) as system:
        seen: list[object] = []
        system.events.listen(seen.append)
        up = await system.supervisor().start_child(Child("a", Start(Absent)))
        await trio.testing.wait_all_tasks_blocked()
        assert up.ignored
        assert not [e for e in seen if isinstance(e, Ended | ChildTerminated | ActorStarted)]
        assert system.supervisor().count_children().active == 0


async def test_sup_start_error_return__what_is_no_actor_is_a_failed_start() -> None:
    """OTP: init returns rubbish. Here: a start builds something that is no actor."""
    rubbish = Start(lambda: 3)  # type: ignore[arg-type,return-value]
    failed, seen = await failure_of(
        Supervisor("top", policy=OTP, children=[quiet("a"), Child("b", rubbish)])
    )
    assert failed.why is GaveUpWhy.START_FAILED
    (start,) = failed.exceptions
    assert isinstance(start, StartFailed)
    assert start.path == "top/b"
    ends = [event.path for event in seen if isinstance(event, Ended)]
    assert ends == ["top/a", "top"]


async def test_sup_start_fail__the_cause_and_its_traceback_reach_the_caller_once() -> None:
    """OTP: init raises; the caller gets reason and stack, and no stray exit signal."""
    inner = Supervisor("desk", children=[quiet("a"), Child("b", Start(Faulty))])
    failed, seen = await failure_of(Supervisor("top", policy=OTP, children=[inner]))
    start = failed.exceptions[0]
    assert isinstance(start, StartFailed)
    desk = start.__cause__
    assert isinstance(desk, GaveUp)
    cause = desk.exceptions[0].__cause__
    assert isinstance(cause, LookupError)
    assert cause.__traceback__ is not None
    assert [event.path for event in seen if isinstance(event, SupervisorEnded)] == [
        *("top/desk", "top")
    ]
    assert not [event for event in seen if isinstance(event, ChildTerminated)]


# -- specs that are as they should be ----------------------------------------------------------


async def test_sup_start_map__the_defaults_are_those_of_otp() -> None:
    worker, desk = Child("a", Start(Quiet)), Supervisor("desk")
    assert (worker.restart, worker.shutdown_s, worker.significant) == (
        Restart.PERMANENT,
        5.0,
        False,
    )
    assert (desk.restart, desk.shutdown_s) == (Restart.PERMANENT, INFINITY)
    assert (desk.strategy, desk.auto_shutdown) == (RestartStrategy.ONE_FOR_ONE, AutoShutdown.NEVER)
    async with open_system(Supervisor("top", children=[worker, desk])) as system:
        assert system.supervisor().child_spec("a") == worker
        assert system.supervisor().child_spec("desk") == desk
        with pytest.raises(ChildRefused) as refused:
            system.supervisor().child_spec("b")
    assert refused.value.refusal == "not_found"


async def test_sup_start_map_simple__the_spec_of_a_dynamic_child_is_the_template() -> None:
    """OTP asks by pid; the handle of a dynamic child is its key."""
    template = quiet("t", restart=Restart.TRANSIENT)
    async with open_system(DynamicSupervisor("top", template=template)) as system:
        await system.supervisor().start_child("BTC")
        assert system.supervisor().child_spec("BTC") == template
        with pytest.raises(ChildRefused) as refused:
            system.supervisor().child_spec("t")
    assert refused.value.refusal == "not_found"


async def test_sup_start_map_faulty_specs__a_faulty_tree_starts_nothing() -> None:
    class Loud(Quiet):
        async def started(self) -> None:
            pytest.fail("it must not start")

    missing: Any = None
    tree = Supervisor(
        "top",
        children=[
            Child("a", Start(Loud)),
            Child(missing, Start(Loud)),
            Child("c", missing),
            missing,
        ],
    )
    with pytest.raises(SpecError) as refused:
        async with open_system(tree):
            pytest.fail("the block must not begin")
    assert len(refused.value.problems) == 3


# -- specs that are not ------------------------------------------------------------------------


def test_child_specs__each_wrong_field_has_its_own_problem() -> None:
    """Modules and types of children have no analogue: classes carry both."""
    for fields, problem in (
        ({"restart": "sometimes"}, "restart"),
        ({"shutdown_s": -10}, "shutdown_s"),
        ({"shutdown_s": math.nan}, "shutdown_s"),
        ({"shutdown_s": "brutal"}, "shutdown_s"),
        ({"significant": "yes"}, "significant"),
        ({"start_s": 0}, "start_s"),
    ):
        assert fields_with_problems(Supervisor("top", children=[quiet("a", **fields)])) == [problem]
    twice = Supervisor("top", children=[quiet("a"), quiet("b"), quiet("a")])
    assert fields_with_problems(twice) == ["id"]
    no_template: Any = None
    assert fields_with_problems(DynamicSupervisor("top", template=no_template)) == ["template"]


def test_child_specs__every_good_combination_is_good() -> None:
    for restart, shutdown, strategy in itertools.product(
        Restart, (0.5, 5000, INFINITY, BRUTAL_KILL), RestartStrategy
    ):
        fields: dict[str, Any] = {"restart": restart, "shutdown_s": shutdown}
        children: list[Spec] = [quiet("a", **fields), Supervisor("b", **fields)]
        assert check(Supervisor("top", strategy=strategy, children=children)) == []
        assert check(DynamicSupervisor("top", template=quiet("t", **fields))) == []


def test_child_specs_map__significance_needs_a_child_that_may_end_and_a_supervisor_that_cares() -> (
    None
):
    for restart, significant, mode in itertools.product(Restart, (False, True), AutoShutdown):
        child = quiet("a", restart=restart, significant=significant)
        tree = Supervisor("top", children=[child], auto_shutdown=mode)
        wrong = significant and (restart is Restart.PERMANENT or mode is AutoShutdown.NEVER)
        assert fields_with_problems(tree) == (["significant"] if wrong else [])


def test_sup_flags__each_wrong_flag_has_its_own_problem() -> None:
    wrong: Any
    for wrong in ("none_for_one", None, 3):
        assert fields_with_problems(Supervisor("top", strategy=wrong)) == ["strategy"]
        assert fields_with_problems(Supervisor("top", auto_shutdown=wrong)) == ["auto_shutdown"]
    for wrong in (math.inf, -1, 1.5):
        tree = Supervisor("top", intensity=Intensity(wrong, 5.0))
        assert fields_with_problems(tree) == ["intensity.restarts_max"]
    for wrong in (0, -1, math.inf, math.nan):
        tree = Supervisor("top", intensity=Intensity(1, wrong))
        assert fields_with_problems(tree) == ["intensity.period_s"]
    for wrong in (0, "top", [], Start(Quiet)):
        assert check(wrong)
