"""Children of one kind, added at run time: stopped all at once, restarted each for itself."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from ringfence.actors import Exit
from ringfence.actors.errors import ActorDown, ChildRefused, StartFailed
from ringfence.actors.events import (
    ActorEnded,
    ChildStopFailed,
    DeadLetter,
    RestartScheduled,
    StopOverdue,
    SupervisorGaveUp,
)
from ringfence.actors.lifecycle import KILLED, SHUTDOWN
from ringfence.supervisors import (
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    Start,
    Supervisor,
)
from ringfence.supervisors.incident import ChildStopped
from ringfence.supervisors.spec import SupervisorSpec
from tests.supervisors.fakes import (
    CALM,
    HIGH,
    LOW,
    MANY,
    MEDIUM,
    Boom,
    Do,
    Trial,
    Which,
    Worker,
    at_any_depth,
    leaves,
    raising,
    raising_when,
    sleeping,
)

FOR_EVER_S = 1_000_000.0


@define(eq=False)
class Feed(Worker):
    """One per symbol; takes ``stop_s`` to stop."""

    diary: list[str]
    stop_s: float = 0.0
    fails: BaseException | None = None
    start_s: float = 0.0
    shielded: bool = field(default=False)

    async def started(self) -> None:
        await trio.sleep(self.start_s)
        if self.fails is not None:
            raise self.fails

    async def stopping(self, reason: Exit) -> None:
        with trio.CancelScope(shield=self.shielded):
            await trio.sleep(self.stop_s)


def feeds(
    trial: Trial, *, template: dict[str, object] | None = None, **spec: object
) -> SupervisorSpec:
    child = Child("feed", Start(Feed, trial.diary), **(template or {}))  # type: ignore[arg-type]
    spec = {"policy": CALM, "intensity": MANY, **spec}
    return trial.above(DynamicSupervisor("sup", template=child, **spec))  # type: ignore[arg-type]


async def start(trial: Trial, count: int, *args: object) -> list[str]:
    keys = [f"s{n}" for n in range(count)]
    for key in keys:
        await trial.sup.start_child(key, *args)
    return keys


@at_any_depth
async def test_a_thousand_children_stop_at_once(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running_tree(feeds(trial)):
        keys = await start(trial, 1000, 3.0)
        assert 1000 == trial.sup.count_children().active
    assert 3.0 == trio.current_time()
    proofs = [event.proof for event in trial.of(ChildStopped) if event.path == trial.path]
    assert {f"{trial.path}/{key}" for key in keys} == {proof.path for proof in proofs}
    assert {(True, False, 3.0)} == {(p.answered, p.cancelled, p.took_s) for p in proofs}


@at_any_depth
async def test_the_proofs_of_a_stop_at_once_say_how_long_each_one_took(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running_tree(feeds(trial, template={"shutdown_s": 4.0})):
        for key, stop_s in (("slow", 3.0), ("quick", 1.0), ("hangs", FOR_EVER_S)):
            await trial.sup.start_child(key, stop_s)
    assert 4.0 == trio.current_time()
    proofs = {e.proof.path.rpartition("/")[2]: e.proof for e in trial.of(ChildStopped)}
    assert (3.0, SHUTDOWN) == (proofs["slow"].took_s, proofs["slow"].exit)
    assert (1.0, SHUTDOWN) == (proofs["quick"].took_s, proofs["quick"].exit)
    assert (4.0, KILLED) == (proofs["hangs"].took_s, proofs["hangs"].exit)
    failed = [(e.child, e.count) for e in trial.of(ChildStopFailed) if e.path == trial.path]
    assert [("feed", 1)] == failed


@at_any_depth
async def test_only_a_child_that_is_overdue_is_said_to_be(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running_tree(feeds(trial, template={"shutdown_s": 2.0})):
        await trial.sup.start_child("hangs", FOR_EVER_S)
        await trial.sup.start_child("shields", 20.0, shielded=True)
        await trial.sup.start_child("late", FOR_EVER_S)
    assert {"shields"} == {event.child for event in trial.of(StopOverdue)}
    assert [5.0, 10.0, 15.0] == [event.waited_s for event in trial.of(StopOverdue)]


@at_any_depth
async def test_a_thousand_children_that_fail_together_are_one_decision(depth: int) -> None:
    trial = Trial(depth)
    gate = trio.Event()
    budget = Intensity(restarts_max=1, period_s=60.0)
    async with trial.running_tree(feeds(trial, intensity=budget)):
        keys = await start(trial, 1000)
        for key in keys:
            trial.do(key, raising_when(gate, Boom(key, LOW)))
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert 1000 == trial.sup.count_children().active
        assert {2} == {trial.incarnations(key) for key in keys}
    [incident] = trial.incidents()
    assert 1000 == len(incident.causes)
    assert 1 == incident.budget_after


@at_any_depth
async def test_no_more_than_children_max_and_room_again_when_one_ends(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running_tree(feeds(trial, children_max=3)):
        await start(trial, 3)
        with pytest.raises(ChildRefused) as caught:
            await trial.sup.start_child("more")
        assert "children_max" == caught.value.refusal
        await trial.sup.terminate_child("s1")
        await trial.sup.start_child("more")
        assert {"s0", "s2", "more"} == {info.id for info in trial.sup.which_children()}


@at_any_depth
async def test_a_child_that_spent_its_budget_is_stopped_and_the_others_live(depth: int) -> None:
    trial = Trial(depth)
    tree = feeds(trial, template={"budget": Intensity(2, period_s=60.0)})
    async with trial.running_tree(tree):
        await start(trial, 3)
        for _ in range(3):
            await trial.crash("s1", Boom("s1", LOW))
        assert {"s0", "s2"} == {info.id for info in trial.sup.which_children()}
        with pytest.raises(ActorDown):
            await trial.ref("s1").ask(Which(), within_s=50.0)
        assert 1 == await trial.ref("s0").ask(Which(), within_s=1.0)
        await trial.sup.start_child("s1")  # the key is free again
    assert 0.0 == trio.current_time()
    assert not trial.of(SupervisorGaveUp)


@at_any_depth
async def test_each_key_has_a_budget_of_its_own(depth: int) -> None:
    trial = Trial(depth)
    tree = feeds(trial, template={"budget": Intensity(2, period_s=60.0)})
    async with trial.running_tree(tree):
        keys = await start(trial, 3)
        for key in keys:
            for _ in range(2):
                await trial.crash(key, Boom(key, LOW))
        assert {3} == {trial.incarnations(key) for key in keys}


@at_any_depth
async def test_start_child_while_others_restart_and_wait(depth: int) -> None:
    trial = Trial(depth)
    async with trial.running_tree(feeds(trial)):
        await start(trial, 3)
        await trial.crash("s0", Boom("s0", MEDIUM))
        trial.do("s1", raising(Boom("s1", LOW)))
        await trial.sup.start_child("new")
        await wait_all_tasks_blocked()
        assert 0.0 == trio.current_time()
        assert 3 == trial.sup.count_children().active
        assert 1 == len(trial.of(RestartScheduled))
        with pytest.raises(ChildRefused) as caught:
            await trial.sup.start_child("s0")  # it waits: the key is taken
        assert "already_present" == caught.value.refusal
        await trio.sleep(1.5)
        assert 4 == trial.sup.count_children().active


@at_any_depth
async def test_a_start_that_fails_leaves_nothing_behind(depth: int) -> None:
    trial = Trial(depth)
    boom = Boom("no start", HIGH)
    async with trial.running_tree(feeds(trial)):
        with pytest.raises(StartFailed) as caught:
            await trial.sup.start_child("bad", 0.0, boom)
        assert boom is caught.value.__cause__
        assert [] == trial.sup.which_children()
        await trial.sup.start_child("bad")


@at_any_depth
async def test_many_callers_start_the_same_key_and_one_wins(depth: int) -> None:
    trial = Trial(depth)
    refused: list[str] = []

    async def call() -> None:
        try:
            await trial.sup.start_child("s", start_s=1.0)
        except ChildRefused as error:
            refused.append(error.refusal)

    async with trial.running_tree(feeds(trial)):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        assert ["already_started"] * 4 == refused
        assert 1 == trial.incarnations("s")


@at_any_depth
async def test_clean_ups_that_fail_together_all_come_out(depth: int) -> None:
    trial = Trial(depth)
    tree = feeds(trial)
    booms = [Boom(f"s{n}") for n in range(10)]
    gate = trio.Event()
    with pytest.raises(ExceptionGroup) as caught:
        async with trial.running_tree(tree) as system:
            await start(trial, 10, 1.0)
            for boom in booms:
                trial.do(boom.name, raising_when(gate, boom))
            await wait_all_tasks_blocked()
            system.stop()
            gate.set()
    assert set(booms) == set(leaves(caught.value))
    assert 10 == len(leaves(caught.value))


@at_any_depth
async def test_children_that_failed_in_the_pass_of_the_stop_come_out_and_were_not_asked(
    depth: int,
) -> None:
    asked: set[bool] = set()
    for passes in range(6):
        trial, gate = Trial(depth), trio.Event()
        booms = [Boom(f"s{n}", HIGH) for n in range(3)]
        with pytest.raises(ExceptionGroup) as caught:
            async with trial.running_tree(feeds(trial)) as system:
                await start(trial, 3)
                for boom in booms:
                    trial.do(boom.name, raising_when(gate, boom))
                await wait_all_tasks_blocked()
                gate.set()
                for _ in range(passes):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                system.stop()
        assert set(booms) == set(leaves(caught.value)), passes
        assert 3 == len(leaves(caught.value)), passes
        proofs = [event.proof for event in trial.of(ChildStopped) if event.path == trial.path]
        asked |= {proof.asked for proof in proofs}
        assert {1} == set(trial.ups.values())
    assert False in asked  # found dead; deeper down the request comes too late for all


@at_any_depth
async def test_after_a_restart_of_the_supervisor_the_old_children_are_gone_at_once(
    depth: int,
) -> None:
    """It restarts empty. Whoever still asks an old child must not wait for nobody."""
    trial = Trial(depth)
    inner = DynamicSupervisor(
        "inner", template=Child("feed", Start(Feed, trial.diary)), policy=CALM
    )
    async with trial.running(inner, trial.child("b")) as system:
        handle = system.supervisor(f"{trial.path}/inner")
        await handle.start_child("s0")
        trial.do("inner/s0", raising(Boom("s0", HIGH)))
        await trio.sleep(1.5)  # HIGH: inner gave up; restarted after a wait
        assert [] == handle.which_children()
        before_s = trio.current_time()
        with pytest.raises(ActorDown):
            await trial.ref("inner/s0").ask(Which(), within_s=50.0)
        assert before_s == trio.current_time()
        letters = len(trial.of(DeadLetter))
        trial.do("inner/s0", sleeping(1.0))
        assert letters + 1 == len(trial.of(DeadLetter))
        await handle.start_child("s0")
        assert 0 < await trial.ref("inner/s0").ask(Which(), within_s=1.0)


@at_any_depth
async def test_a_child_added_to_a_static_supervisor_is_gone_after_its_restart(depth: int) -> None:
    trial = Trial(depth)
    inner = Supervisor("inner", children=[trial.child("x")], policy=CALM)
    async with trial.running(inner) as system:
        handle = system.supervisor(f"{trial.path}/inner")
        await handle.start_child(trial.child("added"))
        trial.do("inner/x", raising(Boom("x", HIGH)))
        await trio.sleep(1.5)
        assert ["x"] == [info.id for info in handle.which_children()]
        assert 2 == await trial.ref("inner/x").ask(Which(), within_s=1.0)
        before_s = trio.current_time()
        with pytest.raises(ActorDown):
            await trial.ref("inner/added").ask(Which(), within_s=50.0)
        assert before_s == trio.current_time()


@at_any_depth
async def test_a_temporary_child_is_forgotten_when_it_ends(depth: int) -> None:
    trial = Trial(depth)

    async def leave(actor: Worker) -> None:
        actor.context.stop()

    async with trial.running_tree(feeds(trial, template={"restart": Restart.TEMPORARY})):
        keys = await start(trial, 100)
        for key in keys[:50]:
            trial.ref(key).tell(Do(leave))
        for key in keys[50:]:
            trial.do(key, raising(Boom(key, HIGH)))
        await wait_all_tasks_blocked()
        assert [] == trial.sup.which_children()
    assert 100 == len(trial.of(ActorEnded))
    assert not trial.of(SupervisorGaveUp)
