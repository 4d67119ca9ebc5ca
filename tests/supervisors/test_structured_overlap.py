"""No incarnation overlaps its predecessor: each holds a lock from its start to its end."""

from __future__ import annotations

import trio
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from ringfence.actors import Actor, Exit
from ringfence.actors.errors import ActorError, SupervisionError, SupervisorFailed
from ringfence.actors.events import ActorEnded, ActorStarted
from ringfence.actors.lifecycle import Killed
from ringfence.supervisors import (
    BRUTAL_KILL,
    Child,
    Restart,
    RestartStrategy,
    Start,
)
from tests.supervisors.fakes import CALM, LOW, MEDIUM, Boom, Trial, leaves

NAMES = ("a", "b", "c")


@define(eq=False)
class Locks:
    """One lock per name, that may be taken once at a time; and who broke that."""

    held: dict[str, int] = field(factory=dict)
    broken: list[str] = field(factory=list)
    left_over: int = 0  # background tasks that are still running

    def take(self, name: str, incarnation: int) -> None:
        if name in self.held:
            self.broken.append(f"{name}.{incarnation} found {name}.{self.held[name]} alive")
        self.held[name] = incarnation

    def give_back(self, name: str, incarnation: int) -> None:
        if self.held.get(name) == incarnation:
            del self.held[name]


@frozen
class Fail:
    """Tell a holder how to fail."""

    how: str
    severity: object


@define(eq=False)
class Holder(Actor[Fail]):
    """Holds its lock as long as anything of it runs, its background task included."""

    locks: Locks
    plan: dict[int, str]  # incarnation -> where it fails by itself
    name: str = ""

    async def started(self) -> None:
        self.name = self.context.path.rpartition("/")[2]
        if self.plan.get(self.context.incarnation) == "started":
            raise Boom("started", LOW)
        if self.plan.get(self.context.incarnation) == "slow":
            await trio.sleep(1.0)
        self.locks.take(self.name, self.context.incarnation)
        self.context.start_soon(self.hold)

    async def hold(self) -> None:
        """Release late: the cancelled background task needs a while to end."""
        self.locks.left_over += 1
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.25)
            self.locks.give_back(self.name, self.context.incarnation)
            self.locks.left_over -= 1

    async def receive(self, message: Fail) -> None:
        if message.how == "background":
            self.context.start_soon(self.fail, message.severity)
        elif message.how == "hang":
            await trio.sleep_forever()
        elif message.how == "leave":
            self.context.stop()
        else:
            await self.fail(message.severity)

    async def fail(self, severity: object) -> None:
        raise Boom("failed", severity)  # type: ignore[arg-type]

    async def stopping(self, reason: Exit) -> None:
        where = self.plan.get(self.context.incarnation)
        if where == "stopping":
            raise Boom("stopping", LOW)
        if where == "hang in stopping":
            await trio.sleep_forever()


WHERE = ["", "started", "slow", "stopping", "hang in stopping"]
plans = st.dictionaries(st.integers(2, 5), st.sampled_from(WHERE), max_size=3)
steps = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["handler", "background", "hang", "leave", "kill", "terminate"]),
        st.sampled_from([LOW, LOW, MEDIUM]),
        st.sampled_from([0.0, 0.1, 0.25, 1.0, 3.0]),
    ),
    max_size=12,
)


@define
class Scenario:
    strategy: RestartStrategy
    restarts: tuple[Restart, ...]
    plans: tuple[dict[int, str], ...]
    shutdowns: tuple[object, ...]
    steps: list[tuple[str, str, object, float]]
    depth: int


scenarios = st.builds(
    Scenario,
    strategy=st.sampled_from(RestartStrategy),
    restarts=st.tuples(*(st.sampled_from(Restart) for _ in NAMES)),
    plans=st.tuples(*(plans for _ in NAMES)),
    shutdowns=st.tuples(*(st.sampled_from([0.5, 2.0, BRUTAL_KILL]) for _ in NAMES)),
    steps=steps,
    depth=st.sampled_from([0, 2]),
)


async def act(trial: Trial, name: str, how: str, severity: object) -> None:
    try:
        if how == "kill":
            trial.sup.kill_child(name)
        elif how == "terminate":
            await trial.sup.terminate_child(name)
            await trial.sup.restart_child(name)
        else:
            trial.system.kernel.ref(f"{trial.path}/{name}").tell(Fail(how, severity))
    except (ActorError, SupervisionError):
        return  # it is gone, or refuses: no matter


async def play(scenario: Scenario) -> tuple[Trial, Locks, object]:
    trial, locks = Trial(scenario.depth), Locks()
    children = [
        Child(
            name,
            Start(Holder, locks, scenario.plans[n]),
            restart=scenario.restarts[n],
            shutdown_s=scenario.shutdowns[n],  # type: ignore[arg-type]
            hang_s=1.0,
        )
        for n, name in enumerate(NAMES)
    ]
    failure: object = None
    try:
        async with trial.running(*children, strategy=scenario.strategy, policy=CALM):
            for name, how, severity, pause_s in scenario.steps:
                await act(trial, name, how, severity)
                await wait_all_tasks_blocked()
                await trio.sleep(pause_s)
    except Exception as error:  # noqa: BLE001 - looked at by the test
        failure = error
    return trial, locks, failure


@given(scenario=scenarios)
def test_no_incarnation_overlaps_its_predecessor(scenario: Scenario) -> None:
    trial, locks, failure = trio.run(play, scenario, clock=MockClock(autojump_threshold=0))
    assert not locks.broken
    assert not locks.held
    assert 0 == locks.left_over
    ups = [(event.path, event.incarnation) for event in trial.of(ActorStarted)]
    ends = [(event.path, event.incarnation) for event in trial.of(ActorEnded)]
    assert len(ups) == len(set(ups))
    assert sorted(ups) == sorted(ends)
    for path in {path for path, _ in ups}:
        order = [event for event in trial.events if getattr(event, "path", "") == path]
        life = [event for event in order if isinstance(event, ActorStarted | ActorEnded)]
        kinds = [isinstance(event, ActorStarted) for event in life]
        assert [True, False] * (len(life) // 2) == kinds  # up, down, up, down
    expected = (Boom, SupervisorFailed, ActorError)
    if isinstance(failure, BaseException):
        assert not any(isinstance(leaf, AssertionError) for leaf in leaves(failure))
        assert isinstance(failure, (ExceptionGroup, *expected)), failure
    assert trial.system._root.exit is not None
    assert not isinstance(trial.system._root.exit, Killed)
