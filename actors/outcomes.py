"""Errors and cancellations that come out of a task: split, merged, and told from strays.

A `Cancelled` is expected only where a scope around the point is cancelled. Anything else is a
*stray*: some library raised it from a scope that is already closed, and trio would take it for a
request to end and swallow it. It is a failure of whoever let it out.
"""

from __future__ import annotations

import math
import traceback

import trio

from ringfence.actors.errors import StrayCancellation


def split_cancelled(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Split an error into its cancellations and the rest; ``None`` where there is nothing."""
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return None, error


def merged(errors: list[BaseException], path: str) -> BaseException:
    """Return the one error, or one group of all: what happened together arrives together."""
    if len(errors) == 1:
        return errors[0]
    return BaseExceptionGroup(f"{path}: {len(errors)} failures", errors)


def stack_of(task: trio.lowlevel.Task) -> str:
    """Return where a task is waiting, as text, outermost call first."""
    frames = [(frame, lineno) for frame, lineno in task.iter_await_frames()]
    return "".join(traceback.StackSummary.extract(frames).format())


def cancelled_from_outside() -> bool:
    """Say whether a scope around this point is cancelled, so that `Cancelled` is expected."""
    return trio.current_effective_deadline() == -math.inf


def stray(path: str, cancelled: BaseException) -> StrayCancellation:
    """Return the failure a stray cancellation is."""
    failure = StrayCancellation(path=path)
    failure.__cause__ = cancelled
    return failure
