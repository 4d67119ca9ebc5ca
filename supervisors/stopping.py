"""How a supervisor stops children: asked, given grace, cancelled, and proved to have ended."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.events import ChildStopFailed, DeadLetterWhy, StopOverdue
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Failed
from ringfence.supervisors.child import Exited
from ringfence.supervisors.incident import ChildStopped, StopProof
from ringfence.supervisors.spec import (
    BRUTAL_KILL,
    BrutalKill,
    Child,
    DynamicSupervisor,
    SupervisorSpec,
)

if TYPE_CHECKING:
    from ringfence.actors.lifecycle import Exit
    from ringfence.actors.timers import Timer
    from ringfence.supervisors.child import Life, Slot
    from ringfence.supervisors.supervisor import SupervisorLife

OVERDUE_EVERY_S: Final = 5.0


class Stopper:
    """Stops the children of one supervisor, and keeps what went wrong."""

    __slots__ = ("_sup", "errors")

    def __init__(self, sup: SupervisorLife) -> None:
        self._sup = sup
        self.errors: list[BaseException] = []

    async def stop(self, slot: Slot) -> StopProof | None:
        """Stop one child and wait until it has ended (R13); ``None`` if it was not running."""
        slot.cancel_timer()
        life = slot.life
        if life is None:
            return None
        began_s = trio.current_time()
        found_dead = life.exit is not None  # its end is in the inbox: swallowed here (R15)
        timer = None if found_dead else self._ask(slot, life)
        try:
            while life.exit is None:
                await self._sup.park()
        finally:
            if timer is not None:
                timer.cancel()
        proof = self._prove(slot, life, began_s, found_dead=found_dead)
        if not self._answered_well(slot, proof.exit):
            self._sup.emit(ChildStopFailed, child=slot.key, exit=proof.exit)
        return proof

    async def stop_all(self) -> None:
        """Stop everything in reverse start order; dynamic children all at once (R13, R16)."""
        if "/" not in self._sup.path:  # the root: nobody would start anything again
            self._sup.kernel.ending = True
        if self._sup.dynamic:
            await self._stop_dynamic()
            return
        for slot in reversed(tuple(self._sup.slots.values())):
            await self.stop(slot)

    async def _stop_dynamic(self) -> None:
        """Ask all, then prove each in the order they end."""
        began_s = trio.current_time()
        running = {slot.life: slot for slot in self._sup.slots.values() if slot.life is not None}
        ended = deque(life for life in running if life.exit is not None)
        asked = {life: self._ask(slot, life) for life, slot in running.items() if not life.exit}
        wrong: dict[str, list[Exit]] = {}
        while running:
            if not ended:
                ended.extend(self._ended_meanwhile())
            if not ended:
                await self._sup.park()
                continue
            life = ended.popleft()
            slot = running.pop(life, None)
            if slot is None:
                continue
            timer = asked.get(life)
            if timer is not None:
                timer.cancel()
            proof = self._prove(slot, life, began_s, found_dead=life not in asked)
            if not self._answered_well(slot, proof.exit):
                wrong.setdefault(str(proof.exit), []).append(proof.exit)
        self._report_dynamic(wrong)

    def _ended_meanwhile(self) -> list[Life]:
        """Take the ends out of the inbox; leave the calls, which are answered at the end."""
        entries = tuple(self._sup.inbox)
        self._sup.inbox.clear()
        self._sup.inbox.extend(entry for entry in entries if not isinstance(entry, Exited))
        return [entry.life for entry in entries if isinstance(entry, Exited)]

    def _report_dynamic(self, wrong: dict[str, list[Exit]]) -> None:
        """Report each way to end wrongly once, with a count: there may be thousands (R16)."""
        spec = self._sup.spec
        assert isinstance(spec, DynamicSupervisor), "only its children are stopped all at once"
        for exits in wrong.values():
            child = spec.template.id
            self._sup.emit(ChildStopFailed, child=child, exit=exits[0], count=len(exits))

    def _ask(self, slot: Slot, life: Life) -> Timer | None:
        """Ask a child to end, and see to it that it is cancelled when its grace is over."""
        spec = slot.spec
        assert isinstance(spec, Child | SupervisorSpec), "a child is an actor or a supervisor"
        brutal = isinstance(spec.shutdown_s, BrutalKill)
        grace_s = 0.0 if isinstance(spec.shutdown_s, BrutalKill) else spec.shutdown_s
        began_s = trio.current_time()
        condemned = brutal

        def late() -> None:
            nonlocal condemned
            if life.exit is not None:  # of many that are stopped at once, it was not the slowest
                return
            if condemned:  # it shields itself: say so, again and again
                waited_s = trio.current_time() - began_s - grace_s
                self._sup.emit(StopOverdue, child=slot.key, waited_s=waited_s)
            else:
                condemned = True
                life.condemn(KILLED)

        if brutal:
            life.condemn(KILLED)
        else:
            life.leave(SHUTDOWN)
        when_s = began_s + (OVERDUE_EVERY_S if brutal else grace_s)
        if when_s == math.inf:
            return None
        return self._sup.kernel.timers.call_every(when_s, OVERDUE_EVERY_S, late)

    def _prove(self, slot: Slot, life: Life, began_s: float, *, found_dead: bool) -> StopProof:
        """Write down how it ended."""
        slot.life = None
        exit_ = life.exit
        assert exit_ is not None, "it has ended"
        if isinstance(exit_, Failed):
            self.errors.append(exit_.error)
        assert isinstance(slot.spec, Child | SupervisorSpec), "a child is an actor or a supervisor"
        brutal = slot.spec.shutdown_s is BRUTAL_KILL
        if life.cancelled and not (brutal or found_dead):
            self._sup.kernel.forced_stops += 1
        proof = StopProof(
            path=slot.path,
            asked=not brutal and not found_dead,
            answered=not life.cancelled,
            took_s=trio.current_time() - began_s,
            cancelled=life.cancelled,
            exit=exit_,
            left_behind=self._left_behind(slot),
        )
        self._sup.emit(ChildStopped, proof=proof)
        if self._sup.kernel.ending:  # a sibling that still runs must not wait for it
            cause = exit_.error if isinstance(exit_, Failed) else None
            self._sup.kernel.close_below(slot.path, DeadLetterWhy.STOPPED, cause)
        return proof

    def _answered_well(self, slot: Slot, exit_: Exit) -> bool:
        """Whether it ended in the way it was asked to (R14)."""
        brutal = getattr(slot.spec, "shutdown_s", None) is BRUTAL_KILL
        return self._sup.core.answered_well(slot.key, exit_, brutal=brutal)

    def _left_behind(self, slot: Slot) -> tuple[str, ...]:
        box = self._sup.kernel.boxes.get(slot.path)
        waiting = 0 if box is None else len(box.normal) + len(box.urgent or ())
        return (f"{waiting} messages not handled",) if waiting else ()
