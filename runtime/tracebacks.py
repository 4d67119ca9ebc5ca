"""Tracebacks for people: no local variables, and no frames of ours or trio's.

Local variables may hold keys and passwords, so they are never looked at.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.error_root import text_of
from ringfence.actors.errors import Problem

if TYPE_CHECKING:
    from types import FrameType

_HERE: Final = Path(__file__).resolve().parents[1]
_NOISE: Final = tuple(
    f"{folder}/"
    for folder in (
        *(_HERE / package for package in ("actors", "supervisors", "runtime")),
        Path(trio.__file__).parent,
    )
)
PARTS_MAX: Final = 16
FRAMES_MAX: Final = 1000
STACK_FOLLOWS: Final = "; it was at:"
FRAME: Final = re.compile(
    r'^[ |]*File "(?P<file>[^"]*)", line (?P<line>\d+), in (?P<name>.*)$', re.MULTILINE
)
FRAME_AND_SOURCE: Final = re.compile(FRAME.pattern + r"\n(?:[ |]{4,}(?!File ).*\n)*", re.MULTILINE)
STACK: Final = re.compile(r"(?:[ |]+[^ |+].*\n?)*")


def described(error: BaseException) -> str:
    """Return an exception in one line."""
    text, _, more = text_of(error).partition("\n")
    if text.endswith(STACK_FOLLOWS):
        text = f"{text.removesuffix(':')} {_innermost(more)}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def traceback_text(error: BaseException) -> str:
    """Return a traceback with its causes, and of groups with their parts."""
    found = traceback.TracebackException.from_exception(
        error, compact=True, max_group_width=PARTS_MAX, max_group_depth=PARTS_MAX
    )
    _trim(found, set())
    return _without_noise("".join(found.format())).rstrip()


def _innermost(stack: str) -> str:
    """Return the last call of a stack that is the user's own, or else the last of all."""
    frames = list(FRAME.finditer(stack))
    own = [frame for frame in frames if not is_noise(frame["file"])] or frames
    if not own:
        return "an unknown place"
    return f"{own[-1]['file']}:{own[-1]['line']} in {own[-1]['name']}"


def _without_noise(text: str) -> str:
    """Take frames of ours and trio's out of the stacks that messages hold, if others remain."""
    first, *rest = text.split(f"{STACK_FOLLOWS}\n")
    return f"{STACK_FOLLOWS}\n".join([first, *(_trimmed(part) for part in rest)])


def _trimmed(text: str) -> str:
    """Trim the stack a text begins with; it ends at the first line that is not indented."""
    end = STACK.match(text).end()  # type: ignore[union-attr]  # it matches an empty stack, too
    stack = text[:end]
    if all(is_noise(frame["file"]) for frame in FRAME.finditer(stack)):
        return text
    return FRAME_AND_SOURCE.sub(_unless_noise, stack) + text[end:]


def _unless_noise(frame: re.Match[str]) -> str:
    return "" if is_noise(frame["file"]) else frame[0]


def _trim(found: traceback.TracebackException, seen: set[int]) -> None:
    """Leave out the frames that say nothing about the user's code, unless there are no others."""
    if id(found) in seen:
        return
    seen.add(id(found))
    telling = [frame for frame in found.stack if not is_noise(frame.filename)]
    if telling:
        found.stack = traceback.StackSummary.from_list(telling)
    for other in (found.__cause__, found.__context__, *(found.exceptions or ())):
        if other is not None:
            _trim(other, seen)


def running_text(frame: FrameType | None) -> str:
    """Return where a thread is, behind the event loop and without frames of ours and trio's."""
    frames = list(traceback.walk_stack(frame))[:FRAMES_MAX]  # the innermost first
    loop = [n for n, (inner, _) in enumerate(frames) if is_trio(inner.f_code.co_filename)]
    behind = frames[: max(loop, default=len(frames))]
    telling = [entry for entry in behind if not is_noise(entry[0].f_code.co_filename)]
    return "".join(traceback.StackSummary.extract(reversed(telling)).format()).rstrip()


def is_noise(filename: str) -> bool:
    """Say whether a source file is ours or trio's."""
    return filename.startswith(_NOISE)


def is_trio(filename: str) -> bool:
    """Say whether a source file is trio's."""
    return filename.startswith(_NOISE[-1])


def problems_text(problems: list[Problem], what: str) -> str:
    """Return all problems, one a line, below a headline."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{count} in {what}; nothing was started:", *(f"  {p}" for p in problems)])
