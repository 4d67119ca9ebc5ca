"""What can be said to `run`, besides the tree, and what is wrong with it.

Nothing here is called or started: a wrong option is refused before the first task.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from ringfence.actors.errors import Problem, SupervisorFailed
from ringfence.runtime.observe.log import LEVELS, LogOptions
from ringfence.supervisors.checks import number, shown

if TYPE_CHECKING:
    from ringfence.actors.events import Event

Emergency = Callable[[SupervisorFailed], Awaitable[bool]]


@frozen(kw_only=True)
class Options:
    """The options of one run, as they were given: see `ringfence.runtime.run`."""

    emergency: Emergency | None
    emergency_s: float
    for_s: float | None
    log: LogOptions | None
    listen: Sequence[Callable[[Event], None]]


def problems_of(options: Options) -> Iterator[Problem]:
    """Yield what is wrong, in the order of the options."""
    if options.emergency is not None and not _is_emergency(options.emergency):
        yield Problem(
            "emergency",
            _named(options.emergency),
            "must be an async function of one argument",
            "write `async def go_flat(error: SupervisorFailed) -> bool`",
        )
    emergency_s = number(options.emergency_s)
    if emergency_s is None or not 0 < emergency_s < math.inf:
        rule, fix = "must be a finite number of seconds above 0", "write emergency_s=30.0"
        yield Problem("emergency_s", shown(options.emergency_s), rule, fix)
    for_s = number(options.for_s)
    if options.for_s is not None and (for_s is None or for_s <= 0):
        rule, fix = "must be a number of seconds above 0", "leave it out to run on"
        yield Problem("for_s", shown(options.for_s), rule, fix)
    yield from _log_problems(options.log)
    listen: object = options.listen
    if not (isinstance(listen, Sequence) and all(map(callable, listen))):
        rule, fix = "must be a sequence of functions of one event", "write listen=(show,)"
        yield Problem("listen", _named(listen), rule, fix)


def _log_problems(log: object) -> Iterator[Problem]:
    if log is None:
        return
    if not isinstance(log, LogOptions):
        fix = 'write log=LogOptions(level="debug"), or None for no log'
        yield Problem("log", shown(log), "must be a LogOptions or None", fix)
        return
    if log.level not in LEVELS:
        fix = f"write one of {', '.join(LEVELS)}"
        yield Problem("log.level", shown(log.level), "must be a level", fix)
    as_json: object = log.json
    if not isinstance(as_json, bool | None):
        fix = "leave it out for JSON unless stderr is a terminal"
        yield Problem("log.json", shown(as_json), "must be True, False or None", fix)


def _is_emergency(given: object) -> bool:
    """Say whether this is an async function that takes the error, and needs nothing else."""
    if not callable(given):
        return False
    is_async = inspect.iscoroutinefunction(given)  # looks into functools.partial, too
    if not is_async and not inspect.iscoroutinefunction(getattr(type(given), "__call__", None)):  # noqa: B004 - not asked whether it is callable
        return False
    try:
        inspect.signature(given).bind("the error")
    except TypeError:
        return False
    except ValueError:  # it does not tell what it takes
        return True
    return True


def _named(value: object) -> object:
    """Show a function by its name: its class says nothing about what was given."""
    name = getattr(value, "__qualname__", None)
    return _Bare(name) if isinstance(name, str) and callable(value) else shown(value)


class _Bare(str):
    """A name, which is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
