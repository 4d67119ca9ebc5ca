"""What a supervisor does about a failure: severity -> directive, and how long to wait.

    >>> DEFAULT.directives[Severity.LOW]
    <Directive.RESTART: 'restart'>
    >>> Backoff(initial_s=1.0, factor=2.0, max_s=60.0).nominal_s(attempt=4)
    8.0

Severity is a fact about a failure; a directive is a decision. They meet only in the table here,
which a supervisor or a single child may replace.

Pure: no clock, no I/O, no randomness.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from ringfence.actors.errors import Severity
from ringfence.supervisors.severity import DEFAULT_RULES, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping


class Directive(enum.Enum):
    """What to do about one failure, from the mildest to the gravest."""

    __hash__ = object.__hash__  # by identity: several times faster as a key than by name

    RESUME = "resume"
    """Drop the message, keep the state, go on. Counts against the child's own budget. A failure
    outside a handler (in a background task, say) cannot be resumed: it restarts."""

    RESTART = "restart"
    """Start the next incarnation at once, as the restart strategy says."""

    RESTART_AFTER_BACKOFF = "restart_after_backoff"
    """The same after a delay that grows with each failure in a row."""

    STOP = "stop"
    """End this child only and stay up without it."""

    ESCALATE = "escalate"
    """Stop all children and fail; the parent decides, at a severity one step lower."""

    SHUTDOWN = "shutdown"
    """Stop the whole system, through its emergency path. Never restarted unattended."""


DIRECTIVES_DEFAULT: Final[Mapping[Severity, Directive]] = {
    Severity.LOW: Directive.RESTART,
    Severity.MEDIUM: Directive.RESTART_AFTER_BACKOFF,
    Severity.HIGH: Directive.ESCALATE,
    Severity.CRITICAL: Directive.SHUTDOWN,
}


@frozen(kw_only=True)
class Backoff:
    """How long to wait before a restart.

    The n-th wait in a row (n from 1) is ``min(max_s, initial_s * factor ** (n - 1))``, spread
    evenly over ``+- jitter`` of itself, and never more than ``max_s``. With the defaults: 1, 2, 4,
    ... 60 s, each +- 25 %. Failures that were restarted at once do not count.

    Attributes:
      initial_s: the first wait, in seconds, at least 0. Default 1.
      factor: growth per wait in a row, at least 1. Default 2.
      max_s: no wait is longer, jitter included. Default 60.
      jitter: half-width of the spread as a share of the wait, 0 to 1. Default 0.25.
      stable_s: a child that was up this long starts again at ``initial_s``. Default 60.
    """

    initial_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.25
    stable_s: float = 60.0

    def nominal_s(self, attempt: int) -> float:
        """Return the ``attempt``-th wait in a row, from 1, before jitter."""
        if self.initial_s <= 0:
            return 0.0
        # log first: factor ** attempt overflows long before attempt does
        growth = (attempt - 1) * math.log(self.factor)
        if growth >= math.log(self.max_s / self.initial_s):
            return self.max_s
        return min(self.max_s, self.initial_s * self.factor ** (attempt - 1))

    def jittered_s(self, nominal_s: float, chance: float) -> float:
        """Return the wait with its jitter; ``chance`` is uniform in [0, 1)."""
        spread = nominal_s * self.jitter * (2 * chance - 1)
        return min(self.max_s, max(0.0, nominal_s + spread))


@frozen(kw_only=True)
class Policy:
    """How one supervisor reacts. A supervisor without one has its parent's; the root, `DEFAULT`.

    Attributes:
      directives: severity -> directive; must name all four severities.
      backoff: for `Directive.RESTART_AFTER_BACKOFF`.
      no_progress_max: give up after this many failures of one child in a row without being up
        for ``backoff.stable_s`` in between; ``None``: no limit. Closes the hole that a slow crash
        loop never fills the intensity window. Default 20.
      together: decide failures of the same scheduling batch as one (one group restart, one charge
        to the intensity, one incident). OTP decides them one by one.
      failed_supervisors_exit_shutdown: a supervisor that gave up exits as `Shutdown`, as in OTP,
        where a transient supervisor that gave up is then not restarted. Ours is a failure.
      rules: how errors are classified; see `ringfence.supervisors.severity`.
    """

    directives: Mapping[Severity, Directive] = field(factory=lambda: DIRECTIVES_DEFAULT)
    backoff: Backoff = Backoff()
    no_progress_max: int | None = 20
    together: bool = True
    failed_supervisors_exit_shutdown: bool = False
    rules: Rules = DEFAULT_RULES

    def with_directives(self, changes: Mapping[Severity, Directive]) -> Policy:
        """Return this policy with some rows of the table replaced."""
        return evolve(self, directives={**self.directives, **changes})


DEFAULT: Final = Policy()
"""LOW restarts at once, MEDIUM after backoff, HIGH escalates, CRITICAL stops the system."""

OTP: Final = Policy(
    directives=dict.fromkeys(Severity, Directive.RESTART),
    no_progress_max=None,
    together=False,
    failed_supervisors_exit_shutdown=True,
)
"""Erlang/OTP's behaviour: every failure restarts at once, only the intensity limits."""
