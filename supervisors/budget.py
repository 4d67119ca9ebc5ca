"""A restart budget: how many restarts fit into a sliding window.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from ringfence.supervisors.spec import Intensity


@define(eq=False)
class Window:
    """Restarts in a sliding window: at most ``restarts_max`` in ``period_s`` seconds.

    Exact to the float; a restart exactly ``period_s`` old still counts. OTP counts whole seconds
    (R8b), which makes its window up to one second longer.
    """

    limit: Intensity
    times_s: deque[float] = field(factory=deque)

    def charge(self, now_s: float) -> bool:
        """Add one restart; return whether the budget held."""
        self.times_s.append(now_s)
        return self.used(now_s) <= self.limit.restarts_max

    def used(self, now_s: float) -> int:
        """Return how many restarts are in the window."""
        while self.times_s and self.times_s[0] < now_s - self.limit.period_s:
            self.times_s.popleft()
        return len(self.times_s)
