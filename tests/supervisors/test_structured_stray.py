"""A `Cancelled` nobody asked for is a failure; an interrupt is never supervised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ringfence.actors.errors import StartFailed, StrayCancellation
from ringfence.actors.events import ActorEnded, RestartScheduled, SystemStopped
from ringfence.actors.lifecycle import Failed
from ringfence.supervisors import RestartStrategy
from tests.supervisors.fakes import (
    LOW,
    Boom,
    Trial,
    Which,
    Worker,
    at_any_depth,
    leaves,
    once,
    raising,
    raising_when,
    roots,
    sleeping,
)


async def leak_cancelled(_actor: Worker) -> None:
    """Do what trio-websocket does: raise a `Cancelled` out of a scope that is closed."""
    leaked: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            leaked.append(cancelled)
            raise
    raise leaked[0]


async def leak_group(actor: Worker) -> None:
    """Leak it inside a group, as a nursery of the library would."""
    try:
        await leak_cancelled(actor)
    except trio.Cancelled as cancelled:
        raise BaseExceptionGroup("", [cancelled]) from None


async def leak_with_error(actor: Worker) -> None:
    """Leak it together with a real failure."""
    try:
        await leak_cancelled(actor)
    except trio.Cancelled as cancelled:
        raise BaseExceptionGroup("", [cancelled, Boom("beside", LOW)]) from None


leaks = pytest.mark.parametrize("leak", [leak_cancelled, leak_group])
Leak = Callable[[Worker], Awaitable[None]]


def only_cause(trial: Trial) -> BaseException:
    incident = trial.incidents()[0]
    assert 1 == len(incident.causes)
    exit_ = incident.causes[0].exit
    assert isinstance(exit_, Failed)
    return exit_.error


async def assert_restarted_alone(trial: Trial) -> None:
    await trio.sleep(1.5)  # a stray is MEDIUM: it waits
    assert 2 == await trial.ref("b").ask(Which(), within_s=1.0)
    for name in "ac":
        assert 1 == await trial.ref(name).ask(Which(), within_s=1.0)
    assert not any(line.startswith(("a.1 stop", "c.1 stop")) for line in trial.diary)
    assert 1 == len(trial.of(RestartScheduled))


@at_any_depth
@leaks
async def test_a_stray_in_a_handler_fails_that_child_alone(depth: int, leak: Leak) -> None:
    trial = Trial(depth)
    async with trial.running(*(trial.child(name) for name in "abc")):
        trial.do("b", leak)
        await wait_all_tasks_blocked()
        assert isinstance(only_cause(trial), StrayCancellation)
        await assert_restarted_alone(trial)


@at_any_depth
@leaks
async def test_a_stray_in_a_child_without_hooks_fails_that_child_alone(
    depth: int, leak: Leak
) -> None:
    trial = Trial(depth)
    async with trial.running(*(trial.bare(name) for name in "abc")):
        trial.do("b", leak)
        await wait_all_tasks_blocked()
        assert isinstance(only_cause(trial), StrayCancellation)
        await assert_restarted_alone(trial)


@at_any_depth
@leaks
async def test_a_stray_in_a_background_task_fails_that_child_alone(depth: int, leak: Leak) -> None:
    trial = Trial(depth)

    async def begin(actor: Worker) -> None:
        actor.context.start_soon(leak, actor)

    async with trial.running(*(trial.child(name) for name in "abc")):
        trial.do("b", begin)
        await wait_all_tasks_blocked()
        assert isinstance(only_cause(trial), StrayCancellation)
        await assert_restarted_alone(trial)


@at_any_depth
@leaks
async def test_a_stray_in_stopping_is_the_failure_of_that_stop(depth: int, leak: Leak) -> None:
    trial = Trial(depth)
    children = [trial.child("a"), trial.child("b", stopping=once(leak)), trial.child("c")]
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running(*children):
            pass
    assert [StrayCancellation] == [type(leaf) for leaf in leaves(caught.value)]
    assert "a.1 stopped" == trial.diary[-1]


@at_any_depth
@leaks
async def test_a_stray_in_stopping_after_a_failure_comes_with_it(depth: int, leak: Leak) -> None:
    trial = Trial(depth)
    children = [trial.child("a"), trial.child("b", stopping=once(leak)), trial.child("c")]
    async with trial.running(*children):
        await trial.crash("b", Boom("b"))
        kinds: list[type] = [Boom, StrayCancellation]
        assert kinds == [type(leaf) for leaf in leaves(only_cause(trial))]
        await assert_restarted_alone(trial)


@at_any_depth
@leaks
async def test_a_stray_in_the_first_start_is_a_failed_start(depth: int, leak: Leak) -> None:
    trial = Trial(depth)
    error = await trial.failure(trial.child("a"), trial.child("b", started=leak))
    assert isinstance(error, ExceptionGroup)
    assert [StrayCancellation] == [type(leaf) for leaf in roots(error)]
    assert "a.1 stopped" == trial.diary[-1]


@at_any_depth
@leaks
async def test_a_stray_in_a_restart_is_a_failed_start_that_is_tried_again(
    depth: int, leak: Leak
) -> None:
    trial = Trial(depth)
    children = [trial.child("a"), trial.child("b", started=once(leak, at=2)), trial.child("c")]
    async with trial.running(*children):
        await trial.crash("b", Boom("b"))
        await trio.sleep(10.0)
        assert 3 == await trial.ref("b").ask(Which(), within_s=1.0)
        for name in "ac":
            assert 1 == await trial.ref(name).ask(Which(), within_s=1.0)
    failures = [cause.exit.error for cause in trial.incidents()[0].causes]  # type: ignore[union-attr]
    assert [Boom, StartFailed] == [type(error) for error in failures]
    assert isinstance(failures[1].__cause__, StrayCancellation)


@at_any_depth
async def test_a_stray_beside_a_failure_loses_neither(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running(*(trial.child(name) for name in "abc")):
        trial.do("b", leak_with_error)
        await wait_all_tasks_blocked()
        kinds: set[type] = {Boom, StrayCancellation}
        assert kinds == {type(leaf) for leaf in leaves(only_cause(trial))}
        await assert_restarted_alone(trial)


@at_any_depth
async def test_a_stray_fells_the_group_only_as_the_strategy_says(depth: int) -> None:
    trial = Trial(depth)
    children = [trial.child(name) for name in "abc"]
    async with trial.running(*children, strategy=RestartStrategy.REST_FOR_ONE):
        trial.do("b", leak_cancelled)
        await trio.sleep(1.5)
        incarnations = [await trial.ref(n).ask(Which(), within_s=1.0) for n in "abc"]
        assert [1, 2, 2] == incarnations


# -- what is never supervised ------------------------------------------------------------------


async def in_handler(trial: Trial, error: BaseException) -> object:
    caught = None
    try:
        async with trial.running(*(trial.child(name) for name in "abc")):
            await trial.crash("b", error)
    except BaseException as raised:  # noqa: BLE001 - the test looks at it
        caught = raised
    return caught


async def in_background(trial: Trial, error: BaseException) -> object:
    async def begin(actor: Worker) -> None:
        actor.context.start_soon(raising(error), actor)

    caught = None
    try:
        async with trial.running(*(trial.child(name) for name in "abc")):
            trial.do("b", begin)
            await wait_all_tasks_blocked()
    except BaseException as raised:  # noqa: BLE001 - the test looks at it
        caught = raised
    return caught


async def in_bare_handler(trial: Trial, error: BaseException) -> object:
    caught = None
    try:
        async with trial.running(trial.child("a"), trial.bare("b"), trial.child("c")):
            await trial.crash("b", error)
    except BaseException as raised:  # noqa: BLE001 - the test looks at it
        caught = raised
    return caught


async def in_started(trial: Trial, error: BaseException) -> object:
    children = [trial.child("a"), trial.child("b", started=raising(error)), trial.child("c")]
    return await trial.failure(*children)


async def in_restart(trial: Trial, error: BaseException) -> object:
    caught = None
    children = [
        trial.child("a"),
        trial.child("b", started=once(raising(error), at=2)),
        trial.child("c"),
    ]
    try:
        async with trial.running(*children):
            await trial.crash("b", Boom("b"))
    except BaseException as raised:  # noqa: BLE001 - the test looks at it
        caught = raised
    return caught


async def in_stopping(trial: Trial, error: BaseException) -> object:
    caught = None
    children = [trial.child("a"), trial.child("b", stopping=raising(error)), trial.child("c")]
    try:
        async with trial.running(*children):
            pass
    except BaseException as raised:  # noqa: BLE001 - the test looks at it
        caught = raised
    return caught


PLACES = [in_handler, in_bare_handler, in_background, in_started, in_restart, in_stopping]


@at_any_depth
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", PLACES)
async def test_an_interrupt_is_never_supervised_and_stops_the_tree_in_order(
    depth: int,
    kind: type[BaseException],
    place: Callable[[Trial, BaseException], Awaitable[object]],
) -> None:
    trial = Trial(depth)
    interrupt = kind("now")
    caught = await place(trial, interrupt)
    assert isinstance(caught, BaseExceptionGroup)
    assert not isinstance(caught, Exception)
    assert [interrupt] == [leaf for leaf in roots(caught) if not isinstance(leaf, Boom)]
    stops = [x.partition(".")[0] for x in trial.diary if x.endswith("stopping (shutdown)")]
    siblings = [name for name in stops if name != "b"]
    assert (["a"] if place is in_started else ["c", "a"]) == siblings
    assert (1, [False]) == (
        max(trial.ups.values()),
        [event.clean for event in trial.of(SystemStopped)],
    )
    assert not trial.of(RestartScheduled)
    assert not any(event.incarnation > 1 for event in trial.of(ActorEnded))


@at_any_depth
async def test_an_interrupt_and_a_failure_of_one_pass_come_out_together(depth: int) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    errors = {"a": Boom("a"), "b": KeyboardInterrupt(), "c": Boom("c")}
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trial.running(*(trial.child(name) for name in "abcd")):
            for name, error in errors.items():
                trial.do(name, raising_when(gate, error))
            await wait_all_tasks_blocked()
            gate.set()
            await wait_all_tasks_blocked()
    assert set(errors.values()) == set(leaves(caught.value))
    assert 3 == len(leaves(caught.value))
    assert {1} == set(trial.ups.values())


@at_any_depth
async def test_an_interrupt_calls_off_a_slow_start(depth: int) -> None:
    trial = Trial(depth)

    async def interrupt_soon(actor: Worker) -> None:
        async def soon() -> None:
            await trio.sleep(1.0)
            raise KeyboardInterrupt

        actor.context.start_soon(soon)

    error = await trial.failure(
        trial.child("a", started=interrupt_soon), trial.child("b", started=sleeping(20.0))
    )
    assert isinstance(error, BaseExceptionGroup)
    assert [KeyboardInterrupt] == [type(leaf) for leaf in leaves(error)]
    assert 1.0 == trio.current_time()
