"""The incident a supervisor is working on, the last one, and the failures of its current window.

Writing down is cheap and happens on every restart; the `Incident` itself is made only when
somebody listens or asks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from ringfence.actors import seams
from ringfence.actors.errors import GaveUpWhy
from ringfence.supervisors.incident import IncidentRecorded, Outcome, Recorder

if TYPE_CHECKING:
    from ringfence.actors.events import EventStream
    from ringfence.supervisors.budget import Window
    from ringfence.supervisors.incident import Incident, StopProof
    from ringfence.supervisors.judge import Judged


class Records:
    """What one supervisor remembers of failures."""

    __slots__ = ("_events", "_path", "_window", "open", "recent", "shut")

    def __init__(self, path: str, window: Window, events: EventStream) -> None:
        self._path = path
        self._window = window
        self._events = events
        self.open: Recorder | None = None
        self.shut: Recorder | None = None  # the last one
        self.recent: deque[tuple[float, tuple[BaseException, ...]]] = deque(
            maxlen=window.limit.restarts_max + 1
        )

    def begin(self, judged: list[Judged], now_s: float) -> None:
        """Open an incident for failures decided together."""
        errors = tuple([one.error for one in judged if one.error is not None])
        if errors:
            self._remember(now_s, errors)
        self.open = Recorder(
            self._path,
            now_s,
            seams.wall_ns(),
            judged,
            self._window.limit.restarts_max,
            self._window.used(now_s),
        )

    def _remember(self, now_s: float, errors: tuple[BaseException, ...]) -> None:
        """Keep the failures of the current window, no more."""
        self.recent.append((now_s, errors))
        oldest_s = now_s - self._window.limit.period_s
        while self.recent[0][0] < oldest_s:
            self.recent.popleft()

    def resume(self, key: str, used: int, now_s: float) -> None:
        """Open the record of a restart that waited: it goes on with the causes of its failure."""
        path = f"{self._path}/{key}"
        judged = self.shut.judged if self.shut is not None else []
        self.open = Recorder(
            self._path,
            now_s,
            seams.wall_ns(),
            [one for one in judged if one.path == path] or list(judged),
            self._window.limit.restarts_max,
            used,
        )

    def start_failed(self, judged: Judged) -> None:
        """Write down a restart that did not come up."""
        assert judged.error is not None, "a failed start has an error"
        self._remember(trio.current_time(), (judged.error,))
        if self.open is not None:
            self.open.failed_starts.append(judged.path)
            self.open.judged.append(judged)

    def restarted(self, path: str) -> None:
        """Write down a child that is up again."""
        if self.open is not None:
            self.open.restarted.append(path)
            self.open.outcome = Outcome.RESTARTED

    def waiting(self, delay_s: float) -> None:
        """Write down that a restart waits."""
        if self.open is not None:
            self.open.delay_s = delay_s
            self.open.outcome = Outcome.WAITING

    def stopped(self, proof: StopProof | None) -> None:
        """Write down how a sibling stopped."""
        if self.open is not None and proof is not None:
            self.open.stopped.append(proof)

    def close(self, outcome: Outcome | None = None, why: GaveUpWhy | None = None) -> None:
        """Close the open incident, if there is one, and tell who listens."""
        if self.open is None:
            return
        self.shut, self.open = self.open, None
        if outcome is not None:
            self.shut.outcome = outcome
        self.shut.why = why
        now_s = trio.current_time()
        self.shut.closed_at_s = now_s
        self.shut.budget_after = len(self._window.times_s)  # up to date since the decision
        if self._events.listeners:
            self._events.emit(
                IncidentRecorded(at_s=now_s, path=self._path, incident=self.shut.incident())
            )

    def last(self) -> Incident | None:
        """Return the last closed incident."""
        return None if self.shut is None else self.shut.incident()

    def error_of(self, key: str) -> BaseException | None:
        """Return the last failure of a child in the open incident."""
        judged = self.open.judged if self.open is not None else []
        errors = [one.error for one in judged if one.ended.key == key]
        return errors[-1] if errors else None

    def errors_for(self, why: GaveUpWhy, now_s: float) -> tuple[BaseException, ...]:
        """Return the failures that made it give up: for a spent budget, all in its window."""
        if not self.recent:
            return ()
        if why is not GaveUpWhy.INTENSITY:
            judged = self.open.judged if self.open is not None else []
            return self.recent[-1][1] if any(one.error is not None for one in judged) else ()
        oldest_s = now_s - self._window.limit.period_s
        return tuple(e for at_s, errors in self.recent if at_s >= oldest_s for e in errors)
