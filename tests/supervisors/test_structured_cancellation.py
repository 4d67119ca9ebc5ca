"""Cancellation from outside: an orderly stop first, then `Cancelled`, with no error lost.

The scenarios are cancelled at every single step of the scheduler, one run per step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from ringfence.actors import Name
from ringfence.actors.errors import SupervisorFailed
from ringfence.actors.events import (
    ActorEnded,
    ActorStarted,
    SupervisorEnded,
    SupervisorStarting,
    SystemStopped,
)
from ringfence.actors.lifecycle import Killed, Shutdown
from ringfence.runtime.system import open_system, run_async
from ringfence.supervisors import RestartStrategy, Supervisor
from ringfence.supervisors.spec import Spec
from tests.supervisors.fakes import (
    CALM,
    HIGH,
    LOW,
    MEDIUM,
    Boom,
    Do,
    Trial,
    Worker,
    at_any_depth,
    leaves,
    once,
    raising,
    roots,
    sleeping,
)

STEPS_MAX = 2_000


@define(eq=False)
class CancelAt(trio.abc.Instrument):
    """Cancel a scope before the n-th step of a task; count the steps."""

    at: int
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    steps: int = 0
    armed: bool = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self.armed:
            return
        if self.steps == self.at:
            self.scope.cancel()
        self.steps += 1


Scenario = Callable[[Trial], Awaitable[None]]


async def started_and_stopped(trial: Trial) -> None:
    """A small tree that comes up, with a slow start in the middle, and is stopped."""
    inner = Supervisor("inner", children=[trial.child("x"), trial.child("y")], policy=CALM)
    children = [trial.child("a"), trial.child("b", started=sleeping(1.0)), inner, trial.child("c")]
    await play(trial, children, lambda: None)


async def crashing(trial: Trial) -> None:
    """A group restart, a backoff, and a background task, on the way."""

    async def background(actor: Worker) -> None:
        actor.context.start_soon(trio.sleep_forever)

    children = [
        trial.child("a", started=background),
        trial.child("b", stopping=sleeping(0.5)),
        trial.bare("c"),
    ]

    def act() -> None:
        trial.do("a", raising(Boom("a", LOW)))
        trial.do("c", raising(Boom("c", MEDIUM)))

    await play(trial, children, act, strategy=RestartStrategy.ONE_FOR_ALL)


async def giving_up(trial: Trial) -> None:
    """A supervisor that gives up while everybody runs, with a clean-up that fails."""
    children = [
        trial.child("a", stopping=raising(Boom("clean-up of a"))),
        trial.child("b"),
        trial.child("c", stopping=sleeping(0.5)),
    ]
    await play(trial, children, lambda: trial.do("b", raising(Boom("b", HIGH))))


async def play(
    trial: Trial, children: Sequence[Spec], act: Callable[[], None], **spec: object
) -> None:
    tree = trial.tree(*children, **spec)
    system = trial.prepare(tree)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await system.wait_started()
        act()
        await trio.sleep(3.0)
        system.stop()


def run_and_cancel(scenario: Scenario, depth: int, at: int) -> tuple[Trial, CancelAt, object]:
    """Run a scenario, cancelled from outside before step ``at``."""
    trial, cutter = Trial(depth), CancelAt(at)
    failure: list[BaseException] = []

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        cutter.armed = True
        try:
            with trio.fail_after(1_000.0), cutter.scope:
                await scenario(trial)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            failure.append(error)
        cutter.armed = False
        assert before == trio.lowlevel.current_statistics().tasks_living

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[cutter])
    return trial, cutter, failure[0] if failure else None


def assert_orderly(trial: Trial, where: str) -> None:
    """Check that all that started stopped, in the reverse order, and nothing runs twice."""
    alive: list[str] = []
    for line in trial.diary:
        name, _, what = line.partition(" ")
        if what == "started":
            assert not any(other.partition(".")[0] == name.partition(".")[0] for other in alive)
            alive.append(name)
        elif what in ("stopped", "not stopped well"):
            alive.remove(name)
    assert not alive, f"{where}: {alive} started and never stopped"
    ups = [(e.path, e.incarnation) for e in trial.of(ActorStarted)]
    ends = [(e.path, e.incarnation) for e in trial.of(ActorEnded)]
    assert sorted(ups) == sorted(ends), where
    starts = [(e.path, e.incarnation) for e in trial.of(SupervisorStarting)]
    assert sorted(starts) == sorted((e.path, e.incarnation) for e in trial.of(SupervisorEnded))
    assert len(trial.of(SystemStopped)) == (1 if starts else len(trial.of(SystemStopped))), where


def stops_in_order(trial: Trial) -> list[str]:
    return [line.partition(".")[0] for line in trial.diary if "stopping (shutdown)" in line]


@at_any_depth
def test_cancelled_at_any_step_a_tree_stops_in_reverse_order(depth: int) -> None:
    _, whole, _ = run_and_cancel(started_and_stopped, depth, STEPS_MAX)
    assert 20 < whole.steps < STEPS_MAX
    for at in range(whole.steps):
        trial, cutter, failure = run_and_cancel(started_and_stopped, depth, at)
        where = f"cancelled at step {at}"
        assert failure is None, where
        assert_orderly(trial, where)
        names = ["c", "y", "x", "b", "a"]
        started = [line.partition(".")[0] for line in trial.diary if line.endswith("started")]
        assert [name for name in names if name in started] == stops_in_order(trial), where
        assert not any(isinstance(event.exit, Killed) for event in trial.of(ActorEnded)), where
        del cutter


@at_any_depth
def test_cancelled_at_any_step_of_crashes_and_restarts_a_tree_stops_in_order(depth: int) -> None:
    _, whole, _ = run_and_cancel(crashing, depth, STEPS_MAX)
    assert 20 < whole.steps < STEPS_MAX
    for at in range(whole.steps):
        trial, _, failure = run_and_cancel(crashing, depth, at)
        where = f"cancelled at step {at}"
        if failure is not None:  # a child that failed just before the stop is found dead by it
            assert {"a", "c"} >= set(names_of(failure)), where
        assert_orderly(trial, where)


@at_any_depth
def test_cancelled_at_any_step_a_failure_is_not_lost(depth: int) -> None:
    _, whole, _ = run_and_cancel(giving_up, depth, STEPS_MAX)
    assert 20 < whole.steps < STEPS_MAX
    for at in range(whole.steps):
        trial, _, failure = run_and_cancel(giving_up, depth, at)
        where = f"cancelled at step {at}"
        assert_orderly(trial, where)
        came_out = sorted(names_of(failure))
        happened = []
        if any(line == "b.1 stopping (Boom)" for line in trial.diary):
            happened.append("b")
        if any(line.startswith("a.1 stopping") for line in trial.diary):
            happened.append("clean-up of a")
        assert happened == came_out, where


def names_of(failure: object) -> list[str]:
    found = roots(failure) if isinstance(failure, BaseException) else []
    return [boom.name if isinstance(boom, Boom) else repr(boom) for boom in found]


@at_any_depth
async def test_fail_after_stops_the_tree_in_order_before_it_raises(depth: int) -> None:
    trial = Trial(depth)
    tree = trial.tree(trial.child("a"), trial.child("b", stopping=sleeping(2.0)))
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(10.0):
            await trial.prepare(tree).run()
    assert 12.0 == trio.current_time()
    assert ["b", "a"] == stops_in_order(trial)
    assert Shutdown() == trial.of(ActorEnded)[-1].exit
    assert [True] == [event.clean for event in trial.of(SystemStopped)]


async def test_fail_after_around_run_async_raises_too_slow() -> None:
    trial = Trial()
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(10.0):
            await run_async(trial.tree(trial.child("a")))
    assert ["a.1 started", "a.1 stopping (shutdown)", "a.1 stopped"] == trial.diary


@at_any_depth
async def test_cancelled_goes_on_only_when_the_tree_has_ended(depth: int) -> None:
    trial = Trial(depth)
    system = trial.prepare(trial.tree(trial.child("a", stopping=sleeping(3.0))))
    with trio.move_on_after(1.0) as scope:
        await system.run()
        pytest.fail("it was cancelled, so it must not go on")
    assert scope.cancelled_caught
    assert 4.0 == trio.current_time()
    assert "a.1 stopped" == trial.diary[-1]


@at_any_depth
async def test_an_error_in_clean_up_comes_out_of_a_cancelled_run(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("clean-up")
    tree = trial.tree(trial.child("a"), trial.child("b", stopping=raising(boom)))
    with pytest.raises(ExceptionGroup) as caught:
        with trio.move_on_after(1.0) as scope:
            await trial.prepare(tree).run()
    assert scope.cancelled_caught  # the scope took its `Cancelled` out of the group
    assert [boom] == leaves(caught.value)
    assert "a.1 stopped" == trial.diary[-1]
    assert [False] == [event.clean for event in trial.of(SystemStopped)]


@at_any_depth
async def test_an_error_in_clean_up_wins_over_too_slow(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("clean-up")
    tree = trial.tree(trial.child("a", stopping=raising(boom)))
    with pytest.raises(ExceptionGroup) as caught:
        with trio.fail_after(1.0):
            await trial.prepare(tree).run()
    assert [boom] == leaves(caught.value)


async def test_a_block_that_fails_and_a_clean_up_that_fails_come_out_together() -> None:
    trial = Trial()
    in_clean_up, in_block = Boom("clean-up"), Boom("block")
    tree = trial.tree(trial.child("a", stopping=raising(in_clean_up)))
    with pytest.raises(ExceptionGroup) as caught:
        async with open_system(tree):
            raise in_block
    assert {in_clean_up, in_block} == set(leaves(caught.value))


async def test_a_tree_that_fails_cancels_the_block_and_comes_out() -> None:
    trial = Trial()
    boom = Boom("a", HIGH)
    name: Name[Do] = Name("sup/a")
    with pytest.raises(ExceptionGroup) as caught:
        async with open_system(trial.tree(trial.child("a"))) as system:
            system.ref(name).tell(Do(raising(boom)))
            await trio.sleep_forever()
    [failed] = caught.value.exceptions
    assert isinstance(failed, SupervisorFailed)
    assert (boom,) == failed.exceptions


@at_any_depth
async def test_the_stop_after_a_cancellation_is_bounded_by_the_children(depth: int) -> None:
    trial = Trial(depth)
    hang = sleeping(1_000_000.0)
    children = [trial.child(name, stopping=hang, shutdown_s=s) for name, s in (("a", 2), ("b", 3))]
    system = trial.prepare(trial.tree(*children))
    with trio.move_on_after(1.0):
        await system.run()
    assert 1.0 + 2 + 3 == trio.current_time()


@at_any_depth
async def test_a_cancellation_during_backoff_ends_it(depth: int) -> None:
    trial = Trial(depth)
    children = [trial.child("a", started=once(raising(Boom("a", MEDIUM)), at=2)), trial.child("b")]
    system = trial.prepare(trial.tree(*children))
    with trio.move_on_after(0.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.run)
            await system.wait_started()
            trial.do("a", raising(Boom("a", MEDIUM)))
            await trio.sleep_forever()
    assert 0.5 == trio.current_time()
    assert 1 == trial.incarnations("a")
