"""Starting: one after the other, bounded, called off if need be; a failure takes back all of it."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from ringfence.actors.errors import GaveUpWhy, StartFailed, StartTimeout, SupervisorFailed
from ringfence.actors.events import ActorEnded, ActorStarted, ActorStartFailed, ChildStarted
from ringfence.actors.lifecycle import SHUTDOWN, Failed
from ringfence.supervisors import Child, Restart, Start, Supervisor
from tests.supervisors.fakes import (
    CALM,
    CRITICAL,
    HIGH,
    LOW,
    PASS_ON,
    Boom,
    Trial,
    Worker,
    at_any_depth,
    once,
    raising,
    raising_when,
    roots,
    sleeping,
    stubborn,
)


def start_failure(trial: Trial, error: object) -> SupervisorFailed:
    """Return the failure of the supervisor under test, out of the failed starts of those above."""
    for n in range(trial.depth):
        assert isinstance(error, SupervisorFailed)
        assert GaveUpWhy.START_FAILED is error.why
        [failed] = error.exceptions
        assert isinstance(failed, StartFailed)
        assert ("top/middle", "top/middle/sup")[n] == failed.path
        error = failed.__cause__
    assert isinstance(error, SupervisorFailed)
    return error


@at_any_depth
async def test_a_failed_start_of_child_three_stops_two_and_one_and_names_the_whole_path(
    depth: int,
) -> None:
    trial = Trial(depth)
    boom = Boom("no start")
    names = ["one", "two", "three", "four"]
    children = [
        trial.child(name, started=raising(boom) if name == "three" else None) for name in names
    ]
    failed = start_failure(trial, await trial.failure(*children))
    assert GaveUpWhy.START_FAILED is failed.why
    [start] = failed.exceptions
    assert isinstance(start, StartFailed)
    assert f"{trial.path}/three" == start.path
    assert boom is start.__cause__
    assert [
        "one.1 started",
        "two.1 started",
        "two.1 stopping (shutdown)",
        "two.1 stopped",
        "one.1 stopping (shutdown)",
        "one.1 stopped",
    ] == trial.diary
    assert [f"{trial.path}/three"] == [event.path for event in trial.of(ActorStartFailed)]
    assert "four" not in {event.child for event in trial.of(ChildStarted)}


@at_any_depth
async def test_a_failed_start_and_failed_clean_ups_after_it_are_one_group(depth: int) -> None:
    trial = Trial(depth)
    no_start, clean_up = Boom("no start"), Boom("clean-up")
    failed = start_failure(
        trial,
        await trial.failure(
            trial.child("one", stopping=raising(clean_up)),
            trial.child("two", started=raising(no_start)),
        ),
    )
    assert [no_start, clean_up] == roots(failed)


@at_any_depth
async def test_started_has_exactly_start_s(depth: int) -> None:
    trial = Trial(depth)
    children = [
        trial.child("one"),
        trial.child("two", started=sleeping(2.0), start_s=2.5),
        trial.child("three", started=sleeping(1_000.0), start_s=3.0),
    ]
    failed = start_failure(trial, await trial.failure(*children))
    assert 5.0 == trio.current_time()
    [late] = roots(failed)
    assert isinstance(late, StartTimeout)
    assert (f"{trial.path}/three", 3.0) == (late.path, late.start_s)
    assert "one.1 stopped" == trial.diary[-1]
    assert not any(line.startswith("three") for line in trial.diary)


@at_any_depth
async def test_what_started_too_late_is_released_again(depth: int) -> None:
    """It shields itself, so it does come up; nobody wants it any more, but it holds things."""
    trial = Trial(depth)
    failed = start_failure(
        trial, await trial.failure(trial.child("a", started=stubborn(3.0), start_s=1.0))
    )
    assert [StartTimeout] == [type(leaf) for leaf in roots(failed)]
    assert ["a.1 started", "a.1 stopping (StartTimeout)", "a.1 stopped"] == trial.diary
    assert not trial.of(ActorStarted)


@at_any_depth
async def test_what_starts_although_its_start_was_called_off_is_released_again(
    depth: int,
) -> None:
    trial = Trial(depth)
    system = trial.prepare(
        trial.tree(trial.child("a"), trial.child("b", started=stubborn(3.0)), trial.child("c"))
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await trio.sleep(1.0)
        system.stop()
    assert [
        "a.1 started",
        "b.1 started",
        "b.1 stopping (shutdown)",
        "b.1 stopped",
        "a.1 stopping (shutdown)",
        "a.1 stopped",
    ] == trial.diary
    assert 3.0 == trio.current_time()


@at_any_depth
async def test_a_stop_calls_off_a_slow_start_at_once(depth: int) -> None:
    trial = Trial(depth)
    system = trial.prepare(
        trial.tree(trial.child("a"), trial.child("b", started=sleeping(20.0)), trial.child("c"))
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await trio.sleep(1.0)
        system.stop()
    assert 1.0 == trio.current_time()
    assert ["a.1 started", "a.1 stopping (shutdown)", "a.1 stopped"] == trial.diary
    assert not trial.of(ActorStartFailed)


@at_any_depth
async def test_a_failure_that_stops_the_system_calls_off_a_slow_first_start(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("a", CRITICAL)

    async def fail_soon(actor: Worker) -> None:
        async def soon() -> None:
            await trio.sleep(1.0)
            raise boom

        actor.context.start_soon(soon)

    error = await trial.failure(
        trial.child("a", started=fail_soon), trial.child("b", started=sleeping(20.0))
    )
    assert 1.0 == trio.current_time()
    failed = start_failure(trial, error)
    assert [boom] == roots(failed)
    assert CRITICAL is failed.severity
    assert not any(line.startswith("b") for line in trial.diary)


async def test_a_failure_during_the_first_start_escalates_as_it_would_a_moment_later() -> None:
    trial = Trial(0)
    boom = Boom("a", HIGH)

    async def fail_soon(actor: Worker) -> None:
        async def soon() -> None:
            await trio.sleep(1.0)
            raise boom

        actor.context.start_soon(soon)

    error = await trial.failure(
        trial.child("a", started=fail_soon), trial.child("b", started=sleeping(20.0))
    )
    assert 20.0 == trio.current_time()
    assert isinstance(error, SupervisorFailed)
    assert GaveUpWhy.ESCALATED is error.why
    assert [boom] == roots(error)


async def test_an_actor_that_fails_in_the_moment_it_is_up_has_started_all_the_same() -> None:
    trial = Trial(0)

    async def fail_at_once(actor: Worker) -> None:
        trial.do("a", raising(Boom("a", LOW)))

    async with trial.running(trial.child("a", started=once(fail_at_once))):
        await trio.sleep(1.0)
        assert 2 == trial.incarnations("a")
        assert not trial.of(ActorStartFailed)


@at_any_depth
async def test_a_mild_failure_of_a_sibling_waits_for_the_start_in_progress(depth: int) -> None:
    trial = Trial(depth)

    async def fail_soon(actor: Worker) -> None:
        async def soon() -> None:
            await trio.sleep(1.0)
            raise Boom("a", LOW)

        actor.context.start_soon(soon)

    async with trial.running(
        trial.child("a", started=once(fail_soon)), trial.child("b", started=sleeping(20.0))
    ):
        assert 20.0 == trio.current_time()
        assert (2, 1) == (trial.incarnations("a"), trial.incarnations("b"))
    assert ["a.1 started", "a.1 stopping (Boom)", "a.1 stopped", "b.1 started", "a.2 started"] == (
        trial.diary[:5]
    )


@at_any_depth
async def test_all_that_failed_during_the_first_start_comes_out_with_the_gravest(
    depth: int,
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    errors = {"a": Boom("a", LOW), "b": Boom("b", CRITICAL), "c": Boom("c", LOW)}

    def failing(name: str) -> object:
        async def start(actor: Worker) -> None:
            actor.context.start_soon(raising_when(gate, errors[name]), actor)

        return start

    async def open_gate(_actor: Worker) -> None:
        await trio.sleep(1.0)
        gate.set()
        await trio.sleep(20.0)

    children = [trial.child(name, started=failing(name)) for name in errors]  # type: ignore[arg-type]
    error = await trial.failure(*children, trial.child("d", started=open_gate))
    assert 1.0 == trio.current_time()
    assert set(errors.values()) == set(roots(start_failure(trial, error)))
    assert 3 == len(roots(start_failure(trial, error)))


@at_any_depth
async def test_a_transient_child_that_is_done_during_the_first_start_is_left_alone(
    depth: int,
) -> None:
    trial = Trial(depth)

    async def done_soon(actor: Worker) -> None:
        actor.context.stop()

    children = [
        trial.child("a", started=done_soon, restart=Restart.TRANSIENT),
        trial.child("b", started=sleeping(5.0)),
    ]
    async with trial.running(*children):
        assert (1, 1) == (trial.incarnations("a"), trial.incarnations("b"))
        assert 1 == trial.sup.count_children().active
    assert not trial.incidents() or not trial.incidents()[0].restarted


@at_any_depth
async def test_a_constructor_that_raises_is_a_failed_start(depth: int) -> None:
    boom = Boom("built")

    def build() -> Worker:
        raise boom

    trial = Trial(depth)
    tree = trial.tree(trial.child("a"), Child("b", Start(build)))
    failed = start_failure(trial, await trial.failure_of(tree))
    assert [boom] == roots(failed)
    assert "a.1 stopped" == trial.diary[-1]


@at_any_depth
async def test_a_nested_supervisor_whose_start_fails_names_each_path_on_the_way(
    depth: int,
) -> None:
    trial = Trial(depth)
    boom = Boom("deep")
    inner = Supervisor(
        "inner", children=[trial.child("x"), trial.child("y", started=raising(boom))], policy=CALM
    )
    failed = start_failure(trial, await trial.failure(trial.child("a"), inner))
    [outer] = failed.exceptions
    assert isinstance(outer, StartFailed)
    assert f"{trial.path}/inner" == outer.path
    assert isinstance(outer.__cause__, SupervisorFailed)
    [innermost] = outer.__cause__.exceptions
    assert isinstance(innermost, StartFailed)
    assert f"{trial.path}/inner/y" == innermost.path
    assert boom is innermost.__cause__
    assert ["x.1 stopped", "a.1 stopped"] == [x for x in trial.diary if x.endswith("stopped")]


@at_any_depth
async def test_a_restart_that_does_not_come_up_is_tried_again_and_is_in_the_incident(
    depth: int,
) -> None:
    trial = Trial(depth)
    boom = Boom("second start", LOW)
    async with trial.running(trial.child("a", started=once(raising(boom), at=2))):
        await trial.crash("a", Boom("first", LOW))
        assert 3 == trial.system.kernel.incarnations[f"{trial.path}/a"]
        assert 2 == trial.incarnations("a")
    first = trial.incidents()[0]
    assert (f"{trial.path}/a",) == first.failed_starts
    exits = [cause.exit for cause in first.causes]
    errors = [root for exit_ in exits if isinstance(exit_, Failed) for root in roots(exit_.error)]
    assert ["first", "second start"] == [error.name for error in errors if isinstance(error, Boom)]


@at_any_depth
async def test_an_actor_that_ends_in_the_pass_it_came_up_in_is_not_lost(depth: int) -> None:
    trial = Trial(depth)

    async def leave_at_once(actor: Worker) -> None:
        actor.context.stop(SHUTDOWN)

    children = [
        trial.child("a", started=leave_at_once, restart=Restart.TEMPORARY),
        trial.child("b"),
    ]
    async with trial.running(*children):
        assert ["b"] == [info.id for info in trial.sup.which_children()]
    [ended] = [event for event in trial.of(ActorEnded) if event.path == f"{trial.path}/a"]
    assert SHUTDOWN == ended.exit


@at_any_depth
async def test_a_background_task_that_fails_during_started_is_a_failed_start(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("background")

    async def start(actor: Worker) -> None:
        actor.context.start_soon(raising(boom), actor)
        await trio.sleep(5.0)

    failed = start_failure(trial, await trial.failure(trial.child("a", started=start)))
    assert 0.0 == trio.current_time()
    assert [boom] == roots(failed)
    assert not trial.diary


@at_any_depth
async def test_the_first_start_may_fail_below_a_supervisor_that_restarts_it(depth: int) -> None:
    """What fails at run time is for the parent to decide, also if it is a start."""
    trial = Trial(depth)
    inner = Supervisor(
        "inner",
        children=[trial.child("x", started=once(raising(Boom("x", LOW)), at=2))],
        policy=PASS_ON,
    )
    async with trial.running(inner):
        trial.do("inner/x", raising(Boom("x", LOW)))
        await wait_all_tasks_blocked()
        # inner gave up (LOW), and was restarted; its x failed to start; again, and it came up
        assert 2 == trial.ups[f"{trial.path}/inner/x"]
        assert 1 == trial.sup.count_children().active
    exits = [event.exit for event in trial.of(ActorEnded)]
    assert 1 == sum(isinstance(exit_, Failed) for exit_ in exits)
