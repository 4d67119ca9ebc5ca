"""How a supervisor starts one child: build it, run it, wait until it is up or will not be.

A task in the supervisor's nursery runs the incarnations of a child one after another: where the
rules say nothing but "start it again", the successor runs in the same task (see
`duty.py`), which spares the end of one task and the start of another.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Never

import trio
from trio.lowlevel import enable_ki_protection

from ringfence.actors.actor import Actor, accepted_types, has_hook
from ringfence.actors.errors import GaveUpWhy, StartFailed
from ringfence.actors.events import (
    ActorIgnored,
    ActorStartFailed,
    ChildStarted,
    ChildStartFailed,
    DeadLetterWhy,
)
from ringfence.actors.incarnation import Incarnation
from ringfence.actors.lifecycle import Failed
from ringfence.actors.mailbox import OnRestart
from ringfence.actors.outcomes import cancelled_from_outside
from ringfence.actors.terms import Terms
from ringfence.supervisors.budget import Window
from ringfence.supervisors.child import Exited, Life, Slot, StartOutcome, Verdict
from ringfence.supervisors.decide import Member
from ringfence.supervisors.policy import Directive
from ringfence.supervisors.spec import BrutalKill, Child, Spec, Supervisor, SupervisorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.supervisors.spec import Start
    from ringfence.supervisors.supervisor import SupervisorLife


class Starter:
    """Starts the children of one supervisor."""

    __slots__ = ("_context", "_sup", "current")

    def __init__(self, sup: SupervisorLife) -> None:
        self._sup = sup
        self._context = contextvars.copy_context()  # what each incarnation begins with
        self.current: Slot | None = None  # whose start is being waited for

    def admit(self, key: str, spec: Spec, start: Start | None = None) -> Slot:
        """Give a child a place, at the end of the order."""
        sup = self._sup
        if start is None and isinstance(spec, Child):
            start = spec.start
        slot = Slot(key, f"{sup.path}/{key}", spec, start)
        sup.slots[key] = slot
        exhausted = Directive.STOP if sup.dynamic else Directive.ESCALATE
        directives = sup.policy.directives
        sup.core.add(
            Member(
                key=key,
                restart=spec.restart,
                significant=spec.significant,
                directives={**directives, **spec.directives} if spec.directives else directives,
                budget=None if spec.budget is None else Window(spec.budget),
                exhausted=exhausted if spec.exhausted is None else spec.exhausted,
            )
        )
        return slot

    def prepare(self, spec: Spec, path: str) -> None:
        """Make the mailboxes of children that start later take messages already."""
        if isinstance(spec, Child):
            box = self._sup.kernel.box(path, spec.mailbox)
            cls = spec.start.cls
            if box.closed_why is not None and isinstance(cls, type):
                box.open(accepted_types(cls))
        elif isinstance(spec, Supervisor):
            for child in spec.children:
                self.prepare(child, f"{path}/{child.id}")

    async def start_all(self) -> Verdict | None:
        """Start the static children in order (R1); return why not, if not (R3)."""
        if not isinstance(self._sup.spec, Supervisor):
            return None
        for spec in self._sup.spec.children:
            self.prepare(spec, f"{self._sup.path}/{spec.id}")
            self.admit(spec.id, spec)
        for slot in tuple(self._sup.slots.values()):
            outcome = await self.start(slot)
            if outcome is StartOutcome.FAILED:
                assert slot.error is not None, "a failed start has an error"
                return self._start_failed(slot, slot.error)
            if self._sup.alarm:
                return self._sibling_failed()
            if self._sup.leaving is not None or self._sup.fatal:
                return Verdict(None)
            if outcome is StartOutcome.IGNORED:
                self._sup.settle_ignored(slot)
        return None

    def _start_failed(self, slot: Slot, error: BaseException) -> Verdict:
        if isinstance(error, Exception):
            severity, _ = self._sup.judge.severity(slot, error)
            failed = StartFailed(path=slot.path, cause=error)
            return Verdict(GaveUpWhy.START_FAILED, (failed,), severity.lowered())
        self._sup.fatal.append(error)
        return Verdict(None)

    def _sibling_failed(self) -> Verdict:
        """A child that was up failed gravely while the next one started."""
        for entry in self._sup.inbox:
            if isinstance(entry, Exited) and self._sup.judge.is_gravest(entry, booting=True):
                entry.slot.life = None
                error = self._sup.judge.judge(entry).error
                assert error is not None, "only a failure raises the alarm"
                return self._start_failed(entry.slot, error)
        return Verdict(None)

    async def start(self, slot: Slot, *, report: bool = True) -> StartOutcome:
        """Start one child and wait until it is up, or will not be.

        ``report``: say so if it fails (OTP does not for a start through the API, where the caller
        gets the error).
        """
        slot.error = None
        slot.cancel_timer()
        # the constructor and the task see the same context variables, and nobody else theirs
        context = self._context.copy()
        try:
            life = slot.life = context.run(self.build, slot)
        except BaseException as error:  # noqa: BLE001 - a constructor that fails is a failed start
            return self.failed(slot, error, report=report)
        context.run(self._spawn, slot, life)
        if not life.up:
            await self._wait_up(slot, life)
        if life.up:
            self.came_up(slot)
            return StartOutcome.UP
        return self._did_not_come_up(slot, life, report=report)

    def is_disturbed_by(self, entry: Exited) -> bool:
        """Whether a start that is waited for, of another child, has to be called off for this."""
        if self.current in (None, entry.slot):
            return False
        return self._sup.judge.is_gravest(entry, booting=not self._sup.up)

    def _spawn(self, slot: Slot, life: Life) -> None:
        self._sup.nursery.start_soon(self._inhabit, slot, life, name=slot.path)

    async def _wait_up(self, slot: Slot, life: Life) -> None:
        sup = self._sup
        self.current = slot
        try:
            while not life.up and life.exit is None:
                if sup.leaving is not None or sup.alarm or sup.fatal:
                    life.call_off()
                await sup.park()
        finally:
            self.current = None

    def came_up(self, slot: Slot) -> None:
        """Write down and say that a child is up."""
        self._sup.core.up(slot.key, trio.current_time())
        if self._sup.listened and not self._sup.dynamic:
            self._sup.emit(ChildStarted, child=slot.key)

    def _did_not_come_up(self, slot: Slot, life: Life, *, report: bool) -> StartOutcome:
        if isinstance(life.exit, Failed):
            return self.failed(slot, life.exit.error, report=report)
        slot.life = None
        self._sup.core.down(slot.key)
        if not life.ignored:
            return StartOutcome.CALLED_OFF
        self._sup.emit(ActorIgnored, path=slot.path, incarnation=life.number)
        return StartOutcome.IGNORED

    def failed(self, slot: Slot, error: BaseException, *, report: bool = True) -> StartOutcome:
        """Write down and say that a child did not come up."""
        slot.life = None
        slot.error = error
        self._sup.core.down(slot.key)
        if slot.start is not None:
            number = self._sup.kernel.incarnations[slot.path]
            self._sup.emit(ActorStartFailed, path=slot.path, incarnation=number, error=error)
        if report:
            self._sup.emit(ChildStartFailed, child=slot.key, error=error)
        return StartOutcome.FAILED

    @enable_ki_protection
    async def _inhabit(self, slot: Slot, life: Life) -> None:
        """Run incarnations of one child, one after another, as long as nobody else must act."""
        try:
            await self._inhabit_in_turn(slot, life)
        finally:
            self._sup.duty.excuse(slot)

    async def _inhabit_in_turn(self, slot: Slot, first: Life) -> None:
        """Give each incarnation a cancel scope.

        A successor gets the scope of its predecessor as long as nobody cancelled it: to leave one
        and enter another costs more than all else that a restart needs.
        """
        life: Life | None = first
        while life is not None:
            lived = life
            try:
                with trio.CancelScope() as scope:
                    while life is not None and not scope.cancel_called:
                        lived, life = life, None
                        await lived.live(scope)
                        if not scope.cancel_called:
                            life = await self._wind_up(slot, lived)
            except BaseException as error:  # noqa: BLE001 - becomes the exit, or goes on below
                lived.absorb(error)
            if lived.exit is None:
                life = await self._wind_up(slot, lived)
            if cancelled_from_outside():
                await trio.lowlevel.checkpoint_if_cancelled()

    async def _wind_up(self, slot: Slot, life: Life) -> Life | None:
        try:
            await life.wind_up()
            return await self._sup.duty.succession(slot)
        except BaseException as error:
            if life.exit is None:
                raise
            self._sup.fail(error)  # the child has ended: nobody else would hear of it
            return None

    def refresh_context(self) -> None:
        """Let the next incarnation in this task begin with the context variables of a new task."""
        trio.lowlevel.current_task().context = self._context.copy()

    # -- building ------------------------------------------------------------------------------

    def build(self, slot: Slot) -> Life:
        """Build the next incarnation of a child. Raises what its constructor raises."""
        if slot.start is None:
            assert isinstance(slot.spec, SupervisorSpec), "a child is an actor or a supervisor"
            return self._sup.nested(slot, slot.spec)
        number = self._sup.kernel.next_incarnation(slot.path)
        actor: object = slot.start.build()
        if not isinstance(actor, Actor):
            msg = f"{slot.start!r} gave {type(actor).__name__}, which is not an Actor"
            raise TypeError(msg)
        terms = slot.terms or self._settle(slot, actor)
        box = slot.box
        assert box is not None, "settled with the terms"
        if box.closed_why is not None:
            box.open(accepted_types(actor.__class__))
        elif box.spec.on_restart is OnRestart.DROP and number > 1:
            box.bury_all(DeadLetterWhy.RESTART, None)
        box.incarnation = number
        life = Incarnation(actor, box, number, terms)
        if not slot.waits:
            life.bring_up()  # nothing to wait for: saves a pass of the scheduler
        return life

    def _settle(self, slot: Slot, actor: Actor[Never]) -> Terms:
        """Work out what holds for all incarnations of a child."""
        sup, spec, cls = self._sup, slot.spec, actor.__class__
        assert isinstance(spec, Child), "an actor has the spec of one"
        slot.box = sup.kernel.box(slot.path, spec.mailbox)
        slot.waits = has_hook(cls, "started")
        slot.terms = Terms(
            spawner=sup.nursery,
            on_up=sup.child_up,
            on_end=slot.on_end or sup.bind(slot),
            may_resume=self._resumer(slot),
            start_s=spec.start_s,
            shutdown_s=0.0 if isinstance(spec.shutdown_s, BrutalKill) else spec.shutdown_s,
            hang_s=spec.hang_s,
            cleans_up=has_hook(cls, "stopping"),
        )
        return slot.terms

    def _resumer(self, slot: Slot) -> Callable[[Exception], bool] | None:
        """Return the question a failed handler asks: may I drop the message and go on?"""
        member = self._sup.core.members[slot.key]
        if Directive.RESUME not in member.directives.values():
            return None
        window = member.budget or Window(self._sup.spec.intensity)

        def may_resume(error: Exception) -> bool:
            severity, _ = self._sup.judge.severity(slot, error)
            resumes = member.directives[severity] is Directive.RESUME
            return resumes and window.charge(trio.current_time())

        return may_resume
