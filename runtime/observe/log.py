"""The log of a run: each event of the stream that matters, as one structured line on stderr.

It is a listener like any other and nothing waits for it: lines are written by a thread. Messages
are logged by their class only, for they may hold secrets; local variables are never looked at.
"""

from __future__ import annotations

import enum
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self, TextIO

import attrs
import structlog

from ringfence.actors import seams
from ringfence.actors.events import (
    ActorResumed,
    ChildStartFailed,
    ChildStopFailed,
    DeadLetter,
    Event,
    ListenerDropped,
    LoopBlocked,
    RestartScheduled,
    StopOverdue,
    SupervisorGaveUp,
    SystemStarted,
    SystemStopped,
    SystemStopping,
)
from ringfence.actors.lifecycle import Exit, Failed, Killed, Normal, Shutdown
from ringfence.runtime.exits import not_clean, why_text
from ringfence.runtime.observe.writer import LineWriter
from ringfence.runtime.tracebacks import described, traceback_text
from ringfence.supervisors.incident import ChildStopped, IncidentRecorded

if TYPE_CHECKING:
    from types import TracebackType

    from ringfence.actors.errors import Severity

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
DEAD_LETTERS_EVERY_S: Final = 1.0
_LEVEL: Final[dict[type[Event], str]] = {
    SystemStarted: "info",
    SystemStopping: "info",
    SystemStopped: "info",
    RestartScheduled: "info",
    ActorResumed: "warning",
    ChildStartFailed: "warning",
    ChildStopFailed: "warning",
    StopOverdue: "warning",
    DeadLetter: "warning",
    ListenerDropped: "warning",
    LoopBlocked: "warning",
}
_WORD_STARTS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@attrs.frozen
class LogOptions:
    """How to log.

    Attributes:
      level: the least that is logged: debug, info, warning, error or critical. Default info.
      json: one JSON object a line. Default ``None``: unless stderr is a terminal.
    """

    level: str = "info"
    json: bool | None = None


class EventLog:
    """Logs events, and what actors log through ``context.log``, inside a ``with`` block.

    structlog is set up for the whole process, unless the program has done so before: then its
    set-up is used as it is.

    Args:
      options: level and form.
      stream: where lines go. Default: stderr.
    """

    def __init__(self, options: LogOptions | None = None, stream: TextIO | None = None) -> None:
        self._options = options if options is not None else LogOptions()
        self._stream = stream if stream is not None else sys.stderr
        self._writer: LineWriter | None = None
        self._letters: dict[str, int] = {}  # dead letters not told yet, by path
        self._letters_at_s = -DEAD_LETTERS_EVERY_S

    def __enter__(self) -> Self:
        if not structlog.is_configured():
            self._writer = LineWriter(self._stream)
            _configure(self._options, self._stream, self._writer)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._tell_letters()
        if self._writer is not None:
            structlog.reset_defaults()
            self._writer.close()

    def __call__(self, event: Event) -> None:
        """Log an event."""
        if isinstance(event, DeadLetter) and not self._is_due(event):
            return
        level = level_of(event)
        if LEVELS.index(level) >= LEVELS.index(self._options.level):
            name = _WORD_STARTS.sub("_", type(event).__name__).lower()
            structlog.get_logger().log(
                getattr(logging, level.upper()), name, path=event.path, **fields_of(event)
            )

    def _is_due(self, event: DeadLetter) -> bool:
        """Log dead letters once a second at most: they come in floods."""
        if event.at_s - self._letters_at_s >= DEAD_LETTERS_EVERY_S:
            self._letters_at_s = event.at_s
            self._tell_letters()
            return True
        self._letters[event.path] = self._letters.get(event.path, 0) + 1
        return False

    def _tell_letters(self) -> None:
        letters, self._letters = self._letters, {}
        for path, count in letters.items():
            structlog.get_logger().warning("dead_letters", path=path, more=count)


def level_of(event: Event) -> str:
    """Return the level an event is logged at."""
    match event:
        case IncidentRecorded(incident=incident):
            return _level_of(incident.severity)
        case SupervisorGaveUp(severity=severity):
            return max(_level_of(severity), "warning", key=LEVELS.index)
        case ChildStopped(proof=proof) if not_clean(proof):
            return "warning"
        case _:
            return _LEVEL.get(type(event), "debug")


def _level_of(severity: Severity | None) -> str:
    return "info" if severity is None else severity.level.lower()


def fields_of(event: Event) -> dict[str, object]:
    """Return the fields of an event as plain values, without those that hold nothing."""
    return {name: value for name, value in _all_fields(event).items() if value is not None}


def _all_fields(event: Event) -> dict[str, object]:
    match event:
        case IncidentRecorded(incident=incident):
            cause = incident.causes[0]
            found: dict[str, object] = {
                "severity": None if incident.severity is None else incident.severity.name,
                "outcome": incident.outcome.value,
                "causes": [f"{one.path}: {_exit_text(one.exit)}" for one in incident.causes],
                "budget": f"{incident.budget_after}/{incident.budget_max}",
            }
            if incident.delay_s:
                found["delay_s"] = round(incident.delay_s, 3)
            if isinstance(cause.exit, Failed):
                found["traceback"] = traceback_text(cause.exit.error)
            return found
        case ChildStopped(proof=proof):
            return {
                "child": proof.path,
                "took_s": round(proof.took_s, 3),
                "cancelled": proof.cancelled,
                "exit": _exit_text(proof.exit),
            }
        case SupervisorGaveUp(path=path, child=child, why=why, severity=severity):
            return {"child": child, "why": why_text(path, why), "severity": severity.name}
        case _:
            fields = attrs.fields(type(event))
            return {
                one.name: _plain(one.name, getattr(event, one.name))
                for one in fields
                if one.name not in ("at_s", "path")
            }


def _plain(name: str, value: object) -> object:
    if name == "message":
        return type(value).__name__
    if isinstance(value, BaseException):
        return described(value)
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Normal | Shutdown | Killed | Failed):
        return _exit_text(value)
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, bool | int | str | None) else repr(value)


def _exit_text(exit_: Exit) -> str:
    return described(exit_.error) if isinstance(exit_, Failed) else str(exit_)


def _configure(options: LogOptions, stream: TextIO, writer: LineWriter) -> None:
    as_json = options.json if options.json is not None else not stream.isatty()
    renderer: structlog.typing.Processor
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _stamped,
    ]
    if as_json:
        processors.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(default=repr)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        processors.append(_traceback_below)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(options.level),
        logger_factory=structlog.WriteLoggerFactory(file=writer),  # type: ignore[arg-type]
    )


def _stamped(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Add the wall clock, ISO-8601 in UTC."""
    now = datetime.fromtimestamp(seams.wall_ns() / 1e9, UTC)
    event["timestamp"] = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _traceback_below(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Let a person read a traceback as it is, below the line."""
    text = event.pop("traceback", None)
    if text is not None:
        event["exception"] = text
    return event
