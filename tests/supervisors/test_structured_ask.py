"""A question has exactly one outcome, whoever ends first and at whatever step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from ringfence.actors.errors import ActorCrashed, ActorDown, AskTimeout, NoReply
from ringfence.supervisors import RestartStrategy
from tests.supervisors.fakes import (
    LOW,
    MEDIUM,
    Boom,
    Do,
    Trial,
    Which,
    at_any_depth,
    raising,
    raising_when,
    sleeping,
)

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


@define
class Outcomes:
    """What the askers got."""

    seen: Counter[str] = field(factory=Counter)

    async def ask(self, trial: Trial, name: str, within_s: float = 5.0) -> None:
        try:
            await trial.ref(name).ask(Which(), within_s=within_s)
        except (ActorCrashed, ActorDown, AskTimeout, NoReply) as error:
            self.seen[type(error).__name__] += 1
        except trio.Cancelled:
            self.seen["Cancelled"] += 1
            raise
        else:
            self.seen["reply"] += 1


ASKERS = 3


def ask_and_interrupt(
    depth: int, at: int, interrupt: Callable[[Trial, trio.CancelScope], None]
) -> tuple[Outcomes, int]:
    """Let three ask a busy actor, and interrupt before step ``at``; return what they got."""
    trial, outcomes, cutter = Trial(depth), Outcomes(), AtStep(at)

    async def main() -> None:
        async with trial.running(trial.child("a"), trial.child("b"), within_s=100.0):
            with trio.CancelScope() as scope:
                cutter.do = lambda: interrupt(trial, scope)
                trial.do("a", sleeping(1.0))
                cutter.armed = True
                async with trio.open_nursery() as nursery:
                    for _ in range(ASKERS):
                        nursery.start_soon(outcomes.ask, trial, "a")
            cutter.armed = False
            await wait_all_tasks_blocked()  # or the stop would find the failure, and raise it

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[cutter])
    return outcomes, cutter.steps


def stop(trial: Trial, _scope: trio.CancelScope) -> None:
    trial.system.stop()


def cancel(_trial: Trial, scope: trio.CancelScope) -> None:
    scope.cancel()


def kill(trial: Trial, _scope: trio.CancelScope) -> None:
    trial.sup.kill_child("a")


def crash(trial: Trial, _scope: trio.CancelScope) -> None:
    life = trial.system.kernel.controls[trial.path].slots["a"].life  # type: ignore[attr-defined]
    if life is not None:
        life.condemn(Boom("a", MEDIUM))


ALLOWED = {
    stop: {"reply", "ActorDown"},
    cancel: {"reply", "Cancelled"},
    kill: {"reply", "ActorDown"},
    crash: {"reply", "ActorCrashed", "ActorDown"},
}


@at_any_depth
@pytest.mark.parametrize("interrupt", ALLOWED)
def test_interrupted_at_any_step_an_asker_gets_exactly_one_outcome(
    depth: int, interrupt: Callable[[Trial, trio.CancelScope], None]
) -> None:
    whole, steps = ask_and_interrupt(depth, STEPS_MAX, interrupt)
    assert {"reply": ASKERS} == whole.seen
    assert 5 < steps < STEPS_MAX
    seen: set[str] = set()
    for at in range(steps):
        outcomes, _ = ask_and_interrupt(depth, at, interrupt)
        assert ASKERS == sum(outcomes.seen.values()), f"at step {at}: {outcomes.seen}"
        assert ALLOWED[interrupt] >= set(outcomes.seen), f"at step {at}: {outcomes.seen}"
        seen |= set(outcomes.seen)
    assert seen > {"reply"}


@at_any_depth
@pytest.mark.parametrize("within_s", [0.5, 1.0, 1.5])
async def test_a_deadline_before_with_or_after_the_answer_gives_one_outcome(
    depth: int, within_s: float
) -> None:
    trial, outcomes = Trial(depth), Outcomes()
    async with trial.running(trial.child("a")):
        trial.do("a", sleeping(1.0))
        async with trio.open_nursery() as nursery:
            for _ in range(ASKERS):
                nursery.start_soon(outcomes.ask, trial, "a", within_s)
        assert min(1.0, within_s) == trio.current_time()
        expected = "reply" if within_s > 1.0 else "AskTimeout"
        if within_s != 1.0:  # at the same instant either may win, but only one
            assert {expected: ASKERS} == outcomes.seen
        assert ASKERS == sum(outcomes.seen.values())
        assert not trial.system.kernel.boxes[f"{trial.path}/a"].pending


@at_any_depth
async def test_questions_to_an_actor_that_crashes_fail_at_once_with_the_cause(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("a", LOW)
    causes: list[BaseException | None] = []

    async def ask() -> None:
        with pytest.raises(ActorCrashed) as caught:
            await trial.ref("a").ask(Which(), within_s=50.0)
        causes.append(caught.value.__cause__)

    async with trial.running(trial.child("a", stopping=sleeping(3.0))):
        trial.do("a", sleeping(1.0))
        trial.do("a", raising(boom))
        async with trio.open_nursery() as nursery:
            for _ in range(ASKERS):
                nursery.start_soon(ask)
        assert 1.0 == trio.current_time()  # not after its clean-up
        await trio.sleep(4.0)
    assert [boom] * ASKERS == causes


async def refused(trial: Trial, name: str) -> ActorDown:
    before_s = trio.current_time()
    with pytest.raises(ActorDown) as caught:
        await trial.ref(name).ask(Which(), within_s=50.0)
    assert before_s == trio.current_time()
    return caught.value


@at_any_depth
async def test_questions_during_backoff_are_refused_at_once_with_the_childs_own_cause(
    depth: int,
) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    booms = {name: Boom(name, MEDIUM) for name in "ab"}
    async with trial.running(*(trial.child(name) for name in "abc")):
        for name, boom in booms.items():
            trial.do(name, raising_when(gate, boom))
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        for name, boom in booms.items():
            assert boom is (await refused(trial, name)).__cause__
        assert 1 == await trial.ref("c").ask(Which(), within_s=1.0)
        await trio.sleep(1.5)
        assert 2 == await trial.ref("a").ask(Which(), within_s=1.0)


@at_any_depth
async def test_a_group_that_waits_together_refuses_questions_together(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("b", MEDIUM)
    children = [trial.child(name) for name in "abc"]
    async with trial.running(*children, strategy=RestartStrategy.REST_FOR_ONE):
        await trial.crash("b", boom)
        assert 1 == await trial.ref("a").ask(Which(), within_s=1.0)
        for name in "bc":
            assert boom is (await refused(trial, name)).__cause__
        await trio.sleep(1.5)
        for name in "bc":
            assert 2 == await trial.ref(name).ask(Which(), within_s=1.0)


@at_any_depth
async def test_messages_told_during_backoff_are_kept(depth: int) -> None:
    trial = Trial(depth)
    handled: list[int] = []

    def note(n: int) -> Do:
        async def append(_actor: object) -> None:
            handled.append(n)

        return Do(append)

    async with trial.running(trial.child("a")):
        trial.do("a", raising(Boom("a", MEDIUM)))
        for n in range(5):
            trial.ref("a").tell(note(n))
        await wait_all_tasks_blocked()
        for n in range(5, 10):
            trial.ref("a").tell(note(n))
        assert not handled
        await trio.sleep(1.5)
        assert list(range(10)) == handled
    assert 1 == trial.system.kernel.dead_letter_count  # only the message that crashed it


@at_any_depth
async def test_a_child_terminated_for_good_refuses_questions_and_its_siblings_answer(
    depth: int,
) -> None:
    trial = Trial(depth)
    outcomes = Outcomes()
    async with trial.running(trial.child("a"), trial.child("b")):
        trial.do("a", sleeping(1.0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes.ask, trial, "a")
            await wait_all_tasks_blocked()
            await trial.sup.terminate_child("a")
        assert {"ActorDown": 1} == outcomes.seen
        assert (await refused(trial, "a")).__cause__ is None
        assert 1 == await trial.ref("b").ask(Which(), within_s=1.0)
