"""Restarting without waking the supervisor: the child that ended first decides, one pass later.

All that ended in one pass of the scheduler are decided together, so somebody has to look one pass
later. If the supervisor's task sleeps, that is the task of the child that ended first: it has the
*duty*. If the decision is only to start that child again, its successor runs in the same task and
the supervisor sleeps on: half the cost of a restart. In all other cases the decision is handed to
the supervisor's task to carry out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio.lowlevel import cancel_shielded_checkpoint

from ringfence.actors.events import ChildTerminated
from ringfence.supervisors.child import Exited
from ringfence.supervisors.decide import ReportTerminated, StartChild

if TYPE_CHECKING:
    from ringfence.supervisors.child import Life, Slot
    from ringfence.supervisors.decide import Action
    from ringfence.supervisors.supervisor import SupervisorLife


class Duty:
    """Who of the children of one supervisor decides on the ends of this pass."""

    __slots__ = ("_sup", "holder")

    def __init__(self, sup: SupervisorLife) -> None:
        self._sup = sup
        self.holder: Slot | None = None

    def take(self, slot: Slot) -> bool:
        """Give the duty to the child in ``slot`` if nobody has it and the supervisor sleeps."""
        if self.holder is None and self._sup.asleep:
            self.holder = slot
            return True
        return False

    async def succession(self, slot: Slot) -> Life | None:
        """Decide on the ends of this pass, if this child has the duty; return its successor.

        ``None``: this task has nothing more to run, the supervisor's task carries on.
        """
        if self.holder is not slot:
            return None
        self._sup.starter.refresh_context()
        await cancel_shielded_checkpoint()
        self.holder = None
        if not (self._sup.asleep and self._sup.inbox):
            return None  # the supervisor was woken meanwhile and has dealt with it
        first = self._sup.inbox.popleft()
        assert isinstance(first, Exited), "anything else would have woken the supervisor"
        actions = self._sup.decide(first)
        successor = self._succeed_in_place(slot, actions)
        if successor is None:
            self._sup.todo = actions
        if successor is None or self._sup.inbox:
            self._sup.wake()
        return successor

    def excuse(self, slot: Slot) -> None:
        """The task of ``slot`` has ended: whatever its duty was, the supervisor looks itself."""
        if self.holder is slot:
            self.holder = None
            self._sup.wake()

    def _succeed_in_place(self, slot: Slot, actions: list[Action]) -> Life | None:
        """Build the successor here if nothing else is to be done and nothing can go wrong."""
        if slot.waits or not self._only_restarts(slot, actions):
            return None
        for action in actions[:-1]:
            assert isinstance(action, ReportTerminated), "looked at above"
            self._sup.emit(ChildTerminated, child=action.key, exit=action.exit)
        slot.error = None
        try:
            successor = slot.life = self._sup.starter.build(slot)
        except BaseException as error:  # noqa: BLE001 - a constructor that fails is a failed start
            self._sup.starter.failed(slot, error)
            actions[:] = self._sup.on_failed_restart(slot)
            return None
        self._sup.starter.came_up(slot)
        self._sup.records.restarted(slot.path)
        self._sup.records.close()
        return successor

    def _only_restarts(self, slot: Slot, actions: list[Action]) -> bool:
        """Whether the decision is to start that child again, and nothing else."""
        match actions:
            case [StartChild(key)] | [ReportTerminated(), StartChild(key)]:
                return key == slot.key
            case _:
                return False
