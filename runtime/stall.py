"""Notices a blocked event loop: a handler that computes or sleeps stops every actor at once.

A thread asks the loop for a sign of life. If none comes for a second it looks at what the loop's
thread is doing, and when the loop turns again a `LoopBlocked` event says how long it was, in which
actor, and where. It does not end the handler: nothing can, from outside.
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, Final, Self

import trio

from ringfence.actors import seams
from ringfence.actors.background import Background
from ringfence.actors.events import LoopBlocked
from ringfence.actors.incarnation import Incarnation
from ringfence.runtime.tracebacks import running_text

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from ringfence.actors.events import EventStream

BLOCKED_S: Final = 1.0


class StallWatch:
    """Watches the current event loop inside a ``with`` block.

    Args:
      events: where `LoopBlocked` goes.
      path: whom to name if it is not known which actor it was.
      blocked_s: seconds without a sign of life that count as blocked. Default 1.
    """

    def __init__(self, events: EventStream, path: str, *, blocked_s: float = BLOCKED_S) -> None:
        self._events = events
        self._path = path
        self._blocked_s = blocked_s
        self._over = threading.Event()
        self._alive = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ringfence stall", daemon=True)
        self._clock = seams.slice_clock()
        self._token: trio.lowlevel.TrioToken
        self._loop_thread = 0

    def __enter__(self) -> Self:
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._alive.set()  # the thread ends by itself: waiting for it would block the loop

    def _watch(self) -> None:
        try:
            while not self._over.wait(self._blocked_s):
                self._ask()
        except trio.RunFinishedError:
            return

    def _ask(self) -> None:
        """Ask the loop for a sign of life, and wait for it, however long it takes."""
        self._alive.clear()
        began_s = self._clock()
        self._token.run_sync_soon(self._alive.set)
        if self._alive.wait(self._blocked_s):
            return
        path, stack = self._look()
        self._alive.wait()
        if not self._over.is_set():
            blocked_s = self._clock() - began_s
            self._token.run_sync_soon(self._tell, path, blocked_s, stack)

    def _look(self) -> tuple[str, str]:
        """Return which actor the loop's thread is in, and the user's part of its stack."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the only way there is
        if frame is None:
            return self._path, ""
        walked = (inner for inner, _ in traceback.walk_stack(frame))
        path = next((p for inner in walked if (p := _actor_in(inner)) is not None), self._path)
        return path, running_text(frame)

    def _tell(self, path: str, blocked_s: float, stack: str) -> None:
        if self._events.listeners:
            self._events.emit(
                LoopBlocked(at_s=trio.current_time(), path=path, blocked_s=blocked_s, stack=stack)
            )


def _actor_in(frame: FrameType) -> str | None:
    """Return the path of the actor whose life this frame is part of."""
    owner = frame.f_locals.get("self")
    if isinstance(owner, Incarnation):
        return owner.box.path
    if isinstance(owner, Background):
        return owner._path  # noqa: SLF001 - ours
    return None
