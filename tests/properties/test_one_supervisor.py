"""Long histories of one supervisor, against a model written from the rules of OTP.

The model knows nothing of our code: it was written from the sentences R6 to R21 in docs/otp.md. It
also says what a supervisor may *not* do: whatever is not in its log must not be in ours.
"""

from collections import deque

import hypothesis.strategies as st
from attrs import define, field
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringfence.actors.errors import Severity
from ringfence.actors.lifecycle import NORMAL, Exit, Failed
from ringfence.supervisors.decide import (
    Action,
    Core,
    Ended,
    Finish,
    GiveUp,
    GoneForGood,
    Later,
    Member,
    ReportTerminated,
    StartChild,
    Status,
    Stop,
)
from ringfence.supervisors.policy import OTP
from ringfence.supervisors.spec import AutoShutdown, Intensity, Restart, RestartStrategy

PERIOD_S = 10
CRASH = Failed(RuntimeError("boom"))
Log = list[tuple[str, str]]


# -- the model ---------------------------------------------------------------------------------


@define(eq=False)
class Kid:
    restart: str
    significant: bool
    state: str = "up"  # up, down, waiting
    wait: object = None  # the retry that is meant, if it waits

    def becomes(self, state: str) -> None:
        self.state = state
        self.wait = None


@define(eq=False)
class Model:
    """A supervisor as the rules describe it."""

    strategy: str
    restarts_max: int
    auto_shutdown: str
    kids: dict[str, Kid] = field(factory=dict)  # in start order
    now_s: int = 0
    stamps: list[int] = field(factory=list)
    waits: deque[tuple[str, object]] = field(factory=deque)
    starts: deque[bool] = field(factory=deque)  # what becomes of the starts to come
    log: Log = field(factory=list)
    over: bool = False

    def died(self, key: str, *, abnormal: bool) -> None:
        kid = self.kids[key]
        kid.becomes("down")
        if kid.restart == "permanent" or abnormal:  # R7
            self.log.append(("report", key))
        if kid.restart == "permanent" or (kid.restart == "transient" and abnormal):  # R6
            self.restart(key)
            return
        if kid.restart == "temporary":
            del self.kids[key]
        self.log.append(("gone", key))
        if kid.significant and self.auto_shutdown != "never":  # R17
            others = [k for k in self.kids.values() if k.significant and k.state != "down"]
            if self.auto_shutdown == "any_significant" or not others:
                self.end("finish", key)

    def restart(self, key: str) -> None:
        self.stamps = [s for s in [*self.stamps, self.now_s] if self.now_s - s <= PERIOD_S]
        if len(self.stamps) > self.restarts_max:  # R8
            self.end("give up", key)
            return
        names = list(self.kids)
        group = {  # R11, R12
            "one_for_one": [key],
            "one_for_all": names,
            "rest_for_one": names[names.index(key) :],
        }[self.strategy]
        for other in reversed(group):
            if other != key:
                self.stop(other)
        for name in group:
            if name not in self.kids or self.kids[name].restart == "temporary":
                continue
            if not self.start(name):
                wait = object()
                self.kids[name].state, self.kids[name].wait = "waiting", wait
                self.waits.append((name, wait))  # R9
                return

    def start(self, name: str) -> bool:
        fine = self.starts.popleft() if self.starts else True
        self.log.append(("start" if fine else "failed start", name))
        self.kids[name].becomes("up" if fine else "down")
        return fine

    def stop(self, name: str) -> None:
        kid = self.kids[name]
        if kid.state == "up":
            self.log.append(("stop", name))
        kid.becomes("down")
        if kid.restart == "temporary":
            del self.kids[name]

    def retry(self) -> None:
        key, wait = self.waits.popleft()
        if key in self.kids and self.kids[key].wait is wait:  # R10
            self.kids[key].becomes("down")
            self.restart(key)

    def end(self, how: str, key: str) -> None:
        self.log.append((how, key))
        self.over = True


# -- ours --------------------------------------------------------------------------------------


@define(eq=False)
class Ours:
    """Our rules, with a shell that only writes down what it is told to do."""

    core: Core
    now_s: int = 0
    waits: deque[Later] = field(factory=deque)
    starts: deque[bool] = field(factory=deque)
    log: Log = field(factory=list)

    def run(self, actions: list[Action]) -> None:
        todo = deque(actions)
        while todo:
            match todo.popleft():
                case ReportTerminated(key):
                    self.log.append(("report", key))
                case Stop(key):
                    self.stop(key)
                case StartChild(key):
                    if not self.start(key):
                        todo = deque(self.core.on_start_failed(key, Severity.MEDIUM))
                case Later() as later:
                    assert later.delay_s == 0, "OTP knows no delay"
                    self.waits.append(later)
                case GoneForGood(key):
                    self.log.append(("gone", key))
                case Finish(key):
                    self.log.append(("finish", key))
                    assert not todo
                case GiveUp(key):
                    self.log.append(("give up", key))
                    assert not todo

    def start(self, key: str) -> bool:
        fine = self.starts.popleft() if self.starts else True
        self.log.append(("start" if fine else "failed start", key))
        if fine:
            self.core.up(key, self.now_s)
        else:
            self.core.down(key)
        return fine

    def stop(self, key: str) -> None:
        if self.core.members[key].status is Status.RUNNING:
            self.log.append(("stop", key))
        self.core.stopped(key)


RESTARTS = st.sampled_from((Restart.PERMANENT, *Restart))
STATES = {Status.RUNNING: "up", Status.STOPPED: "down", Status.RESTARTING: "waiting"}
ANSWERS = {"running": "up", "restarting": "waiting"}


class OneSupervisor(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.serial = 0

    @initialize(
        strategy=st.sampled_from(RestartStrategy),
        restarts_max=st.sampled_from((9, 9, 4, 2, 1, 0)),  # a long history needs a large budget
        auto_shutdown=st.sampled_from((AutoShutdown.NEVER, *AutoShutdown)),
        kids=st.lists(st.tuples(RESTARTS, st.booleans()), min_size=2, max_size=5),
    )
    def begin(
        self,
        strategy: RestartStrategy,
        restarts_max: int,
        auto_shutdown: AutoShutdown,
        kids: list[tuple[Restart, bool]],
    ) -> None:
        self.model = Model(strategy.value, restarts_max, auto_shutdown.value)
        self.ours = Ours(
            Core(
                strategy=strategy,
                intensity=Intensity(restarts_max, float(PERIOD_S)),
                auto_shutdown=auto_shutdown,
                policy=OTP,
            )
        )
        for restart, significant in kids:
            self.add(restart, significant)

    def add(self, restart: Restart, significant: bool) -> str:
        self.serial += 1
        key = f"k{self.serial}"
        self.model.kids[key] = Kid(restart.value, significant)
        self.ours.core.add(Member(key, restart, significant, OTP.directives))
        self.ours.core.up(key, self.ours.now_s)
        return key

    def pick(self, number: int) -> str:
        return list(self.model.kids)[number % len(self.model.kids)]

    def alive(self) -> bool:
        return not self.model.over and bool(self.model.kids)

    @precondition(alive)
    @rule(number=st.integers(0, 9), abnormal=st.sampled_from((True, True, False)))
    def a_child_dies(self, number: int, abnormal: bool) -> None:
        key = self.pick(number)
        if self.model.kids[key].state == "up":
            self.model.died(key, abnormal=abnormal)
            exit_: Exit = CRASH if abnormal else NORMAL
            severity = Severity.MEDIUM if abnormal else None
            ours = self.ours
            ours.run(ours.core.on_exits([Ended(key, exit_, severity)], ours.now_s))

    @precondition(alive)
    @rule(starts=st.lists(st.sampled_from((False, True)), min_size=1, max_size=3))
    def starts_will_go(self, starts: list[bool]) -> None:
        self.model.starts.extend(starts)
        self.ours.starts.extend(starts)

    @precondition(lambda self: self.alive() and self.model.waits)
    @rule()
    def the_oldest_retry_comes(self) -> None:
        self.model.retry()
        later = self.ours.waits.popleft()
        ours = self.ours
        ours.run(ours.core.on_retry(later.key, later.generation, ours.now_s))

    @rule(seconds=st.sampled_from([10, 1, 4, 11]))
    def time_passes(self, seconds: int) -> None:
        self.model.now_s += seconds
        self.ours.now_s += seconds

    @precondition(alive)
    @rule(number=st.integers(0, 9))
    def somebody_stops_a_child(self, number: int) -> None:
        key = self.pick(number)
        self.model.stop(key)
        if self.ours.core.members[key].status is Status.RUNNING:
            self.ours.log.append(("stop", key))
        self.ours.core.terminated(key)

    @precondition(alive)
    @rule(number=st.integers(0, 9))
    def somebody_restarts_a_child(self, number: int) -> None:
        key = self.pick(number)
        refusal = self.ours.core.may_restart(key)
        state = self.model.kids[key].state
        assert state == ("down" if refusal is None else ANSWERS[refusal.value])
        if refusal is None:
            self.model.start(key)
            self.ours.start(key)

    @precondition(alive)
    @rule(number=st.integers(0, 9))
    def somebody_deletes_a_stopped_child(self, number: int) -> None:
        key = self.pick(number)
        if self.ours.core.may_restart(key) is None:
            del self.model.kids[key]
            del self.ours.core.members[key]

    @precondition(lambda self: not self.model.over and len(self.model.kids) < 6)
    @rule(restart=RESTARTS, significant=st.booleans())
    def somebody_adds_a_child(self, restart: Restart, significant: bool) -> None:
        assert self.ours.core.may_start(self.add(restart, significant)) is not None

    @invariant()
    def both_did_the_same_and_have_the_same_books(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.model.log == self.ours.log
        if not self.model.over:
            members = self.ours.core.members.values()
            ours = [(member.key, STATES[member.status]) for member in members]
            assert [(key, kid.state) for key, kid in self.model.kids.items()] == ours
            assert len(self.model.waits) == len(self.ours.waits)


TestOneSupervisor = OneSupervisor.TestCase
PROFILE = settings.default or settings()
TestOneSupervisor.settings = settings(
    PROFILE, max_examples=2 * PROFILE.max_examples, stateful_step_count=40
)
