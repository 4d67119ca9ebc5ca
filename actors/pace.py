"""One time slice shared by all actors, so that a hundred busy ones do not starve the loop.

Each actor handles messages in a row without a checkpoint. If each had a slice of its own, a
hundred of them would keep timers and sockets waiting for a hundred slices. So the slice belongs
to the *pass* of the scheduler: who finds it used up yields, and the first one to run again opens
the next.

How a pass is recognised without a hook into the scheduler: everybody who yields remembers the
number of the slice that was used up. All who yielded in one pass run again in the next; the first
of them finds the number unchanged and opens a new slice, the others find it changed and share it.

Handing out is counted in messages (`batch`) and the clock is read once a batch: the batch grows
while handlers are quick and shrinks at once when they are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors import seams

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE_S: Final = 0.001
"""How long actors may run in a row, together, before timers and sockets get their turn."""

BATCH_MAX: Final = 64
"""Messages handled between two looks at the clock, at most."""


class Pace:
    """The shared slice. One per running tree."""

    __slots__ = ("_clock", "_ends_s", "_number", "slice_s")

    def __init__(self, slice_s: float = SLICE_S, clock: Callable[[], float] | None = None) -> None:
        self.slice_s = slice_s
        self._clock = clock if clock is not None else seams.slice_clock()
        self._number = 0
        self._ends_s = 0.0

    def now_s(self) -> float:
        """Read the clock the slice is measured with (real seconds, even under a virtual clock)."""
        return self._clock()

    def used_up(self, now_s: float) -> bool:
        """Say whether the slice of this pass is over."""
        return now_s >= self._ends_s

    async def give_way(self) -> None:
        """Yield to the scheduler, then open the next slice or join the one just opened."""
        number = self._number
        await trio.lowlevel.checkpoint()
        if self._number == number:
            self._number += 1
            self._ends_s = self._clock() + self.slice_s


def next_batch(batch: int, took_s: float, slice_s: float) -> int:
    """Return how many messages to handle before the next look at the clock.

    Doubles up to `BATCH_MAX` while a batch takes less than a quarter of the slice; otherwise
    shrinks in proportion, so that one batch of slow handlers overruns the slice at most once.
    """
    if took_s * 4 < slice_s:
        return min(batch * 2, BATCH_MAX)
    return max(1, min(batch, int(batch * slice_s / (took_s * 4))))
