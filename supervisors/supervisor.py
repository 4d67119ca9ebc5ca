"""The shell of a supervisor: one task, one nursery, and the actions `decide.py` asks for.

A supervisor works on one thing at a time, as OTP's does: it waits for a start or a stop before it
looks at the next event. But it stays responsive meanwhile: questions about its children are
answered at once from the books, and a start in progress is called off by a request to stop, by
``terminate_child`` for that very child, and by a failure among the siblings that will end the
supervisor anyway.

Ends of children are collected in the inbox by the children's own last act, and decided one pass
of the scheduler later: all that ended in one pass are there then, and are decided together
(one by one if the policy says so): by this task or, if it sleeps, a child on duty (`duty.py`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Abort, enable_ki_protection, reschedule

from ringfence.actors import seams
from ringfence.actors.actor import Terminated
from ringfence.actors.errors import GaveUpWhy, StartFailed, SupervisionError, SupervisorFailed
from ringfence.actors.events import (
    ChildTerminated,
    DeadLetterWhy,
    RestartScheduled,
    SupervisorEnded,
    SupervisorGaveUp,
    SupervisorStarted,
    SupervisorStarting,
)
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Exit, Failed, Killed
from ringfence.actors.outcomes import cancelled_from_outside, split_cancelled, stray
from ringfence.supervisors.child import Call, Exited, Host, Life, Retry, Slot, StartOutcome, Verdict
from ringfence.supervisors.decide import (
    Action,
    Core,
    Ended,
    Finish,
    GiveUp,
    GoneForGood,
    Later,
    ReportTerminated,
    StartChild,
    Stop,
)
from ringfence.supervisors.duty import Duty
from ringfence.supervisors.ending import exit_of
from ringfence.supervisors.incident import Outcome
from ringfence.supervisors.judge import Judge, Judged
from ringfence.supervisors.records import Records
from ringfence.supervisors.spec import (
    AutoShutdown,
    DynamicSupervisor,
    RestartStrategy,
    Supervisor,
    SupervisorSpec,
)
from ringfence.supervisors.starting import Starter
from ringfence.supervisors.stopping import Stopper

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from ringfence.actors.events import Event
    from ringfence.actors.kernel import Kernel
    from ringfence.supervisors.policy import Policy


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
        self.dynamic = isinstance(spec, DynamicSupervisor)  # one kind of children, no order
        self.up = False
        self.ignored = False
        self.info: object = None
        self.exit: Exit | None = None
        self.cancelled = False
        self.scope: trio.CancelScope | None = None  # while it lives
        self.nursery: trio.Nursery
        self.leaving: Exit | None = None
        self.verdict: BaseException | Killed | None = None
        self.slots: dict[str, Slot] = {}  # in start order
        self.inbox: deque[Exited | Retry | Call] = deque()
        self.todo: list[Action] | None = None  # decided by a child on duty, for this task to run
        self.idle = False  # sleeps in `_mind`, with nothing to do
        self.alarm = False  # a sibling's failure will end this supervisor: call off the start
        self.fatal: list[BaseException] = []  # KeyboardInterrupt and the like: never supervised
        self.random: random.Random | None = None
        self._parked: trio.lowlevel.Task | None = None
        self._outcome = Verdict(None)
        self._errors: list[BaseException] = []
        static = spec if isinstance(spec, Supervisor) else None
        self._lasting = {child.id for child in static.children} if static else frozenset()
        self.core = Core(
            strategy=static.strategy if static else RestartStrategy.ONE_FOR_ONE,
            intensity=spec.intensity,
            auto_shutdown=static.auto_shutdown if static else AutoShutdown.NEVER,
            policy=self.policy,
        )
        self.judge = Judge(self.core)
        self.records = Records(path, self.core.window, kernel.events)
        self.starter = Starter(self)
        self.stopper = Stopper(self)
        self.duty = Duty(self)
        kernel.controls[path] = self

    # -- the whole life ------------------------------------------------------------------------

    @enable_ki_protection
    async def live(self, scope: trio.CancelScope) -> None:
        """Start the children, mind them, stop them. Raises only what cancels ``scope``."""
        self.scope = scope
        if self.cancelled:  # condemned before it got here
            scope.cancel()
        try:
            async with trio.open_nursery() as self.nursery:
                await self._live()
        except Exception as error:  # noqa: BLE001 - it is the exit
            self._errors.append(error)

    async def wind_up(self) -> None:
        """Report the exit. All children have ended."""
        self._report(self._outcome, self._errors)

    def absorb(self, error: BaseException) -> None:
        """Keep an error; tell a cancellation that was asked for from one that strayed in."""
        cancelled, rest = split_cancelled(error)
        if rest is not None:
            self._errors.append(rest)
        if cancelled is None:
            return
        if cancelled_from_outside():
            self.cancelled = True
            self.verdict = self.verdict or KILLED
        else:
            self._errors.append(stray(self.path, cancelled))

    async def _live(self) -> None:
        self.emit(SupervisorStarting, incarnation=self.number)
        verdict = await self.starter.start_all()
        if verdict is None:
            self.up = True
            self.emit(SupervisorStarted, incarnation=self.number)
            self.on_up(self)
            verdict = await self._mind()
        self._outcome = verdict  # kept first: it may be cancelled while it stops
        await self.stopper.stop_all()

    def _report(self, verdict: Verdict, errors: list[BaseException]) -> None:
        if isinstance(self.verdict, BaseException):
            errors.append(self.verdict)
        self.exit = exit_of(self, verdict, [*self.fatal, *errors])
        for slot in tuple(self.slots.values()):
            slot.cancel_timer()
            if slot.key not in self._lasting:  # the next incarnation will not know it
                self.forget(slot, SHUTDOWN, spec_too=True)
        for entry in self.inbox:
            if isinstance(entry, Call):
                entry.finish(error=self.kernel.box(self.path).absent())
        self.inbox.clear()
        self.emit(SupervisorEnded, incarnation=self.number, exit=self.exit)
        self.on_end(self)

    # -- being told to end ---------------------------------------------------------------------

    def leave(self, reason: Exit) -> None:
        """Ask it to stop its children in reverse order and end. The first reason stands."""
        if self.leaving is None:
            self.leaving = reason
            self.wake()

    def fail(self, error: BaseException) -> None:
        """End with an error of its own: stop the children in order, then fail."""
        self._errors.append(error)
        self.leave(SHUTDOWN)

    def call_off(self) -> None:
        """End its start: stop what was started, in reverse order."""
        self.leave(SHUTDOWN)

    def condemn(self, verdict: BaseException | Killed) -> None:
        """Cancel the whole subtree, now."""
        if self.exit is None:
            self.verdict = self.verdict or verdict
            self.cancelled = True
            if self.scope is not None:
                self.scope.cancel()
            for slot in self.slots.values():
                if slot.life is not None:
                    slot.life.condemn(KILLED)  # `stopping` is shielded from our scope

    # -- waiting -------------------------------------------------------------------------------

    async def park(self) -> None:
        """Sleep until `wake`. Only for this supervisor's own task."""
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort_park)

    def _abort_park(self, _raise_cancel: object) -> Abort:
        self._parked = None
        return Abort.SUCCEEDED

    @enable_ki_protection
    def wake(self) -> None:
        """Let the supervisor look again at what it waits for."""
        if self._parked is not None:
            task, self._parked = self._parked, None
            reschedule(task)

    def push(self, entry: Retry | Call) -> None:
        """Put something at the end of the inbox."""
        self.inbox.append(entry)
        self.wake()

    @property
    def asleep(self) -> bool:
        """Whether this supervisor's task sleeps with nothing to do."""
        return self.idle and self._parked is not None

    # -- children ------------------------------------------------------------------------------

    def nested(self, slot: Slot, spec: SupervisorSpec) -> SupervisorLife:
        """Build an incarnation of a child that is a supervisor."""
        return SupervisorLife(
            spec,
            slot.path,
            self.kernel,
            policy=self.policy,
            host=self.host,
            on_up=self.child_up,
            on_end=slot.on_end or self.bind(slot),
        )

    def bind(self, slot: Slot) -> Callable[[Life], None]:
        """Return what each incarnation of a child calls as its last act."""

        def on_end(life: Life) -> None:
            self._child_ended(slot, life)

        slot.on_end = on_end
        return on_end

    # -- children that came up or ended --------------------------------------------------------

    def child_up(self, _life: Life) -> None:
        """A child that was waited for is up."""
        self.wake()

    @enable_ki_protection
    def _child_ended(self, slot: Slot, life: Life) -> None:
        """The last act of a child."""
        exit_ = life.exit
        assert exit_ is not None, "it has ended"
        if not life.up:
            self.wake()
            return
        self._tell_watchers(slot, life, exit_)
        entry = Exited(slot, life)
        self.inbox.append(entry)
        if isinstance(exit_, Failed) and not isinstance(exit_.error, Exception):
            self.fatal.append(exit_.error)
        elif self.starter.is_disturbed_by(entry):
            self.alarm = True
        elif self.duty.take(slot):
            return
        self.wake()

    def _tell_watchers(self, slot: Slot, life: Life, exit_: Exit) -> None:
        box = self.kernel.boxes.get(slot.path)
        if box is not None and box.watchers:
            note = Terminated(path=slot.path, incarnation=life.number, exit=exit_)
            for watcher in tuple(box.watchers):
                watcher.put_system(note)

    # -- minding -------------------------------------------------------------------------------

    async def _mind(self) -> Verdict:
        """React to events until told to leave or until giving up."""
        while self.todo is not None or not self._must_end:
            verdict: Verdict | None = None
            if self.todo is not None:
                actions, self.todo = self.todo, None
                verdict = await self._run(actions)
            elif not self.inbox:
                self.idle = True
                await self.park()
                self.idle = False
            else:
                verdict = await self._react(self.inbox.popleft())
            if verdict is not None:
                return verdict
            if not self._must_end:
                self.stopper.errors.clear()  # what went on well is no failure of the next stop
        return Verdict(None)

    @property
    def _must_end(self) -> bool:
        """Whether it was told to end, or something happened that is never supervised."""
        return self.leaving is not None or bool(self.fatal)

    async def _react(self, entry: Exited | Retry | Call) -> Verdict | None:
        if isinstance(entry, Exited):
            return await self._run(self.decide(entry))
        if isinstance(entry, Retry):
            return await self._on_retry(entry)
        await entry.carry_out(lambda: self.kernel.box(self.path).absent())
        return None

    def decide(self, first: Exited) -> list[Action]:
        """Decide on an end, together with all others that wait if the policy says so."""
        self.alarm = False
        entries = [first]
        if self.policy.together and self.inbox:
            entries += [entry for entry in self.inbox if isinstance(entry, Exited)]
            self.inbox = deque(e for e in self.inbox if not isinstance(e, Exited))
        # an end that was swallowed by a stop (R15) has no place any more
        judged = [self.judge.judge(entry) for entry in entries if entry.slot.life is entry.life]
        if not judged:
            return []
        for entry in entries:
            if entry.slot.life is entry.life:
                entry.slot.life = None
        now_s = trio.current_time()
        self.records.begin(judged, now_s)
        return self.core.on_exits([one.ended for one in judged], now_s)

    async def _on_retry(self, entry: Retry) -> Verdict | None:
        now_s = trio.current_time()
        used = self.core.window.used(now_s)
        actions = self.core.on_retry(entry.key, entry.generation, now_s)
        if actions:
            self.records.resume(entry.key, used, now_s)
        return await self._run(actions)

    async def _run(self, actions: Iterable[Action]) -> Verdict | None:
        """Run actions in order; a start that fails replaces the rest by what to do about it."""
        todo = deque(actions)
        while todo:
            if self._must_end and not isinstance(todo[-1], GiveUp):  # a failure is never skipped
                break
            action = todo.popleft()
            match action:
                case ReportTerminated(key, exit_):
                    self.emit(ChildTerminated, child=key, exit=exit_)
                case Stop(key):
                    instead = await self._stop_in_group(self.slots[key])
                    todo = todo if instead is None else deque(instead)
                case StartChild(key):
                    instead = await self._restart(self.slots[key])
                    if instead is not None:
                        todo = deque(instead)
                case Later():
                    self._schedule(action)
                case GoneForGood(key, exit_, forgotten):
                    self.forget(self.slots[key], exit_, spec_too=forgotten or self.dynamic)
                case Finish():
                    self.records.close(Outcome.FINISHED)
                    return Verdict(None)
                case GiveUp():
                    return await self._give_up(action)
        self.records.close()
        return None

    async def _stop_in_group(self, slot: Slot) -> list[Action] | None:
        """Stop a sibling; return what to do instead if it waits for the whole system to stop."""
        proof = await self.stopper.stop(slot)
        self.records.stopped(proof)
        if self.core.stopped(slot.key):
            self.forget(slot, SHUTDOWN, spec_too=True)
        error = proof.exit.error if proof is not None and isinstance(proof.exit, Failed) else None
        if not isinstance(error, SupervisorFailed) or error.why is not GaveUpWhy.SHUTDOWN:
            return None
        return [GiveUp(slot.key, error.why, error.severity)]

    async def _restart(self, slot: Slot) -> list[Action] | None:
        """Run one start of a plan; return what to do instead of the rest, if it failed."""
        outcome = await self.starter.start(slot)
        match outcome:
            case StartOutcome.UP:
                self.records.restarted(slot.path)
                return None
            case StartOutcome.IGNORED:
                self.settle_ignored(slot)
                return None
            case StartOutcome.CALLED_OFF:
                return []  # the rest of its group stays down, as in OTP (R12)
            case StartOutcome.FAILED:
                return self.on_failed_restart(slot)

    def on_failed_restart(self, slot: Slot) -> list[Action]:
        """Decide after a restart did not come up."""
        error = slot.error
        assert error is not None, "a failed start has an error"
        if not isinstance(error, Exception):
            self.fatal.append(error)
            return []
        severity, decided_by = self.judge.severity(slot, error)
        failed = StartFailed(path=slot.path, cause=error)
        ended = Ended(slot.key, Failed(failed), severity)
        number = self.kernel.incarnations[slot.path]
        self.records.start_failed(Judged(ended, slot.path, number, failed, decided_by))
        return self.core.on_start_failed(slot.key, severity)

    def settle_ignored(self, slot: Slot) -> None:
        """An ignored child keeps its spec unless it is temporary or dynamic (R5)."""
        forgotten = self.core.members[slot.key].temporary or self.dynamic
        self.forget(slot, SHUTDOWN, spec_too=forgotten)

    def _schedule(self, later: Later) -> None:
        """Bring a restart back: at once behind what waits, or after its delay (R9)."""
        slot = self.slots[later.key]
        retry = Retry(later.key, later.generation)
        delay_s = self._jittered(later.delay_s)
        self.records.waiting(delay_s)
        if delay_s <= 0:
            self.push(retry)
            return
        self.emit(RestartScheduled, child=later.key, delay_s=delay_s, attempt=later.attempt)
        alone = self.core.strategy is RestartStrategy.ONE_FOR_ONE
        for each in (slot,) if alone else self.slots.values():  # a group waits together
            if each.life is None:
                self.kernel.refuse_below(each.path, self.records.error_of(later.key))
        when_s = trio.current_time() + delay_s
        slot.timer = self.kernel.timers.call_at(when_s, lambda: self.push(retry))

    def _jittered(self, delay_s: float) -> float:
        if delay_s <= 0:
            return 0.0
        if self.random is None:
            self.random = seams.random_source()
        return self.policy.backoff.jittered_s(delay_s, self.random.random())

    def forget(self, slot: Slot, exit_: Exit, *, spec_too: bool) -> None:
        """A child will not be started by itself again: its address leads to dead letters."""
        slot.cancel_timer()
        cause = exit_.error if isinstance(exit_, Failed) else None
        self.kernel.close_below(slot.path, DeadLetterWhy.STOPPED, cause)
        if spec_too:
            self.slots.pop(slot.key, None)
            self.core.members.pop(slot.key, None)
            if slot.key not in self._lasting:
                self.kernel.retire(slot.path, count_too=self.dynamic)  # keys may be new for ever

    async def _give_up(self, action: GiveUp) -> Verdict:
        """Close the books; a failure that must stop the whole system waits to be stopped."""
        why = action.why
        self.emit(SupervisorGaveUp, child=action.key, why=why.value, severity=action.severity)
        errors = self.records.errors_for(why, trio.current_time())
        if not errors:
            path = f"{self.path}/{action.key}"
            text = f"{path} ended, and {self.path} may not restart it again"
            errors = (SupervisionError(text, path=path),)
        self.records.close(Outcome.GAVE_UP, why)
        verdict = Verdict(why, errors, action.severity, self.records.last())
        if why is GaveUpWhy.SHUTDOWN:
            failed = exit_of(self, verdict, [])
            if isinstance(failed, Failed) and isinstance(failed.error, SupervisorFailed):
                self.host.halt(failed.error)
                while self.leaving is None and not self.fatal:
                    await self.park()
        return verdict

    # -- events --------------------------------------------------------------------------------

    @property
    def listened(self) -> bool:
        """Whether anybody listens to the event stream."""
        return bool(self.kernel.events.listeners)

    def emit(
        self, event: Callable[..., Event], *, path: str | None = None, **fields: object
    ) -> None:
        """Make and emit an event if somebody listens."""
        if self.kernel.events.listeners:
            self.kernel.events.emit(
                event(at_s=trio.current_time(), path=path or self.path, **fields)
            )
