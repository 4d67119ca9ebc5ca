"""A supervisor answers and obeys while a child starts or stops, and races have one outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import define
from trio.testing import MockClock, wait_all_tasks_blocked

from ringfence.actors.errors import ActorDown, ChildRefused, StartFailed, SupervisorFailed
from ringfence.actors.events import ActorEnded, ActorStarted, ChildTerminated
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Killed
from ringfence.supervisors import RestartStrategy
from ringfence.supervisors.decide import Status
from tests.supervisors.fakes import (
    HIGH,
    LOW,
    Boom,
    Trial,
    Which,
    at_any_depth,
    leaves,
    once,
    raising,
    raising_when,
    sleeping,
)

ONE, ALL, REST = RestartStrategy


@at_any_depth
async def test_questions_about_children_are_answered_while_one_starts(depth: int) -> None:
    trial = Trial(depth)
    children = [trial.child("a"), trial.child("b", started=once(sleeping(20.0), at=2))]
    async with trial.running(*children):
        await trial.crash("b", Boom("b", LOW))
        statuses = {info.id: info.status for info in trial.sup.which_children()}
        assert {"a": Status.RUNNING, "b": Status.RESTARTING} == statuses
        assert 1 == trial.sup.count_children().active
        assert 0.0 == trio.current_time()
        await trio.sleep(20.5)
        assert 2 == trial.sup.count_children().active


@at_any_depth
async def test_questions_about_children_are_answered_while_one_stops(depth: int) -> None:
    trial = Trial(depth)
    children = [trial.child("a"), trial.child("b", stopping=sleeping(3.0))]
    async with trial.running(*children):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trial.sup.terminate_child, "b")
            await trio.sleep(1.0)
            assert 2 == len(trial.sup.which_children())
            assert 2 == trial.sup.count_children().specs
            assert 1.0 == trio.current_time()
        assert 3.0 == trio.current_time()


@at_any_depth
async def test_a_stop_calls_off_a_slow_restart_at_once(depth: int) -> None:
    trial = Trial(depth)
    children = [trial.child("a"), trial.child("b", started=once(sleeping(20.0), at=2))]
    async with trial.running(*children):
        await trial.crash("b", Boom("b", LOW))
        await trio.sleep(1.0)
    assert 1.0 == trio.current_time()
    assert "a.1 stopped" == trial.diary[-1]
    assert "b.2 started" not in trial.diary


@at_any_depth
async def test_terminate_child_calls_off_the_start_of_that_child_only(depth: int) -> None:
    trial = Trial(depth)
    slow = once(sleeping(20.0), at=2)
    children = [trial.child("a", started=slow), trial.child("b")]
    async with trial.running(*children):
        await trial.crash("a", Boom("a", LOW))
        await trial.sup.terminate_child("a")
        assert 0.0 == trio.current_time()
        assert 1 == await trial.ref("b").ask(Which(), within_s=1.0)
        [stopped] = [i for i in trial.sup.which_children() if i.id == "a"]
        assert Status.STOPPED is stopped.status
        await trial.sup.restart_child("a")
        assert 3 == await trial.ref("a").ask(Which(), within_s=1.0)


@at_any_depth
async def test_terminating_another_child_waits_for_the_start_in_progress(depth: int) -> None:
    trial = Trial(depth)
    children = [trial.child("a", started=once(sleeping(20.0), at=2)), trial.child("b")]
    async with trial.running(*children):
        await trial.crash("a", Boom("a", LOW))
        await trial.sup.terminate_child("b")
        assert 20.0 == trio.current_time()
        assert 2 == await trial.ref("a").ask(Which(), within_s=1.0)


@at_any_depth
@pytest.mark.parametrize("passes", range(6))
async def test_terminated_in_the_pass_it_came_up_in_a_child_still_cleans_up(
    depth: int, passes: int
) -> None:
    trial = Trial(depth)
    gate = trio.Event()

    async def wait(_actor: object) -> None:
        await gate.wait()

    async with trial.running(trial.child("a", started=once(wait, at=2))):
        await trial.crash("a", Boom("a", LOW))
        gate.set()
        for _ in range(passes):
            await trio.lowlevel.cancel_shielded_checkpoint()
        await trial.sup.terminate_child("a")
        assert ("a.2 started" in trial.diary) == ("a.2 stopped" in trial.diary)
    assert not any(isinstance(event.exit, Killed) for event in trial.of(ActorEnded))


@at_any_depth
async def test_a_grave_failure_of_a_sibling_calls_off_a_slow_restart(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("a", HIGH)
    children = [trial.child("a"), trial.child("b", started=once(sleeping(20.0), at=2))]
    with pytest.raises(SupervisorFailed) as caught:
        async with trial.running(*children):
            await trial.crash("b", Boom("b", LOW))
            await trio.sleep(1.0)
            trial.do("a", raising(boom))
            await wait_all_tasks_blocked()
    assert 1.0 == trio.current_time()
    assert boom in leaves(trial.inner(caught.value))
    assert "b.2 started" not in trial.diary


@at_any_depth
async def test_start_child_waits_its_turn_while_others_restart_and_then_succeeds(
    depth: int,
) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a", started=once(sleeping(5.0), at=2))):
        await trial.crash("a", Boom("a", LOW))
        up = await trial.sup.start_child(trial.child("new"))
        assert 5.0 == trio.current_time()
        assert f"{trial.path}/new" == up.ref.path
        assert ["a", "new"] == [info.id for info in reversed(trial.sup.which_children())]


@at_any_depth
async def test_a_start_that_fails_is_the_callers_error_and_nobody_elses(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("new", HIGH)
    async with trial.running(trial.child("a")):
        with pytest.raises(StartFailed) as caught:
            await trial.sup.start_child(trial.child("new", started=raising(boom)))
        assert boom is caught.value.__cause__
        assert f"{trial.path}/new" == caught.value.path
        assert ["a"] == [info.id for info in trial.sup.which_children()]
        assert 1 == await trial.ref("a").ask(Which(), within_s=1.0)


@at_any_depth
async def test_a_caller_that_is_cancelled_does_not_undo_what_it_asked_for(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a")):
        with trio.move_on_after(1.0) as scope:
            await trial.sup.start_child(trial.child("new", started=sleeping(5.0)))
        assert scope.cancelled_caught
        await trio.sleep(4.5)
        assert 2 == trial.sup.count_children().active
        with trio.move_on_after(0.0):
            await trial.sup.terminate_child("new")
        await wait_all_tasks_blocked()
        assert 1 == trial.sup.count_children().active


@at_any_depth
async def test_callers_that_wait_when_the_supervisor_stops_get_an_error(depth: int) -> None:
    trial = Trial(depth)
    seen: list[type] = []

    async def call(fn: Callable[[], Awaitable[object]]) -> None:
        try:
            await fn()
        except (ActorDown, StartFailed, ChildRefused) as error:
            seen.append(type(error))
        else:
            seen.append(type(None))

    children = [trial.child("a"), trial.child("b", stopping=sleeping(2.0))]
    async with trio.open_nursery() as nursery, trial.running(*children):
        nursery.start_soon(call, lambda: trial.sup.terminate_child("b"))
        await wait_all_tasks_blocked()
        nursery.start_soon(call, lambda: trial.sup.start_child(trial.child("new")))
        nursery.start_soon(call, lambda: trial.sup.terminate_child("a"))
        nursery.start_soon(call, lambda: trial.sup.restart_child("a"))
        await wait_all_tasks_blocked()
    assert sorted([type(None), ActorDown, ActorDown, ActorDown], key=str) == sorted(seen, key=str)
    assert "new.1 started" not in trial.diary


# -- races: something happens at any step of a restart ------------------------------------------

STEPS_MAX = 1_000


@define(eq=False)
class AtStep(trio.abc.Instrument):
    """Do something before the n-th step of a task; count the steps."""

    at: int
    do: Callable[[], None] = lambda: None
    steps: int = 0
    armed: bool = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.armed:
            if self.steps == self.at:
                self.do()
            self.steps += 1


def condemn(trial: Trial) -> None:
    life = trial.system.kernel.controls[trial.path]
    life.condemn(life.verdict or KILLED)  # type: ignore[attr-defined]


def system_stop(trial: Trial) -> None:
    trial.system.stop()


def system_cancel(trial: Trial) -> None:
    trial.system.cancel()


def kill_b(trial: Trial) -> None:
    try:
        trial.sup.kill_child("b")
    except (ActorDown, ChildRefused):
        return


def restart_and_interrupt(
    depth: int,
    at: int,
    strategy: RestartStrategy,
    interrupt: Callable[[Trial], None],
    *,
    hooks: bool,
) -> tuple[Trial, int, object]:
    """Let two children fail in one pass, and interrupt before step ``at`` of what follows."""
    trial, cutter = Trial(depth), AtStep(at)
    gate = trio.Event()
    failure: list[BaseException] = []

    async def main() -> None:
        make = trial.child if hooks else trial.bare
        try:
            async with trial.running(*(make(name) for name in "abc"), strategy=strategy):
                for name in "ab":
                    trial.do(name, raising_when(gate, Boom(name, LOW)))
                await wait_all_tasks_blocked()
                cutter.do, cutter.armed = (lambda: interrupt(trial)), True
                gate.set()
                await wait_all_tasks_blocked()
                cutter.armed = False
                await trio.sleep(1.5)
        except ExceptionGroup as error:
            failure.append(error)

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[cutter])
    return trial, cutter.steps, failure[0] if failure else None


@at_any_depth
@pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "bare"])
@pytest.mark.parametrize("strategy", RestartStrategy)
@pytest.mark.parametrize("interrupt", [system_stop, condemn, kill_b, system_cancel])
def test_interrupted_at_any_step_of_a_restart_all_ends_once_and_nothing_hangs(
    depth: int, strategy: RestartStrategy, interrupt: Callable[[Trial], None], hooks: bool
) -> None:
    _, steps, failure = restart_and_interrupt(depth, STEPS_MAX, strategy, interrupt, hooks=hooks)
    assert failure is None
    assert 5 < steps < STEPS_MAX
    for at in range(steps):
        trial, _, failure = restart_and_interrupt(depth, at, strategy, interrupt, hooks=hooks)
        where = f"interrupted at step {at}"
        ups = [(e.path, e.incarnation) for e in trial.of(ActorStarted)]
        ends = [(e.path, e.incarnation) for e in trial.of(ActorEnded)]
        assert sorted(ups) == sorted(ends), where
        found = leaves(failure) if isinstance(failure, BaseException) else []
        if interrupt is system_stop:  # found dead by the stop, or handled: never both, never lost
            assert {"a", "b"} >= {getattr(leaf, "name", repr(leaf)) for leaf in found}, where
            handled = {event.child for event in trial.of(ChildTerminated)}
            named = {leaf.name for leaf in found if isinstance(leaf, Boom)}
            crashed = {e.path[-1] for e in trial.of(ActorEnded) if "Boom" in str(e.exit)}
            swallowed = {cause.path[-1] for i in trial.incidents() for cause in i.causes}
            assert crashed <= handled | named | swallowed, where
        exit_ = trial.system._root.exit
        assert exit_ is not None, where
        if interrupt is kill_b:
            assert SHUTDOWN == exit_, where
