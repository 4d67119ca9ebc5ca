"""The background tasks of one incarnation: its own nursery, opened only when it is needed.

A nursery costs more than a whole restart, so most actors never have one. It is held open by a
*keeper* task of its own: the first `start_soon` may come from inside a handler, in the middle of
scopes of the handler's own, where no nursery of longer life could be opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ringfence.actors.outcomes import cancelled_from_outside, split_cancelled, stray

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Background:
    """The nursery of an incarnation's background tasks, and the task that holds it open."""

    __slots__ = (
        "_closed",
        "_closer",
        "_closing",
        "_nursery",
        "_on_failure",
        "_path",
        "_waiting",
        "errors",
    )

    def __init__(self, path: str, on_failure: Callable[[], None]) -> None:
        self._path = path
        self._on_failure = on_failure
        self._nursery: trio.Nursery | None = None
        self._waiting: list[tuple[Callable[..., Awaitable[object]], tuple[object, ...]]] = []
        self._closing = False
        self._closed = False
        self._closer: trio.lowlevel.Task | None = None
        self.errors: list[BaseException] = []

    def start_soon(self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        """Start a task now, or as soon as the nursery is open (one pass of the scheduler)."""
        if self._nursery is None:
            self._waiting.append((fn, args))
        else:
            name = getattr(fn, "__qualname__", repr(fn))
            self._nursery.start_soon(self._run, fn, args, name=f"{self._path} {name}")

    async def keep(self) -> None:
        """Hold the nursery open until the incarnation closes it or a task fails."""
        try:
            async with trio.open_nursery() as self._nursery:
                for fn, args in self._waiting:
                    self.start_soon(fn, args)
                self._waiting.clear()
                if self._closing:
                    self._nursery.cancel_scope.cancel()
                await trio.sleep_forever()
        finally:
            self._closed = True
            if self._closer is not None:
                trio.lowlevel.reschedule(self._closer)

    async def _run(self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        """Run one task; a cancellation nobody asked for is its failure, not its end."""
        try:
            await fn(*args)
        except BaseException as error:  # noqa: BLE001 - cancellations go on, the rest is kept
            cancelled, rest = split_cancelled(error)
            expected = cancelled_from_outside()  # asked before a failure cancels the others
            if rest is not None:
                self._failed(rest)
            if cancelled is not None and not expected:
                self._failed(stray(self._path, cancelled))
            elif cancelled is not None:
                raise cancelled from None

    def _failed(self, error: BaseException) -> None:
        """Keep the failure of one task; end the others and the actor now, not when all are done."""
        self.errors.append(error)
        if not self._closing:
            self.cancel()
            self._on_failure()

    def cancel(self) -> None:
        """Cancel all tasks, and those still to be started."""
        self._closing = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def close(self) -> None:
        """Cancel all tasks and wait for their end, which nothing may interrupt."""
        self.cancel()
        if not self._closed:
            self._closer = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
