"""One record per failure: from the first exception to the last action.

What OTP's reports leave out: how much budget was left, how long the restart waits, what happened
to the siblings, and which root cause led to an escalation. `Incident.chain` follows an escalation
down to where it began.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from ringfence.actors.errors import GaveUpWhy, Severity, SupervisorFailed
from ringfence.actors.events import Event
from ringfence.actors.lifecycle import Exit, Failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ringfence.supervisors.judge import Judged


@frozen(kw_only=True)
class StopProof:
    """How one child stopped: proof, not hope.

    Attributes:
      path: the child.
      asked: it was asked to stop (not so for a brutal kill, or if it was found dead).
      answered: it ended by itself within its grace.
      took_s: seconds from the request to its end, all its tasks closed.
      cancelled: its grace was over, or it had none, and it was cancelled.
      exit: how it ended.
      left_behind: what it did not finish, in words: messages that wait, questions refused.
    """

    path: str
    asked: bool
    answered: bool
    took_s: float
    cancelled: bool
    exit: Exit
    left_behind: tuple[str, ...] = ()


@frozen(kw_only=True)
class ChildStopped(Event):
    """A supervisor (``path``) has stopped a child; ``proof`` says how that went."""

    proof: StopProof


@frozen
class Cause:
    """One failed child: how it ended, how severe that is, and which exception decided so."""

    path: str
    incarnation: int
    exit: Exit
    severity: Severity | None
    decided_by: Exception | None = field(default=None, eq=False)


class Outcome(enum.Enum):
    """What the supervisor did in the end."""

    RESTARTED = "restarted"
    WAITING = "restart scheduled"
    STOPPED = "stopped for good"
    GAVE_UP = "gave up"
    FINISHED = "shut down as planned"


@frozen(kw_only=True)
class Incident:
    """What happened, what was decided, what came of it.

    Attributes:
      path: the supervisor.
      opened_at_s, closed_at_s: seconds of `trio.current_time`.
      wall_ns: wall clock when it opened, nanoseconds since 1970.
      causes: the failures decided together, in the order they happened; at least one.
      severity: the worst of them; ``None`` if none was a failure (a permanent child that ended).
      outcome, why: the decision; ``why`` is set if the supervisor gave up.
      budget_max, budget_before, budget_after: restarts allowed and used in the current window.
      delay_s: backoff chosen, jitter included; 0: at once.
      restarted: paths started again, in order.
      stopped: proofs for the siblings stopped on the way, in order.
      failed_starts: children whose restart failed on the way.
    """

    path: str
    opened_at_s: float
    closed_at_s: float
    wall_ns: int
    causes: tuple[Cause, ...]
    severity: Severity | None
    outcome: Outcome
    why: GaveUpWhy | None
    budget_max: int
    budget_before: int
    budget_after: int
    delay_s: float
    restarted: tuple[str, ...]
    stopped: tuple[StopProof, ...]
    failed_starts: tuple[str, ...]

    def chain(self) -> Iterator[Incident]:
        """Yield this incident and those it grew from, down to the first failure."""
        yield self
        for cause in self.causes:
            if isinstance(cause.exit, Failed) and isinstance(cause.exit.error, SupervisorFailed):
                inner = incident_of(cause.exit.error)
                if inner is not None:
                    yield from inner.chain()


@frozen(kw_only=True)
class IncidentRecorded(Event):
    """A failure has been dealt with."""

    incident: Incident = field(eq=False)


def attach(error: SupervisorFailed, incident: Incident) -> None:
    """Keep the incident that ended a supervisor with its error."""
    error.__dict__["incident"] = incident


def incident_of(error: BaseException) -> Incident | None:
    """Return the incident that ended a supervisor, if ``error`` is the error it ended with."""
    incident = error.__dict__.get("incident")
    return incident if isinstance(incident, Incident) else None


@define(eq=False)
class Recorder:
    """An incident while it is open: cheap to write, made into an `Incident` when read."""

    path: str
    opened_at_s: float
    wall_ns: int
    judged: list[Judged]
    budget_max: int
    budget_before: int
    budget_after: int = 0
    closed_at_s: float = 0.0
    delay_s: float = 0.0
    restarted: list[str] = field(factory=list)
    stopped: list[StopProof] = field(factory=list)
    failed_starts: list[str] = field(factory=list)
    outcome: Outcome = Outcome.STOPPED
    why: GaveUpWhy | None = None

    def incident(self) -> Incident:
        """Return the finished record."""
        causes = tuple(_cause(one) for one in self.judged)
        severities = [cause.severity for cause in causes if cause.severity is not None]
        return Incident(
            path=self.path,
            opened_at_s=self.opened_at_s,
            closed_at_s=self.closed_at_s,
            wall_ns=self.wall_ns,
            causes=causes,
            severity=max(severities, default=None),
            outcome=self.outcome,
            why=self.why,
            budget_max=self.budget_max,
            budget_before=self.budget_before,
            budget_after=self.budget_after,
            delay_s=self.delay_s,
            restarted=tuple(self.restarted),
            stopped=tuple(self.stopped),
            failed_starts=tuple(self.failed_starts),
        )


def _cause(judged: Judged) -> Cause:
    ended = judged.ended
    return Cause(judged.path, judged.incarnation, ended.exit, ended.severity, judged.decided_by)
