"""Checks what a `Start` would build, without building it: the class, its arguments, their names.

It tells the type of an argument to nobody: that is the type checker's work. Values of arguments
are never shown, for they may be secrets.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs

from ringfence.actors.actor import Actor, has_hook
from ringfence.actors.address import Name
from ringfence.actors.errors import Problem
from ringfence.supervisors.checks import Shown, shown
from ringfence.supervisors.spec import Start

SIGNATURES_KEPT_MAX: Final = 1024
NESTING_MAX: Final = 3  # how deep names are looked for inside arguments
LOOKED_AT_MAX: Final = 1000  # values looked at per start

_SOUND: Final[weakref.WeakSet[type]] = weakref.WeakSet()
"""Classes without a problem: looked at once, however many children of them are started."""

_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLACED: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def start_problems(path: str, start: object, *, partial: bool = False) -> Iterator[Problem]:
    """Yield what is wrong with a start. ``partial``: more arguments come later (a template)."""
    if not isinstance(start, Start):
        yield Problem(path, shown(start), "must be a Start", _fix_for_no_start(start))
        return
    cls: object = start.cls
    if isinstance(cls, type):
        if cls not in _SOUND:
            found = list(_class_problems(path, cls))
            yield from found
            if found:
                return
            _SOUND.add(cls)
    elif not callable(cls):
        rule = "the first argument of Start must be a class derived from Actor"
        yield Problem(f"{path}.cls", shown(cls), rule, "write Start(Feed, ...)")
        return
    yield from _argument_problems(path, start, partial=partial)


def _fix_for_no_start(start: object) -> str:
    cls = start if isinstance(start, type) else type(start)
    if issubclass(cls, Actor):
        return f"write Start({cls.__name__}, ...): each incarnation is built anew"
    return "write Start(Feed, ...) with the class of the actor and its arguments"


def _class_problems(path: str, cls: type) -> Iterator[Problem]:
    if not issubclass(cls, Actor):
        rule, fix = "must be derived from Actor", f"write class {cls.__name__}(Actor[...])"
    elif not has_hook(cls, "receive"):
        rule = "has no `receive` of its own, so it could handle no message"
        fix = f"write `async def receive(self, message)` in {cls.__name__}"
    elif inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        rule, fix = f"is abstract: {missing}", "use a class that defines them"
    elif (hook := _plain_hook(cls)) is not None:
        rule, fix = f"its `{hook}` is awaited", f"write `async def {hook}` in {cls.__name__}"
    elif not _takes_a_message(cls):
        rule = "its `receive` does not take exactly one message"
        fix = f"write `async def receive(self, message)` in {cls.__name__}"
    else:
        return
    yield Problem(f"{path}.cls", shown(cls), rule, fix)


def _plain_hook(cls: type) -> str | None:
    """Return a hook that is a plain function although it is awaited."""
    for hook in ("started", "stopping"):
        method = inspect.getattr_static(cls, hook, None)
        if not inspect.isfunction(method) or inspect.iscoroutinefunction(method):
            continue
        # one that does not say that it returns nothing may well return a coroutine
        if method.__annotations__.get("return", "?") in (None, "None"):
            return hook
    return None


def _takes_a_message(cls: type) -> bool:
    """Whether ``receive`` can be called with one message; True if it hides its parameters."""
    method = inspect.getattr_static(cls, "receive", None)
    if not inspect.isfunction(method):
        return True
    try:
        inspect.signature(method).bind(None, None)
    except TypeError:
        return False
    except Exception:  # noqa: BLE001 - a function that hides its parameters cannot be checked
        return True
    return True


# -- arguments ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=SIGNATURES_KEPT_MAX)
def _signature(cls: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(cls)
    except Exception:  # noqa: BLE001 - a class that hides its arguments cannot be checked
        return None


def _signature_of(cls: Callable[..., object]) -> inspect.Signature | None:
    try:
        return _signature(cls)
    except Exception:  # noqa: BLE001 - a callable that cannot be hashed, or says it cannot
        return None


def _argument_problems(path: str, start: Start, *, partial: bool) -> Iterator[Problem]:
    signature = _signature_of(start.cls)
    if signature is None:
        return
    try:
        bind = signature.bind_partial if partial else signature.bind
        bind(*start.args, **start.kwargs)
    except TypeError:
        name = getattr(start.cls, "__name__", type(start.cls).__name__)
        yield from _misfits(path, name, start, signature, partial=partial)


def _misfits(
    path: str, name: str, start: Start, signature: inspect.Signature, *, partial: bool
) -> Iterator[Problem]:
    parameters = signature.parameters.values()
    kinds = [parameter.kind for parameter in parameters]
    placed = [parameter.name for parameter in parameters if parameter.kind in _PLACED]
    named = [parameter.name for parameter in parameters if parameter.kind in _NAMED]
    count = len(start.args)
    if count > len(placed) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        rule = f"{name} takes {len(placed)} positional arguments: {', '.join(placed) or 'none'}"
        fix = "leave the others out, or give them by name"
        yield Problem(f"{path}.args", Shown(f"<{count} positional arguments>"), rule, fix)
    taken = placed[:count]
    for key, value in start.kwargs.items():
        if key in taken and key in named:
            rule, fix = f"{name} gets it twice: by position and by name", "give it once"
        elif key in named or inspect.Parameter.VAR_KEYWORD in kinds:
            continue
        else:
            rule = f"{name} takes no argument of this name"
            fix = _nearest(key, [known for known in named if known not in taken])
        yield Problem(f"{path}.{key}", Shown(f"<{type(value).__name__}>"), rule, fix)
    for parameter in () if partial else parameters:
        if _is_missing(parameter, taken, start.kwargs):
            rule = f"{name} needs this argument"
            fix = f"write Start({name}, {parameter.name}=...)"
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                fix = f"write Start({name}, ...) with it in position {placed.index(parameter.name)}"
            yield Problem(f"{path}.{parameter.name}", Shown("<missing>"), rule, fix)


def _is_missing(
    parameter: inspect.Parameter, taken: list[str], kwargs: Mapping[str, object]
) -> bool:
    if parameter.kind not in (*_NAMED, *_PLACED) or parameter.name in taken:
        return False
    by_name = parameter.kind in _NAMED and parameter.name in kwargs
    return parameter.default is inspect.Parameter.empty and not by_name


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"it takes: {', '.join(known)}" if known else "it takes no more arguments"


# -- names in arguments ------------------------------------------------------------------------


def names_in(start: object) -> Iterator[tuple[str, Name[object]]]:
    """Yield each `Name` in the arguments of a start, with where it stands.

    Looks into lists, tuples, mappings and attrs objects, a few levels deep.
    """
    if not isinstance(start, Start):
        return
    waiting: list[tuple[str, object, int]] = [
        *((f"args[{index}]", value, 0) for index, value in enumerate(start.args)),
        *((key, value, 0) for key, value in start.kwargs.items()),
    ]
    for where, value, depth in waiting:
        if isinstance(value, Name):
            yield where, value
        elif depth < NESTING_MAX and len(waiting) < LOOKED_AT_MAX:
            waiting.extend((inner, item, depth + 1) for inner, item in _inside(where, value))


def _inside(where: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value, at most so many that a huge one costs little."""
    kind = type(value)
    if kind in (list, tuple):
        parts = value[:LOOKED_AT_MAX]  # type: ignore[index]
        yield from ((f"{where}[{index}]", item) for index, item in enumerate(parts))
    elif kind is dict:
        for index, (key, item) in enumerate(value.items()):  # type: ignore[attr-defined]
            if index >= LOOKED_AT_MAX:
                return
            yield f"{where}[{shown(key)!r}]", item
    elif attrs.has(kind):
        for attribute in attrs.fields(kind):
            yield f"{where}.{attribute.name}", getattr(value, attribute.name, None)
