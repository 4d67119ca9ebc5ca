"""Writes lines to a stream from a thread of its own, so that a stuck terminal stops no actor."""

from __future__ import annotations

import threading
from collections import deque
from typing import TextIO

LINES_MAX = 10_000


class LineWriter:
    """A bounded queue of lines and the thread that writes them.

    When the stream takes nothing for so long that ``lines_max`` lines wait, further lines are
    dropped and counted; the count is written when the stream takes lines again.
    """

    def __init__(self, stream: TextIO, lines_max: int = LINES_MAX) -> None:
        self._stream = stream
        self._lines_max = lines_max
        self._lines: deque[str] = deque()
        self._ready = threading.Event()
        self._closing = False
        self.dropped = 0
        """Lines dropped and not yet told."""
        self._thread = threading.Thread(target=self._run, name="ringfence log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Queue some text. Never blocks, never raises."""
        if len(self._lines) >= self._lines_max:
            self.dropped += 1
            return
        self._lines.append(text)
        self._ready.set()

    def flush(self) -> None:
        """Do nothing: the thread flushes after each batch."""

    def close(self, within_s: float = 1.0) -> None:
        """Write what waits, for at most ``within_s`` seconds, and end the thread."""
        self._closing = True
        self._ready.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            self._ready.wait()
            self._ready.clear()
            closing = self._closing
            try:
                self._write_all()
            except (OSError, ValueError):  # the stream is gone: nobody is left to tell
                self._lines.clear()
            if closing:
                return

    def _write_all(self) -> None:
        while self._lines:
            self._stream.write(self._lines.popleft())
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            self._stream.write(f"({dropped} log lines were dropped: nobody read them in time)\n")
        self._stream.flush()
