"""The shell of a supervisor: one task, one nursery, and the actions `decide.py` asks for.

A supervisor works on one thing at a time, as OTP's does: it waits for a start or a stop before it
looks at the next event. But it stays responsive meanwhile: questions about its children are
answered at once from the books, and a start in progress is called off by a request to stop, by
``terminate_child`` for that very child, and by a failure among the siblings that will end the
supervisor anyway.

Ends of children are collected in an inbox by the children's own last act. The supervisor's task
runs in the scheduler's next pass, so all that ended in one pass are there when it looks: they are
decided together (unless the policy says one by one, as OTP does).
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Never, Protocol

import trio
from attrs import define, frozen
from trio.lowlevel import Abort, enable_ki_protection, reschedule

from ringfence.actors import seams
from ringfence.actors.actor import Terminated, accepted_types, has_hook
from ringfence.actors.errors import (
    ActorKilled,
    GaveUpWhy,
    Severity,
    StartFailed,
    SupervisionError,
    SupervisorFailed,
)
from ringfence.actors.events import (
    ActorIgnored,
    ActorStartFailed,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildTerminated,
    DeadLetterWhy,
    RestartScheduled,
    StopOverdue,
    SupervisorEnded,
    SupervisorGaveUp,
    SupervisorStarted,
    SupervisorStarting,
)
from ringfence.actors.incarnation import Incarnation
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Exit, Failed, Killed
from ringfence.actors.mailbox import OnRestart
from ringfence.actors.outcomes import cancelled_from_outside, split_cancelled, stray
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
    Stop,
    Window,
)
from ringfence.supervisors.incident import (
    Cause,
    ChildStopped,
    IncidentRecorded,
    Outcome,
    Recorder,
    StopProof,
    attach,
)
from ringfence.supervisors.policy import Directive, Policy
from ringfence.supervisors.severity import Classification, classify
from ringfence.supervisors.spec import (
    BRUTAL_KILL,
    AutoShutdown,
    BrutalKill,
    Child,
    DynamicSupervisor,
    RestartStrategy,
    Spec,
    Supervisor,
    SupervisorSpec,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ringfence.actors.actor import Actor
    from ringfence.actors.events import Event
    from ringfence.actors.kernel import Kernel
    from ringfence.actors.timers import Timer
    from ringfence.supervisors.incident import Incident
    from ringfence.supervisors.spec import Start

OVERDUE_EVERY_S: Final = 5.0


class Host(Protocol):
    """What a supervisor needs from the process it runs in."""

    def halt(self, error: SupervisorFailed) -> None:
        """A failure must stop the whole system; the supervisor waits to be stopped."""


class StartOutcome(enum.Enum):
    """How the start of a child went."""

    UP = "up"
    IGNORED = "ignored"
    FAILED = "failed"
    CALLED_OFF = "called off"


class Life(Protocol):
    """One incarnation of a child: an actor's or a supervisor's."""

    up: bool
    ignored: bool
    info: object
    exit: Exit | None
    cancelled: bool
    number: int

    async def main(self) -> None:
        """Live, from start to end."""

    def leave(self, reason: Exit) -> None:
        """Ask it to end."""

    def call_off(self) -> None:
        """End its start."""

    def condemn(self, verdict: BaseException | Killed) -> None:
        """Cancel it."""


@define(eq=False)
class Slot:
    """The place of one child: what outlives its incarnations."""

    key: str
    path: str
    spec: Spec
    start: Start | None  # None: a supervisor
    life: Life | None = None
    timer: Timer | None = None  # of a pending restart
    error: BaseException | None = None  # of the last failed start


@frozen
class Exited:
    """In the inbox: a child ended."""

    slot: Slot
    life: Life


@frozen
class Retry:
    """In the inbox: the time of a restart has come."""

    key: str
    generation: int


class Call:
    """In the inbox: somebody called the API and waits for `result` or `error`."""

    __slots__ = ("done", "error", "result", "run", "task")

    def __init__(self, run: Callable[[Call], Awaitable[None]]) -> None:
        self.run = run
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self.done = False
        self.result: object = None
        self.error: Exception | None = None

    @enable_ki_protection
    def finish(self, result: object = None, error: Exception | None = None) -> None:
        """Give the caller its outcome; the first one stands."""
        if self.done:
            return
        self.done, self.result, self.error = True, result, error
        if self.task is not None:
            reschedule(self.task)

    async def wait(self) -> object:
        """Wait for the outcome. A caller that is cancelled does not stop what it asked for."""

        def abort(_raise_cancel: object) -> Abort:
            self.task = None
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if self.error is not None:
            raise self.error
        return self.result


@frozen
class Verdict:
    """Why a supervisor ends by failure, or, with no ``why``, because it is its time."""

    why: GaveUpWhy | None
    errors: tuple[BaseException, ...] = ()
    severity: Severity = Severity.MEDIUM
    incident: Incident | None = None


class SupervisorLife:
    """One incarnation of a supervisor."""

    def __init__(
        self,
        spec: SupervisorSpec,
        path: str,
        kernel: Kernel,
        *,
        policy: Policy,
        host: Host,
        on_up: Callable[[Life], None],
        on_end: Callable[[Life], None],
    ) -> None:
        self.spec = spec
        self.path = path
        self.kernel = kernel
        self.policy = spec.policy if spec.policy is not None else policy
        self.host = host
        self.on_up = on_up
        self.on_end = on_end
        self.number = kernel.next_incarnation(path)
        self.up = False
        self.ignored = False
        self.info: object = None
        self.exit: Exit | None = None
        self.cancelled = False
        self.scope = trio.CancelScope()
        self.nursery: trio.Nursery
        self.leaving: Exit | None = None
        self.verdict: BaseException | Killed | None = None
        self.slots: dict[str, Slot] = {}
        self.inbox: deque[Exited | Retry | Call] = deque()
        self.parked: trio.lowlevel.Task | None = None
        self.starting: Slot | None = None
        self.alarm = False  # a sibling's failure will end this supervisor: call off the start
        self.fatal: list[BaseException] = []
        self.cleanup_errors: list[BaseException] = []
        self.recent: deque[tuple[float, tuple[BaseException, ...]]] = deque()
        self.recorder: Recorder | None = None
        self.incident: Incident | None = None  # the last one
        self.random: random.Random | None = None
        static = isinstance(spec, Supervisor)
        self.core = Core(
            strategy=spec.strategy if static else RestartStrategy.ONE_FOR_ONE,
            intensity=spec.intensity,
            auto_shutdown=spec.auto_shutdown if static else AutoShutdown.NEVER,
            policy=self.policy,
        )
        kernel.controls[path] = self

    @property
    def dynamic(self) -> bool:
        """Whether its children are all of one kind and have no order."""
        return isinstance(self.spec, DynamicSupervisor)

    # -- the whole life ------------------------------------------------------------------------

    @enable_ki_protection
    async def main(self) -> None:
        """Start the children, mind them, stop them; report the exit. Raises only `Cancelled`."""
        errors: list[BaseException] = []
        verdict = Verdict(None)
        try:
            with self.scope:
                async with trio.open_nursery() as self.nursery:
                    verdict = await self._live()
        except BaseException as error:  # noqa: BLE001 - sorted here, nothing is dropped
            errors = self._sorted(error)
        self._report(verdict, errors)
        if self.cancelled and cancelled_from_outside():
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _live(self) -> Verdict:
        self._emit(SupervisorStarting, incarnation=self.number)
        verdict = await self._start_all()
        if verdict is None:
            self.up = True
            self._emit(SupervisorStarted, incarnation=self.number)
            self.on_up(self)
            verdict = await self._mind()
        await self._stop_all()
        return verdict

    def _sorted(self, error: BaseException) -> list[BaseException]:
        cancelled, rest = split_cancelled(error)
        errors = [] if rest is None else [rest]
        if cancelled is not None:
            if cancelled_from_outside():
                self.cancelled = True
                self.verdict = self.verdict or KILLED
            else:
                errors.append(stray(self.path, cancelled))
        return errors

    def _report(self, verdict: Verdict, errors: list[BaseException]) -> None:
        if isinstance(self.verdict, BaseException):
            errors.append(self.verdict)
        self.exit = self._exit_of(verdict, [*self.fatal, *errors])
        for slot in self.slots.values():
            if slot.timer is not None:
                slot.timer.cancel()
        for entry in self.inbox:
            if isinstance(entry, Call):
                entry.finish(error=self.kernel.box(self.path).absent())
        self.inbox.clear()
        self._emit(SupervisorEnded, incarnation=self.number, exit=self.exit)
        self.on_end(self)

    def _exit_of(self, verdict: Verdict, errors: list[BaseException]) -> Exit:
        """Build the exit: what made it give up and what went wrong in stopping, as one group."""
        if verdict.why is not None:
            parts = [*verdict.errors, *errors, *self.cleanup_errors]
            if all(isinstance(part, Exception) for part in parts):
                if self.policy.failed_supervisors_exit_shutdown and (
                    verdict.why is not GaveUpWhy.START_FAILED
                ):
                    return SHUTDOWN
                failed = SupervisorFailed(self.path, verdict.why, parts, verdict.severity)
                if verdict.incident is not None:
                    attach(failed, verdict.incident)
                return Failed(failed)
            return Failed(BaseExceptionGroup(f"{self.path} was interrupted", parts))
        if errors:
            return Failed(
                BaseExceptionGroup(f"{self.path} failed", [*errors, *self.cleanup_errors])
            )
        if self.verdict is not None:
            return KILLED
        if self.cleanup_errors and not self.policy.failed_supervisors_exit_shutdown:
            return Failed(
                BaseExceptionGroup(f"{self.path} stopped, but clean-up failed", self.cleanup_errors)
            )
        return self.leaving if self.leaving is not None else SHUTDOWN

    # -- being told to end ---------------------------------------------------------------------

    def leave(self, reason: Exit) -> None:
        """Ask it to stop its children in reverse order and end. The first reason stands."""
        if self.leaving is None:
            self.leaving = reason
            self.wake()

    def call_off(self) -> None:
        """End its start: stop what was started, in reverse order."""
        self.leave(SHUTDOWN)

    def condemn(self, verdict: BaseException | Killed) -> None:
        """Cancel the whole subtree, now."""
        if self.exit is None:
            self.verdict = self.verdict or verdict
            self.cancelled = True
            self.scope.cancel()

    # -- waiting -------------------------------------------------------------------------------

    async def _park(self) -> None:
        self.parked = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> Abort:
            self.parked = None
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @enable_ki_protection
    def wake(self) -> None:
        """Let the supervisor look again at what it waits for."""
        if self.parked is not None:
            task, self.parked = self.parked, None
            reschedule(task)

    def push(self, entry: Retry | Call) -> None:
        """Put something at the end of the inbox."""
        self.inbox.append(entry)
        self.wake()

    # -- starting ------------------------------------------------------------------------------

    async def _start_all(self) -> Verdict | None:
        """Start the static children in order (R1); return why not, if not (R3)."""
        if isinstance(self.spec, Supervisor):
            for spec in self.spec.children:
                self.admit(spec.id, spec)
            for slot in tuple(self.slots.values()):
                self.prepare(slot)
            for slot in tuple(self.slots.values()):
                if self.leaving is not None or self.fatal:
                    return Verdict(None)
                outcome = await self.start(slot)
                if outcome is StartOutcome.FAILED:
                    assert slot.error is not None, "a failed start has an error"
                    return self._start_failed(slot, slot.error)
                if outcome is StartOutcome.CALLED_OFF and self.alarm:
                    return self._sibling_failed()
        return None

    def _start_failed(self, slot: Slot, error: BaseException) -> Verdict:
        if isinstance(error, Exception):
            severity = self._classify(slot, error).severity
            failed = StartFailed(path=slot.path, cause=error)
            return Verdict(GaveUpWhy.START_FAILED, (failed,), severity.lowered())
        self.fatal.append(error)
        return Verdict(None)

    def _sibling_failed(self) -> Verdict:
        """A child that was up failed gravely while the next one started."""
        for entry in self.inbox:
            if isinstance(entry, Exited) and self._gravest(entry):
                exit_ = entry.life.exit
                assert isinstance(exit_, Failed), "only a failure raises the alarm"
                return self._start_failed(entry.slot, exit_.error)
        return Verdict(None)

    def admit(self, key: str, spec: Spec, start: Start | None = None) -> Slot:
        """Give a child a place, at the end of the order."""
        if start is None and isinstance(spec, Child):
            start = spec.start
        slot = Slot(key, f"{self.path}/{key}", spec, start)
        self.slots[key] = slot
        budget = Window(spec.budget) if spec.budget is not None else None
        exhausted = Directive.STOP if self.dynamic else Directive.ESCALATE
        directives = self.policy.directives
        self.core.add(
            Member(
                key=key,
                restart=spec.restart,
                significant=spec.significant,
                directives={**directives, **spec.directives} if spec.directives else directives,
                budget=budget,
                exhausted=spec.exhausted if spec.exhausted is not None else exhausted,
            )
        )
        return slot

    def prepare(self, slot: Slot) -> None:
        """Make the mailbox of a child that starts later take messages already."""
        if isinstance(slot.spec, Child) and slot.start is not None:
            box = self.kernel.box(slot.path, slot.spec.mailbox)
            cls = slot.start.cls
            if box.closed_why is not None and isinstance(cls, type):
                box.open(accepted_types(cls))
        elif isinstance(slot.spec, Supervisor):
            for spec in slot.spec.children:
                start = spec.start if isinstance(spec, Child) else None
                self.prepare(Slot(spec.id, f"{slot.path}/{spec.id}", spec, start))

    async def start(self, slot: Slot, *, report: bool = True) -> StartOutcome:
        """Start one child and wait until it is up, or will not be.

        ``report``: say so if it fails (OTP does not for a start through the API, where the caller
        gets the error).
        """
        slot.error = None
        self.cancel_retry(slot)
        try:
            life = slot.life = self._build(slot)
        except Exception as error:  # noqa: BLE001 - a constructor that fails is a failed start
            return self._not_started(slot, self.kernel.incarnations[slot.path], error, report)
        self.nursery.start_soon(life.main, name=slot.path)
        if not life.up:
            self.starting = slot
            try:
                while not life.up and life.exit is None:
                    if self.leaving is not None or self.alarm or self.fatal:
                        life.call_off()
                    await self._park()
            finally:
                self.starting = None
        if life.up:
            self.core.up(slot.key, trio.current_time())
            if not self.dynamic:
                self._emit(ChildStarted, child=slot.key)
            return StartOutcome.UP
        slot.life = None
        if life.ignored:
            if self.kernel.events.listeners:
                self._emit(ActorIgnored, path=slot.path, incarnation=life.number)
            self.core.down(slot.key)
            return StartOutcome.IGNORED
        if isinstance(life.exit, Failed):
            return self._not_started(slot, life.number, life.exit.error, report)
        self.core.down(slot.key)
        return StartOutcome.CALLED_OFF

    def _not_started(
        self,
        slot: Slot,
        number: int,
        error: BaseException,
        report: bool,  # noqa: FBT001
    ) -> StartOutcome:
        slot.error = error
        slot.life = None
        self.core.down(slot.key)
        if slot.start is not None:
            self._emit(ActorStartFailed, path=slot.path, incarnation=number, error=error)
        if report:
            self._emit(ChildStartFailed, child=slot.key, error=error)
        return StartOutcome.FAILED

    def _build(self, slot: Slot) -> Life:
        """Build the next incarnation of a child. Raises what its constructor raises."""
        if isinstance(slot.spec, SupervisorSpec):
            return SupervisorLife(
                slot.spec,
                slot.path,
                self.kernel,
                policy=self.policy,
                host=self.host,
                on_up=self._child_up,
                on_end=lambda life: self._child_ended(slot, life),
            )
        assert isinstance(slot.spec, Child), "a child is an actor or a supervisor"
        assert slot.start is not None, "an actor has a start"
        number = self.kernel.next_incarnation(slot.path)
        actor = slot.start.build()
        return self._incarnate(slot, slot.spec, actor, number)

    def _incarnate(self, slot: Slot, spec: Child, actor: Actor[Never], number: int) -> Incarnation:
        box = self.kernel.box(slot.path, spec.mailbox)
        if box.closed_why is not None:
            box.open(accepted_types(actor.__class__))
        elif number > 1 and spec.mailbox.on_restart is OnRestart.DROP:
            box.bury_all(DeadLetterWhy.RESTART, None)
        box.incarnation = number
        box.down_because = None
        life = Incarnation(
            actor,
            box,
            number,
            spawner=self.nursery,
            on_up=self._child_up,
            on_end=lambda life: self._child_ended(slot, life),
            may_resume=self._resumer(slot) if self._may_ever_resume(slot) else None,
            start_s=spec.start_s,
            shutdown_s=0.0 if isinstance(spec.shutdown_s, BrutalKill) else spec.shutdown_s,
            hang_s=spec.hang_s,
        )
        if not has_hook(actor.__class__, "started"):
            life.bring_up()  # nothing to wait for: saves a pass of the scheduler
        return life

    # -- children that resume ------------------------------------------------------------------

    def _may_ever_resume(self, slot: Slot) -> bool:
        directives = self.core.members[slot.key].directives
        return Directive.RESUME in directives.values()

    def _resumer(self, slot: Slot) -> Callable[[Exception], bool]:
        """Return the question a failed handler asks: may I drop the message and go on?"""
        member = self.core.members[slot.key]
        window = member.budget or Window(self.spec.intensity)

        def may_resume(error: Exception) -> bool:
            severity = self._classify(slot, error).severity
            resumes = member.directives[severity] is Directive.RESUME
            return resumes and window.charge(trio.current_time())

        return may_resume

    # -- children that ended -------------------------------------------------------------------

    def _child_up(self, _life: Life) -> None:
        self.wake()

    @enable_ki_protection
    def _child_ended(self, slot: Slot, life: Life) -> None:
        """The last act of a child."""
        self._tell_watchers(slot, life)
        if life.up:
            self.inbox.append(Exited(slot, life))
            if isinstance(life.exit, Failed) and not isinstance(life.exit.error, Exception):
                self.fatal.append(life.exit.error)
            elif self.starting is not None and self._gravest(Exited(slot, life)):
                self.alarm = True
        self.wake()

    def _tell_watchers(self, slot: Slot, life: Life) -> None:
        box = self.kernel.boxes.get(slot.path)
        if box is not None and box.watchers and life.up and life.exit is not None:
            note = Terminated(path=slot.path, incarnation=life.number, exit=life.exit)
            for watcher in tuple(box.watchers):
                watcher.put_system(note)

    def _gravest(self, entry: Exited) -> bool:
        """Whether this end will end the supervisor, whatever else happens."""
        ended, _ = self._judge(entry)
        if ended.severity is None:
            return False
        member = self.core.members.get(entry.slot.key)
        directive = member.directives[ended.severity] if member is not None else None
        return directive is Directive.SHUTDOWN or (
            directive is Directive.ESCALATE and member is not None and not member.temporary
        )

    def _classify(self, slot: Slot, error: Exception) -> Classification:
        member = self.core.members.get(slot.key)
        return classify(
            error,
            component=slot.path,
            recent_failures=member.failures if member is not None else 0,
            rules=self.policy.rules,
        )

    def _judge(self, entry: Exited) -> tuple[Ended, Cause]:
        """Classify how a child ended."""
        slot, exit_ = entry.slot, entry.life.exit
        assert exit_ is not None, "it has ended"
        error = _error_of(exit_, slot.path)
        if not isinstance(error, Exception):
            cause = Cause(path=slot.path, incarnation=entry.life.number, exit=exit_, severity=None)
            return Ended(slot.key, exit_, None), cause
        found = self._classify(slot, error)
        cause = Cause(
            path=slot.path,
            incarnation=entry.life.number,
            exit=exit_,
            severity=found.severity,
            decided_by=found.decided_by,
        )
        return Ended(slot.key, exit_, found.severity), cause

    # -- minding -------------------------------------------------------------------------------

    async def _mind(self) -> Verdict:
        """React to events until told to leave or until giving up."""
        while self.leaving is None and not self.fatal:
            if not self.inbox:
                await self._park()
                continue
            entry = self.inbox.popleft()
            if isinstance(entry, Exited):
                verdict = await self._on_exits(self._together(entry))
            elif isinstance(entry, Retry):
                verdict = await self._on_retry(entry)
            else:
                verdict = await self._on_call(entry)
            if verdict is not None:
                return verdict
        return Verdict(None)

    def _together(self, first: Exited) -> list[Exited]:
        """Return all ends to decide on now, without those dealt with already."""
        entries = [first]
        if self.policy.together:
            entries += [entry for entry in self.inbox if isinstance(entry, Exited)]
            self.inbox = deque(e for e in self.inbox if not isinstance(e, Exited))
        return [entry for entry in entries if entry.slot.life is entry.life]

    async def _on_exits(self, entries: Sequence[Exited]) -> Verdict | None:
        self.alarm = False
        if not entries:
            return None
        judged = [self._judge(entry) for entry in entries]
        for entry in entries:
            entry.slot.life = None
        now_s = trio.current_time()
        self._open_incident(now_s, [cause for _, cause in judged])
        return await self._run(self.core.on_exits([ended for ended, _ in judged], now_s))

    async def _on_retry(self, entry: Retry) -> Verdict | None:
        now_s = trio.current_time()
        used = self.core.window.used(now_s)
        actions = self.core.on_retry(entry.key, entry.generation, now_s)
        if actions and self.recorder is None:
            self._reopen_incident(entry.key, now_s, used)
        return await self._run(actions)

    async def _on_call(self, call: Call) -> Verdict | None:
        try:
            await call.run(call)
        except Exception as error:  # noqa: BLE001 - the caller's, not the supervisor's
            call.finish(error=error)
        finally:
            call.finish(error=self.kernel.box(self.path).absent())
        return None

    async def _run(self, actions: Iterable[Action]) -> Verdict | None:
        """Run actions in order; a start that fails replaces the rest by what to do about it."""
        todo = deque(actions)
        while todo:
            action = todo.popleft()
            match action:
                case ReportTerminated(key, exit_):
                    self._emit(ChildTerminated, child=key, exit=exit_)
                case Stop(key):
                    await self._stop_in_group(self.slots[key])
                case StartChild(key):
                    more = await self._restart(self.slots[key])
                    if more is not None:
                        todo = deque(more)
                case Later():
                    self._schedule(action)
                case GoneForGood(key, exit_, forgotten):
                    self.forget(self.slots[key], exit_, spec_too=forgotten)
                case Finish():
                    self._close_incident(Outcome.FINISHED)
                    return Verdict(None)
                case GiveUp():
                    return await self._give_up(action)
            if self.leaving is not None or self.fatal:
                break
        self._close_incident(None)
        return None

    async def _restart(self, slot: Slot) -> list[Action] | None:
        """Run one start of a plan; return what to do instead of the rest, if it failed."""
        outcome = await self.start(slot)
        if outcome is StartOutcome.UP:
            if self.recorder is not None:
                self.recorder.restarted.append(slot.path)
                self.recorder.outcome = Outcome.RESTARTED
            return None
        if outcome is not StartOutcome.FAILED:
            self._settle_unstarted(slot)
            return [] if outcome is StartOutcome.CALLED_OFF and self.alarm else None
        error = slot.error
        if self.recorder is not None:
            self.recorder.failed_starts.append(slot.path)
        if not isinstance(error, Exception):
            assert error is not None, "a failed start has an error"
            self.fatal.append(error)
            return []
        now_s = trio.current_time()
        failed = StartFailed(path=slot.path, cause=error)
        found = self._classify(slot, error)
        self._remember(now_s, (failed,))
        if self.recorder is not None:
            self.recorder.causes.append(
                Cause(
                    path=slot.path,
                    incarnation=self.kernel.incarnations[slot.path],
                    exit=Failed(failed),
                    severity=found.severity,
                    decided_by=found.decided_by,
                )
            )
        return self.core.on_start_failed(slot.key, found.severity, now_s)

    def _settle_unstarted(self, slot: Slot) -> None:
        """An ignored child keeps its spec unless it is temporary or dynamic (R5)."""
        if self.core.members[slot.key].temporary or self.dynamic:
            self.forget(slot, SHUTDOWN, spec_too=True)

    def _schedule(self, later: Later) -> None:
        """Bring a restart back: at once behind what waits, or after its delay (R9)."""
        slot = self.slots[later.key]
        retry = Retry(later.key, later.generation)
        delay_s = self._jittered(later.delay_s)
        if self.recorder is not None:
            self.recorder.delay_s = delay_s
            self.recorder.outcome = Outcome.WAITING
        if delay_s <= 0:
            self.push(retry)
            return
        self._emit(RestartScheduled, child=later.key, delay_s=delay_s, attempt=later.attempt)
        self.kernel.refuse_below(slot.path, self._last_error())
        slot.timer = self.kernel.timers.call_at(
            trio.current_time() + delay_s, lambda: self.push(retry)
        )

    def _jittered(self, delay_s: float) -> float:
        if delay_s <= 0:
            return 0.0
        if self.random is None:
            self.random = seams.random_source()
        return self.policy.backoff.jittered_s(delay_s, self.random.random())

    def _last_error(self) -> BaseException | None:
        return self.recent[-1][1][-1] if self.recent else None

    def cancel_retry(self, slot: Slot) -> None:
        """Forget the pending restart of a child; its generation makes one on its way void."""
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None

    def forget(self, slot: Slot, exit_: Exit, *, spec_too: bool) -> None:
        """A child will not be started by itself again: its address leads to dead letters."""
        self.cancel_retry(slot)
        cause = exit_.error if isinstance(exit_, Failed) else None
        self.kernel.close_below(slot.path, DeadLetterWhy.STOPPED, cause)
        if spec_too:
            self.slots.pop(slot.key, None)
            self.core.members.pop(slot.key, None)

    # -- giving up -----------------------------------------------------------------------------

    async def _give_up(self, action: GiveUp) -> Verdict:
        """Close the books; a failure that must stop the whole system waits to be stopped."""
        now_s = trio.current_time()
        self._emit(
            SupervisorGaveUp, child=action.key, why=action.why.value, severity=action.severity
        )
        errors = self._errors_for(action.why, now_s)
        if not errors:
            text = f"{self.path}/{action.key} ended, and {self.path} may not restart it again"
            errors = (SupervisionError(text, path=f"{self.path}/{action.key}"),)
        incident = self._close_incident(Outcome.GAVE_UP, action.why)
        verdict = Verdict(action.why, errors, action.severity, incident)
        if action.why is GaveUpWhy.SHUTDOWN:
            failed = SupervisorFailed(
                self.path,
                action.why,
                [e for e in errors if isinstance(e, Exception)],
                action.severity,
            )
            if incident is not None:
                attach(failed, incident)
            self.host.halt(failed)
            while self.leaving is None and not self.fatal:
                await self._park()
        return verdict

    def _errors_for(self, why: GaveUpWhy, now_s: float) -> tuple[BaseException, ...]:
        """Return the failures that made it give up: for a spent budget, all in its window."""
        if why is not GaveUpWhy.INTENSITY:
            return self.recent[-1][1] if self.recent else ()
        oldest_s = now_s - self.core.window.limit.period_s
        return tuple(e for at_s, errors in self.recent if at_s >= oldest_s for e in errors)

    def _remember(self, now_s: float, errors: tuple[BaseException, ...]) -> None:
        """Keep the failures of the current window, no more."""
        if errors:
            self.recent.append((now_s, errors))
            while len(self.recent) > self.core.window.limit.restarts_max + 1:
                self.recent.popleft()

    # -- stopping ------------------------------------------------------------------------------

    async def _stop_in_group(self, slot: Slot) -> None:
        proof = await self.stop(slot)
        if self.recorder is not None and proof is not None:
            self.recorder.stopped.append(proof)
        if self.core.stopped(slot.key):
            self.forget(slot, SHUTDOWN, spec_too=True)

    async def stop(self, slot: Slot) -> StopProof | None:
        """Stop one child and wait until it has ended (R13); ``None`` if it was not running."""
        self.cancel_retry(slot)
        life = slot.life
        if life is None:
            return None
        began_s = trio.current_time()
        found_dead = life.exit is not None  # its end is in the inbox: swallowed here (R15)
        timer = None if found_dead else self._ask_to_stop(slot, life)
        try:
            while life.exit is None:
                await self._park()
        finally:
            if timer is not None:
                timer.cancel()
        return self._stopped(slot, life, began_s, found_dead=found_dead)

    def _ask_to_stop(self, slot: Slot, life: Life) -> Timer | None:
        """Ask a child to end, and see to it that it is cancelled when its grace is over."""
        spec = slot.spec
        assert isinstance(spec, Child | SupervisorSpec), "a child is an actor or a supervisor"
        if spec.shutdown_s is BRUTAL_KILL:
            life.condemn(KILLED)
            return self._watch_overdue(slot, life)
        life.leave(SHUTDOWN)
        if spec.shutdown_s == math.inf:
            return None

        def grace_over() -> None:
            life.condemn(KILLED)

        return self.kernel.timers.call_at(trio.current_time() + spec.shutdown_s, grace_over)

    def _watch_overdue(self, slot: Slot, life: Life) -> Timer:
        """Say so, again and again, while a cancelled child does not end."""
        began_s = trio.current_time()

        def overdue() -> None:
            if life.exit is None:
                self._emit(StopOverdue, child=slot.key, waited_s=trio.current_time() - began_s)

        return self.kernel.timers.call_every(began_s + OVERDUE_EVERY_S, OVERDUE_EVERY_S, overdue)

    def _stopped(self, slot: Slot, life: Life, began_s: float, *, found_dead: bool) -> StopProof:
        """Write the proof; report an answer that is not the one asked for (R14)."""
        slot.life = None
        exit_ = life.exit
        assert exit_ is not None, "it has ended"
        brutal = getattr(slot.spec, "shutdown_s", None) is BRUTAL_KILL
        proof = StopProof(
            path=slot.path,
            asked=not brutal and not found_dead,
            answered=not life.cancelled,
            took_s=trio.current_time() - began_s,
            cancelled=life.cancelled,
            exit=exit_,
            left_behind=self._left_behind(slot),
        )
        self._emit(ChildStopped, proof=proof)
        if not self.core.answered_well(slot.key, exit_, brutal=brutal):
            self._emit(ChildStopFailed, child=slot.key, exit=exit_)
        if isinstance(exit_, Failed):
            self.cleanup_errors.append(exit_.error)
        return proof

    def _left_behind(self, slot: Slot) -> tuple[str, ...]:
        box = self.kernel.boxes.get(slot.path)
        if box is None or not (box.normal or box.urgent):
            return ()
        return (f"{len(box.normal) + len(box.urgent or ())} messages not handled",)

    async def _stop_all(self) -> None:
        """Stop everything in reverse start order; dynamic children all at once (R13, R16)."""
        if self.dynamic:
            await self._stop_dynamic()
        else:
            for slot in reversed(tuple(self.slots.values())):
                await self.stop(slot)
                self.core.down(slot.key)

    async def _stop_dynamic(self) -> None:
        began_s = trio.current_time()
        running = [slot for slot in self.slots.values() if slot.life is not None]
        dead = {slot.key for slot in running if slot.life is None or slot.life.exit is not None}
        timers = [
            self._ask_to_stop(slot, slot.life)
            for slot in running
            if slot.life is not None and slot.key not in dead
        ]
        for slot in running:
            while slot.life is not None and slot.life.exit is None:
                await self._park()
            if slot.life is not None:
                self._stopped(slot, slot.life, began_s, found_dead=slot.key in dead)
        for timer in timers:
            if timer is not None:
                timer.cancel()

    # -- incidents and events ------------------------------------------------------------------

    def _open_incident(self, now_s: float, causes: list[Cause]) -> None:
        self._remember(
            now_s,
            tuple(
                error
                for cause in causes
                if (error := _error_of(cause.exit, cause.path)) is not None
            ),
        )
        self.recorder = Recorder(
            path=self.path,
            opened_at_s=now_s,
            wall_ns=seams.wall_ns(),
            causes=causes,
            budget_max=self.core.window.limit.restarts_max,
            budget_before=self.core.window.used(now_s),
        )

    def _reopen_incident(self, key: str, now_s: float, used: int) -> None:
        """A delayed restart is part of the failure it follows; its record goes on."""
        causes = list(self.incident.causes) if self.incident is not None else []
        self.recorder = Recorder(
            path=self.path,
            opened_at_s=now_s,
            wall_ns=seams.wall_ns(),
            causes=[cause for cause in causes if cause.path == f"{self.path}/{key}"] or causes,
            budget_max=self.core.window.limit.restarts_max,
            budget_before=used,
        )

    def _close_incident(
        self, outcome: Outcome | None, why: GaveUpWhy | None = None
    ) -> Incident | None:
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return None
        if outcome is not None:
            recorder.outcome = outcome
        recorder.why = why
        now_s = trio.current_time()
        self.incident = recorder.close(now_s, self.core.window.used(now_s))
        self._emit(IncidentRecorded, incident=self.incident)
        return self.incident

    def _emit(
        self, event: Callable[..., Event], *, path: str | None = None, **fields: object
    ) -> None:
        """Make and emit an event if somebody listens."""
        if self.kernel.events.listeners:
            self.kernel.events.emit(
                event(at_s=trio.current_time(), path=path or self.path, **fields)
            )


def _error_of(exit_: Exit, path: str) -> BaseException | None:
    """Return the error an exit stands for; ``None`` if it is no failure."""
    match exit_:
        case Failed(error):
            return error
        case Killed():
            return ActorKilled(path=path)
        case _:
            return None
