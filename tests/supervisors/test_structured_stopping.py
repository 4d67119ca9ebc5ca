"""Stopping: in reverse order, bounded, proved; and what fails on the way is not lost."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ringfence.actors.errors import SupervisorFailed
from ringfence.actors.events import ActorEnded, ChildStopFailed, ChildTerminated, Event, StopOverdue
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Failed
from ringfence.supervisors import BRUTAL_KILL, RestartStrategy, Supervisor
from ringfence.supervisors.incident import ChildStopped, StopProof
from tests.supervisors.fakes import (
    CALM,
    HIGH,
    LOW,
    MEDIUM,
    Boom,
    Trial,
    Worker,
    at_any_depth,
    error_in,
    leaves,
    once,
    raising,
    raising_when,
    sleeping,
    stubborn,
)

ONE, ALL, REST = RestartStrategy
FOR_EVER_S = 1_000_000.0


def proof_of(trial: Trial, name: str) -> StopProof:
    [proof] = [e.proof for e in trial.of(ChildStopped) if e.proof.path == f"{trial.path}/{name}"]
    return proof


async def ends_with(trial: Trial, *children: object, **spec: object) -> BaseException | None:
    """Run the tree until all waits, stop it; return what the supervisor under test failed with."""
    caught: BaseException | None = None
    try:
        async with trial.running(*children, **spec):  # type: ignore[arg-type]
            pass
    except ExceptionGroup as error:
        caught = error
    for _ in range(trial.depth if caught is not None else 0):
        assert isinstance(caught, ExceptionGroup)
        [caught] = caught.exceptions  # those above say the same: a clean-up below failed
    return caught


@at_any_depth
async def test_a_clean_up_that_raises_is_in_the_group_the_proof_and_the_events(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("clean-up")
    error = await ends_with(
        trial, trial.child("a"), trial.child("b", stopping=raising(boom)), trial.child("c")
    )
    assert isinstance(error, ExceptionGroup)
    assert (boom,) == error.exceptions
    assert Failed(boom) == proof_of(trial, "b").exit
    assert boom is error_in(proof_of(trial, "b").exit)
    assert proof_of(trial, "b").answered
    [event] = [e for e in trial.of(ChildStopFailed) if e.path == trial.path]
    assert ("b", boom) == (event.child, error_in(event.exit))
    assert ["c", "b", "a"] == [e.proof.path[-1] for e in trial.of(ChildStopped)][:3]
    assert SHUTDOWN == proof_of(trial, "a").exit


@at_any_depth
async def test_all_clean_ups_that_raise_are_in_the_group(depth: int) -> None:
    trial = Trial(depth)
    booms = {name: Boom(name) for name in "abc"}
    error = await ends_with(
        trial, *(trial.child(name, stopping=raising(boom)) for name, boom in booms.items())
    )
    assert isinstance(error, ExceptionGroup)
    assert (booms["c"], booms["b"], booms["a"]) == error.exceptions


@at_any_depth
async def test_a_failure_and_a_clean_up_that_fails_after_it_are_one_group(depth: int) -> None:
    trial = Trial(depth)
    first, second = Boom("handler"), Boom("clean-up", MEDIUM)
    async with trial.running(trial.child("a", stopping=once(raising(second)))):
        await trial.crash("a", first)
        [incident] = trial.incidents()
        assert isinstance(incident.causes[0].exit, Failed)
        assert [first, second] == leaves(incident.causes[0].exit.error)
        assert MEDIUM is incident.severity  # the worst of both


@at_any_depth
async def test_a_clean_up_that_fails_in_a_group_restart_does_not_spoil_the_last_stop(
    depth: int,
) -> None:
    """It is in the incident; the tree came up again, and its end is clean."""
    trial = Trial(depth)
    boom = Boom("clean-up")
    children = [trial.child("a"), trial.child("b", stopping=once(raising(boom)))]
    async with trial.running(*children, strategy=ALL):
        await trial.crash("a", Boom("a"))
        assert 2 == trial.incarnations("b")
    [incident] = trial.incidents()
    assert boom is error_in(incident.stopped[0].exit)
    assert 1 == len(trial.of(ChildStopFailed))


@at_any_depth
async def test_a_clean_up_that_hangs_is_cancelled_after_exactly_its_grace(depth: int) -> None:
    trial = Trial(depth)
    hang = sleeping(FOR_EVER_S)
    assert None is await ends_with(
        trial,
        trial.child("a"),
        trial.child("b", stopping=hang, shutdown_s=2.0),
        trial.child("c", stopping=hang, shutdown_s=0.5),
        trial.child("d", stopping=sleeping(1.0), shutdown_s=3.0),
    )
    assert 3.5 == trio.current_time()
    for name, took_s in (("b", 2.0), ("c", 0.5)):
        proof = proof_of(trial, name)
        assert proof.asked
        assert not proof.answered
        assert proof.cancelled
        assert took_s == proof.took_s
        assert KILLED == proof.exit
    slow = proof_of(trial, "d")
    assert (True, True, False, 1.0, SHUTDOWN) == (
        slow.asked,
        slow.answered,
        slow.cancelled,
        slow.took_s,
        slow.exit,
    )
    assert not trial.of(StopOverdue)


@at_any_depth
async def test_the_grace_counts_from_the_request_handler_included(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(
        trial.child("a", stopping=sleeping(FOR_EVER_S), shutdown_s=2.0)
    ) as system:
        trial.do("a", sleeping(1.5))
        await wait_all_tasks_blocked()
        system.stop()
    assert 2.0 == proof_of(trial, "a").took_s
    assert "a.1 not stopped well" == trial.diary[-1]


@at_any_depth
async def test_a_handler_that_hangs_is_cancelled_and_not_cleaned_up(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a", shutdown_s=2.0)) as system:
        trial.do("a", sleeping(FOR_EVER_S))
        await wait_all_tasks_blocked()
        system.stop()
    assert 2.0 == proof_of(trial, "a").took_s
    assert ["a.1 started"] == trial.diary


@at_any_depth
async def test_a_child_that_shields_itself_is_waited_for_and_said_to_be_overdue(
    depth: int,
) -> None:
    trial = Trial(depth)
    assert None is await ends_with(
        trial, trial.child("a"), trial.child("b", stopping=stubborn(20.0), shutdown_s=2.0)
    )
    overdue = [event for event in trial.of(StopOverdue) if event.path == trial.path]
    assert [("b", 5.0), ("b", 10.0), ("b", 15.0)] == [(e.child, e.waited_s) for e in overdue]
    assert 20.0 == proof_of(trial, "b").took_s
    assert not proof_of(trial, "b").answered
    assert "a.1 stopped" == trial.diary[-1]  # its turn came, 20 seconds later


@at_any_depth
async def test_a_brutal_kill_neither_asks_nor_cleans_up(depth: int) -> None:
    trial = Trial(depth)
    assert None is await ends_with(trial, trial.child("a", shutdown_s=BRUTAL_KILL))
    proof = proof_of(trial, "a")
    assert (False, False, True, 0.0, KILLED) == (
        proof.asked,
        proof.answered,
        proof.cancelled,
        proof.took_s,
        proof.exit,
    )
    assert ["a.1 started"] == trial.diary
    assert not trial.of(ChildStopFailed)


@at_any_depth
@pytest.mark.parametrize("strategy", [ALL, REST])
async def test_a_sibling_that_fails_while_the_group_stops_is_not_lost_and_no_second_restart(
    depth: int, strategy: RestartStrategy
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    boom = Boom("b")

    async def open_gate(_actor: Worker) -> None:
        gate.set()
        await trio.sleep(1.0)

    children = [trial.child("a"), trial.child("b"), trial.child("c", stopping=open_gate)]
    async with trial.running(*children, strategy=strategy):
        trial.do("b", raising_when(gate, boom))
        await trial.crash("a", Boom("a"))
        await trio.sleep(1.0)
        await wait_all_tasks_blocked()
        assert {"a": 2, "b": 2, "c": 2} == {name: trial.incarnations(name) for name in "abc"}
    [incident] = trial.incidents()
    assert 1 == incident.budget_after
    found_dead = incident.stopped[1]
    assert (f"{trial.path}/b", False) == (found_dead.path, found_dead.asked)
    assert isinstance(found_dead.exit, Failed)
    assert boom is found_dead.exit.error


@at_any_depth
async def test_a_child_that_fails_while_the_tree_stops_comes_out_and_is_not_restarted(
    depth: int,
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    boom = Boom("a", HIGH)

    async def open_gate(_actor: Worker) -> None:
        gate.set()
        await trio.sleep(1.0)

    children = [trial.child("a"), trial.child("b"), trial.child("c", stopping=open_gate)]
    trial_error: list[BaseException] = []
    try:
        async with trial.running(*children) as system:
            trial.do("a", raising_when(gate, boom))
            await wait_all_tasks_blocked()
            system.stop()
    except ExceptionGroup as error:
        trial_error.append(error)
    assert [boom] == leaves(trial_error[0])
    assert 1 == trial.incarnations("a")
    assert "b.1 stopped" in trial.diary
    assert not trial.incidents()


@at_any_depth
async def test_failures_in_the_pass_of_the_stop_come_out(depth: int) -> None:
    """The children have ended, the duty to decide is taken, and then the stop arrives."""
    booms = {name: Boom(name, HIGH) for name in "abc"}

    errors: list[BaseException] = []
    for passes in range(6):
        trial, gate = Trial(depth), trio.Event()
        try:
            async with trial.running(*(trial.bare(name) for name in booms)) as system:
                for name, boom in booms.items():
                    trial.do(name, raising_when(gate, boom))
                await wait_all_tasks_blocked()
                gate.set()
                for _ in range(passes):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                system.stop()
        except ExceptionGroup as error:
            errors.append(error)
        assert passes + 1 == len(errors), passes
        assert set(booms.values()) == set(leaves(errors[-1])), passes
        assert 3 == len(leaves(errors[-1])), passes
        assert dict.fromkeys(booms, 1) == {n: trial.incarnations(n) for n in booms}


@at_any_depth
async def test_a_listener_that_stops_the_system_at_the_first_failure_loses_none(
    depth: int,
) -> None:
    trial = Trial(depth)
    boom = Boom("a", HIGH)
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(trial.bare("a"), trial.bare("b")) as system:

            def stop_at_once(event: Event) -> None:
                if isinstance(event, ChildTerminated):
                    system.stop()

            system.events.listen(stop_at_once)
            await trial.crash("a", boom)
    assert [boom] == leaves(caught.value)


@at_any_depth
async def test_a_subtree_over_its_grace_is_cancelled_with_all_its_children(depth: int) -> None:
    trial = Trial(depth)
    hang = sleeping(FOR_EVER_S)
    inner = Supervisor(
        "inner",
        children=[
            trial.child("x", stopping=hang, shutdown_s=FOR_EVER_S),
            Supervisor("deep", children=[trial.child("y", stopping=hang, shutdown_s=FOR_EVER_S)]),
            trial.bare("z", shutdown_s=FOR_EVER_S),
        ],
        shutdown_s=3.0,
    )
    async with trial.running(trial.child("a"), inner) as system:
        trial.do("inner/z", hang)  # the first to go
        await wait_all_tasks_blocked()
        system.stop()
    assert 3.0 == trio.current_time()
    proof = proof_of(trial, "inner")
    assert (True, False, True, 3.0, KILLED) == (
        proof.asked,
        proof.answered,
        proof.cancelled,
        proof.took_s,
        proof.exit,
    )
    ended = [event.path.rpartition("/")[2] for event in trial.of(ActorEnded)]
    assert {"x", "y", "z", "a"} == set(ended)
    assert "a" == ended[-1]  # everything of the subtree ended before its elder sibling was asked
    assert not any(
        event.exit == SHUTDOWN for event in trial.of(ActorEnded) if event.path[-1] != "a"
    )


@at_any_depth
async def test_a_supervisor_cancelled_while_it_gives_up_keeps_why(depth: int) -> None:
    trial = Trial(depth)
    cause, clean_up = Boom("x", HIGH), Boom("clean-up of y")
    inner = Supervisor(
        "inner",
        children=[
            trial.child("w", stopping=sleeping(FOR_EVER_S), shutdown_s=FOR_EVER_S),
            trial.child("x"),
            trial.child("y", stopping=raising(clean_up)),
        ],
        shutdown_s=3.0,
        policy=CALM,
    )
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(trial.child("a"), inner) as system:
            trial.do("inner/x", raising(cause))
            await wait_all_tasks_blocked()  # y is down, w hangs
            system.stop()
    assert {cause, clean_up} == set(leaves(caught.value))
    assert 3.0 == proof_of(trial, "inner").took_s
    exit_ = proof_of(trial, "inner").exit
    assert isinstance(exit_, Failed)
    assert isinstance(exit_.error, SupervisorFailed)
    assert "a.1 stopped" == trial.diary[-1]


@at_any_depth
async def test_a_failure_on_being_cancelled_with_the_subtree_is_not_lost(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("on cancel", LOW)

    async def fail_on_cancel(_actor: Worker) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise boom

    inner = Supervisor(
        "inner",
        children=[trial.child("x", shutdown_s=FOR_EVER_S), trial.child("y", shutdown_s=FOR_EVER_S)],
        shutdown_s=3.0,
    )
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(inner) as system:
            trial.do("inner/x", fail_on_cancel)
            trial.do("inner/y", sleeping(FOR_EVER_S))
            await wait_all_tasks_blocked()
            system.stop()
    assert [boom] == leaves(caught.value)


@at_any_depth
async def test_stopping_says_what_was_left_behind(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(trial.child("a", shutdown_s=1.0)) as system:
        trial.do("a", sleeping(FOR_EVER_S))
        trial.do("a", sleeping(1.0))
        trial.do("a", sleeping(1.0))
        await wait_all_tasks_blocked()
        system.stop()
    assert ("2 messages not handled",) == proof_of(trial, "a").left_behind
