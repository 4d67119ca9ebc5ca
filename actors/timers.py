"""One timer service for all actors of a running tree: a heap, and one task that sleeps.

Ask deadlines, ``after`` and ``every``, backoff, start and stop deadlines all live here. A trio
cancel scope costs more than delivering twenty messages; an entry in this heap costs about one.

It does not know what a callback does. Callbacks are synchronous, short, and must not raise.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_PRUNE_AT_LEAST = 64


class Timer:
    """One pending call. `cancel` it as often as you like; after it fired that does nothing."""

    __slots__ = ("_call", "_service", "when_s")

    def __init__(self, service: Timers, when_s: float, call: Callable[[], None]) -> None:
        self._service = service
        self.when_s = when_s
        self._call: Callable[[], None] | None = call

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None

    def cancel(self) -> None:
        """Make sure the call will not happen."""
        if self._call is not None:
            self._call = None
            self._service.forget_one()

    def fire(self) -> None:
        """Make the call now, once; nothing if it was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class PeriodicTimer(Timer):
    """A timer that comes again, without drift; periods it missed are skipped."""

    __slots__ = ("_first_s", "_period_s", "_turn")

    def __init__(
        self,
        service: Timers,
        when_s: float,
        call: Callable[[], None],
        period_s: float,
    ) -> None:
        super().__init__(service, when_s, call)
        self._first_s = when_s
        self._period_s = period_s
        self._turn = 0  # times are counted from the first one: adding up would drift

    def fire(self) -> None:
        """Make the call, and wait for the next time that is still to come."""
        call = self._call
        if call is not None:
            self.when_s = self._next_s(trio.current_time())
            self._service.put(self)
            call()

    def _next_s(self, now_s: float) -> float:
        passed = int((now_s - self._first_s) // self._period_s)
        self._turn = max(self._turn, passed) + 1
        if self._first_s + self._turn * self._period_s <= now_s:  # the division was rounded down
            self._turn += 1
        # A period too short for the clock's precision must not stand still.
        return max(self._first_s + self._turn * self._period_s, math.nextafter(now_s, math.inf))


class Timers:
    """The heap and the task. Times are seconds of `trio.current_time`, so a virtual clock works."""

    __slots__ = ("_cancelled", "_heap", "_seq", "_sleep", "_wakes_s")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []  # the number keeps equal times in order
        self._seq = 0
        self._cancelled = 0  # cancelled entries still in the heap; they are swept in bulk
        self._sleep: trio.CancelScope | None = None
        self._wakes_s = -math.inf  # when the task wakes by itself

    def call_at(self, when_s: float, call: Callable[[], None]) -> Timer:
        """Call ``call()`` at ``when_s``, or as soon as the loop is free after it.

        Calls due at the same time happen in the order they were asked for.
        """
        timer = Timer(self, when_s, call)
        self._seq += 1  # as `put`, without the call: each ask comes here
        heapq.heappush(self._heap, (when_s, self._seq, timer))
        if when_s < self._wakes_s and self._sleep is not None:
            self._wakes_s = self._sleep.deadline = when_s
        return timer

    def call_every(
        self, first_s: float, period_s: float, call: Callable[[], None]
    ) -> PeriodicTimer:
        """Call ``call()`` at ``first_s`` and then every ``period_s`` seconds, until cancelled."""
        timer = PeriodicTimer(self, first_s, call, period_s)
        self.put(timer)
        return timer

    def put(self, timer: Timer) -> None:
        """Put a timer into the heap, and see to it that the task wakes in time for it."""
        self._seq += 1
        when_s = timer.when_s
        heapq.heappush(self._heap, (when_s, self._seq, timer))
        if when_s < self._wakes_s and self._sleep is not None:
            self._wakes_s = self._sleep.deadline = when_s

    def pending_count(self) -> int:
        """Return how many calls are still to come."""
        return len(self._heap) - self._cancelled

    def forget_one(self) -> None:
        """Note that one entry of the heap was cancelled; sweep when they are the majority."""
        self._cancelled += 1
        if self._cancelled > _PRUNE_AT_LEAST and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Sleep and fire until cancelled."""
        while True:
            self._fire_due(trio.current_time())
            self._wakes_s = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=self._wakes_s) as self._sleep:
                await trio.sleep_forever()

    def _fire_due(self, now_s: float) -> None:
        heap = self._heap
        while heap and (heap[0][0] <= now_s or not heap[0][2].pending):
            timer = heapq.heappop(heap)[2]
            if timer.pending:
                timer.fire()
            else:
                self._cancelled -= 1
            heap = self._heap  # a callback may have swept the heap
