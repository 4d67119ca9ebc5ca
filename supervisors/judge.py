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
from ringfence.supervisors.severity import severity_of

if TYPE_CHECKING:
    from ringfence.actors.errors import Severity
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

    def severity(self, slot: Slot, error: Exception) -> tuple[Severity, Exception]:
        """Return how bad a failure of the child in ``slot`` is, and which exception decided so."""
        member = self._core.members.get(slot.key)
        return severity_of(
            error,
            component=slot.path,
            recent_failures=0 if member is None else member.failures,
            rules=self._core.policy.rules,
        )

    def judge(self, entry: Exited) -> Judged:
        """Classify how a child ended."""
        slot, life = entry.slot, entry.life
        exit_ = life.exit
        assert exit_ is not None, "it has ended"
        error = error_of(exit_, slot.path)
        if not isinstance(error, Exception):
            return Judged(Ended(slot.key, exit_, None), slot.path, life.number, error, None)
        severity, decided_by = self.severity(slot, error)
        ended = Ended(slot.key, exit_, severity)
        return Judged(ended, slot.path, life.number, error, decided_by)

    def is_gravest(self, entry: Exited, *, booting: bool) -> bool:
        """Whether this end must not wait for the start of another child.

        While the supervisor boots, only a failure that stops the whole system: any other is
        decided when all children are up, as if it had come a moment later.
        """
        member = self._core.members.get(entry.slot.key)
        severity = self.judge(entry).ended.severity
        if severity is None or member is None:
            return False
        directive = member.directives[severity]
        if directive is Directive.SHUTDOWN:
            return True
        return directive is Directive.ESCALATE and not (member.temporary or booting)


def error_of(exit_: Exit, path: str) -> BaseException | None:
    """Return the error an exit stands for; ``None`` if it is no failure."""
    if isinstance(exit_, Failed):
        return exit_.error
    return ActorKilled(path=path) if isinstance(exit_, Killed) else None
