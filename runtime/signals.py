"""Signals of a run: the first asks for an orderly stop, the second ends it now, SIGHUP looks in.

A signal is handed to the event loop. If the loop does not turn because a handler computes or
blocks, the second one raises `KeyboardInterrupt` inside that handler: a bot that hangs can
always be ended from the keyboard.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Final, Self

import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

STOP: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
DUMP: Final = getattr(signal, "SIGHUP", None)


class Signals:
    """Handles signals inside a ``with`` block, in the main thread; elsewhere it does nothing.

    Args:
      on_stop: called in the event loop with the name of the first signal.
      on_force: called in the event loop for the second and all further ones.
      on_dump: called in the event loop for each SIGHUP.
      on_busy: called at once, with the frame, for a SIGHUP that finds an actor's code running.
    """

    def __init__(
        self,
        on_stop: Callable[[str], None],
        on_force: Callable[[], None],
        on_dump: Callable[[], None],
        on_busy: Callable[[FrameType | None], None],
    ) -> None:
        self._on_stop = on_stop
        self._on_force = on_force
        self._on_dump = on_dump
        self._on_busy = on_busy
        self._previous: dict[int, object] = {}
        self._token: trio.lowlevel.TrioToken
        self._asked = 0
        self._posted = 0
        self._served = 0

    def __enter__(self) -> Self:
        self._token = trio.lowlevel.current_trio_token()
        if threading.current_thread() is threading.main_thread():
            for number in STOP:
                self._previous[number] = signal.signal(number, self._stop)
            if DUMP is not None:
                self._previous[DUMP] = signal.signal(DUMP, self._dump)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]  # what signal() returned

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._asked += 1
        blocked = self._posted > self._served
        if self._asked == 1:
            self._post(lambda: self._on_stop(signal.Signals(number).name))
            return
        self._post(self._on_force)
        if blocked and not trio.lowlevel.currently_ki_protected():
            raise KeyboardInterrupt

    def _dump(self, _number: int, frame: FrameType | None) -> None:
        if not trio.lowlevel.currently_ki_protected():
            self._on_busy(frame)  # an actor's code runs right now, perhaps for ever
        self._post(self._on_dump)

    def _post(self, call: Callable[[], None]) -> None:
        def serve() -> None:
            self._served += 1
            call()

        self._posted += 1
        self._token.run_sync_soon(serve)
