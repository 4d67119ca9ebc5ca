"""What the end of a child means: its exit classified, and whether it ends the supervisor.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from ringfence.actors.errors import ActorKilled
from ringfence.actors.lifecycle import Exit, Failed, Killed
from ringfence.supervisors.decide import Ended
from ringfence.supervisors.policy import Directive
from ringfence.supervisors.severity import Classification, classify

if TYPE_CHECKING:
    from ringfence.supervisors.child import Exited, Slot
    from ringfence.supervisors.decide import Core


@define(eq=False)
class Judged:
    """One ended child: what the rules need (``ended``) and what the record keeps.

    Not frozen, for speed: it is made on each restart.
    """

    ended: Ended
    path: str
    incarnation: int
    error: BaseException | None
    decided_by: Exception | None


class Judge:
    """Classifies for one supervisor."""

    __slots__ = ("_core",)

    def __init__(self, core: Core) -> None:
        self._core = core

    def classify(self, slot: Slot, error: Exception) -> Classification:
        """Classify a failure of the child in ``slot``."""
        member = self._core.members.get(slot.key)
        return classify(
            error,
            component=slot.path,
            recent_failures=0 if member is None else member.failures,
            rules=self._core.policy.rules,
        )

    def judge(self, entry: Exited) -> Judged:
        """Classify how a child ended."""
        slot, exit_ = entry.slot, entry.life.exit
        assert exit_ is not None, "it has ended"
        error = error_of(exit_, slot.path)
        if not isinstance(error, Exception):
            return Judged(Ended(slot.key, exit_, None), slot.path, entry.life.number, error, None)
        found = self.classify(slot, error)
        ended = Ended(slot.key, exit_, found.severity)
        return Judged(ended, slot.path, entry.life.number, error, found.decided_by)

    def is_gravest(self, entry: Exited) -> bool:
        """Whether this end will end the supervisor, whatever else happens."""
        member = self._core.members.get(entry.slot.key)
        severity = self.judge(entry).ended.severity
        if severity is None or member is None:
            return False
        directive = member.directives[severity]
        if directive is Directive.SHUTDOWN:
            return True
        return directive is Directive.ESCALATE and not member.temporary


def error_of(exit_: Exit, path: str) -> BaseException | None:
    """Return the error an exit stands for; ``None`` if it is no failure."""
    match exit_:
        case Failed(error):
            return error
        case Killed():
            return ActorKilled(path=path)
        case _:
            return None
