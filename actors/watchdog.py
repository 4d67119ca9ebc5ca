"""A handler that takes too long: noticed without a timer per message.

The watchdog stamps the start of each handler and keeps one timer, armed when a handler begins and
none is. When it fires it looks at the stamp: the handler in progress has had its time, or is
looked at again when it will have. Only children with ``hang_s`` have one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.actors.timers import Timer, Timers


class Watchdog:
    """Calls ``bite(hang_s)`` when one handler has run for ``hang_s`` seconds."""

    __slots__ = ("_bite", "_hang_s", "_since_s", "_timer", "_timers")

    def __init__(self, timers: Timers, hang_s: float, bite: Callable[[float], None]) -> None:
        self._timers = timers
        self._hang_s = hang_s
        self._bite = bite
        self._since_s = math.inf  # when the handler in progress began
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Note that a handler begins now."""
        self._since_s = trio.current_time()
        if self._timer is None or not self._timer.pending:
            self._timer = self._timers.call_at(self._since_s + self._hang_s, self._look)

    def rest(self) -> None:
        """Note that no handler is in progress."""
        self._since_s = math.inf

    def release(self) -> None:
        """Watch no more."""
        self.rest()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        due_s = self._since_s + self._hang_s
        if due_s == math.inf:
            return
        if due_s > trio.current_time():
            self._timer = self._timers.call_at(due_s, self._look)
        else:
            self.rest()
            self._bite(self._hang_s)
