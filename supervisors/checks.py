"""The rules for the fields of a tree, one row per field: what must hold, and what to write instead.

It looks at one spec at a time; `ringfence.supervisors.tree` walks the whole tree and has the rules
between specs. Whatever stands in a field, looking at it raises nothing.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import frozen

from ringfence.actors.errors import Problem, Severity
from ringfence.actors.mailbox import MailboxSpec, OnRestart, Overflow
from ringfence.supervisors.policy import Backoff, Directive, Policy
from ringfence.supervisors.severity import Rules
from ringfence.supervisors.spec import (
    AutoShutdown,
    BrutalKill,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    RestartStrategy,
    Spec,
    Supervisor,
    SupervisorSpec,
)

TEXT_MAX: Final = 80
WHOLE_MAX: Final = 1_000_000_000
"""No count in a tree is larger: such a bound bounds nothing."""
EXHAUSTED: Final = (Directive.ESCALATE, Directive.STOP, Directive.SHUTDOWN)


# -- values ------------------------------------------------------------------------------------


@frozen
class Shown:
    """Stands for a value whose own `repr` is long, may fail, or may tell a secret."""

    text: str

    def __repr__(self) -> str:
        return self.text


def shown(value: object) -> object:
    """Return ``value`` if it is plain and short, else something that names its class."""
    try:
        if isinstance(value, type):
            return Shown(f"<class {value.__qualname__}>")
        if value is None or isinstance(value, bool | int | float | str):
            return value if len(repr(value)) <= TEXT_MAX else Shown(f"{repr(value)[:TEXT_MAX]}...")
        if isinstance(value, enum.Enum):
            return Shown(f"{type(value).__name__}.{value.name}")
    except Exception:  # noqa: BLE001 - a repr that fails is one more way to be wrong
        return Shown(f"<{type(value).__name__}>")
    if isinstance(value, Spec):
        return Shown(f"<{type(value).__name__} {shown(value.id)!r}>")
    return Shown(f"<{type(value).__name__}>")


def number(value: object) -> float | None:
    """Return an int or a float as a float; ``None`` for all else, bools and NaN too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return None if math.isnan(found) else found


def _is_whole(value: object, least: int) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return least <= value <= WHOLE_MAX


def _between(value: object, least: float, most: float = math.inf) -> bool:
    found = number(value)
    return found is not None and least <= found <= most


def _is_finite(value: object, least: float = 0.0) -> bool:
    return _between(value, least) and not _between(value, math.inf)


def _is_above_zero(value: object) -> bool:
    return _between(value, 0.0) and not _between(value, 0.0, 0.0)


def problem_with_id(value: object) -> tuple[str, str] | None:
    """Return the rule an id breaks and the fix; ``None`` if it is a good id."""
    if not isinstance(value, str):
        return "an id is text", "write a short text, such as 'feed'"
    if not value:
        return "an id must not be empty: it is a part of addresses", "write a name, such as 'feed'"
    if "/" in value or any(letter.isspace() for letter in value):
        clean = "_".join(value.replace("/", " ").split()) or "feed"
        return 'an id must not hold "/" or white space', f"write {clean!r}"
    return None


# -- rows --------------------------------------------------------------------------------------

Fix = str | Callable[[object], str]


@frozen
class Row:
    """One field: what must hold, in words, and what to write instead."""

    name: str
    holds: Callable[[object], bool]
    rule: str
    fix: Fix


def broken(prefix: str, thing: object, rows: tuple[Row, ...]) -> Iterator[Problem]:
    """Yield one problem for each row that does not hold for ``thing``."""
    for row in rows:
        value = getattr(thing, row.name)
        if not row.holds(value):
            fix = row.fix if isinstance(row.fix, str) else row.fix(value)
            yield Problem(f"{prefix}{row.name}", shown(value), row.rule, fix)


def enum_row(name: str, kind: type[enum.Enum]) -> Row:
    """Return the row of a field that takes one of an enum."""
    return Row(
        name,
        lambda value: isinstance(value, kind),
        f"must be a member of {kind.__name__}",
        lambda value: f"write {_nearest_member(kind, value)}",
    )


def _nearest_member(kind: type[enum.Enum], value: object) -> str:
    """Name the member meant by a text, or all of them."""
    names = [member.name for member in kind]
    if isinstance(value, enum.Enum):
        value = value.name
    if isinstance(value, str):
        wanted = value.upper().replace("-", "_").replace(" ", "_")
        close = difflib.get_close_matches(wanted[:TEXT_MAX], names, n=1)
        if close:
            return f"{kind.__name__}.{close[0]}"
    return " or ".join(f"{kind.__name__}.{name}" for name in names)


def _flag(name: str) -> Row:
    return Row(name, lambda value: isinstance(value, bool), "must be True or False", f"{name}=True")


_INTENSITY = (
    Row(
        "restarts_max",
        lambda value: _is_whole(value, 0),
        "must be a whole number of restarts, 0 to 1,000,000,000",
        "write restarts_max=3, or 0 to give up at the first failure",
    ),
    Row(
        "period_s",
        lambda value: _is_finite(value) and _is_above_zero(value),
        "must be a finite number of seconds above 0",
        "write period_s=60.0",
    ),
)
_BACKOFF = (
    Row("initial_s", _is_finite, "must be seconds, 0 or more", "write initial_s=1.0"),
    Row(
        "factor",
        lambda value: _is_finite(value, 1.0),
        "must be a finite number, 1 or more: a wait never shrinks",
        "write factor=2.0",
    ),
    Row("max_s", _is_finite, "must be a finite number of seconds, 0 or more", "write max_s=60.0"),
    Row(
        "jitter",
        lambda value: _between(value, 0.0, 1.0),
        "must be a share of the wait, from 0 to 1",
        "write jitter=0.25",
    ),
    Row(
        "stable_s",
        lambda value: _between(value, 0.0),
        "must be seconds, 0 or more",
        "write stable_s=60.0",
    ),
)
_MAILBOX = (
    Row(
        "capacity",
        lambda value: _is_whole(value, 1),
        "must be a whole number of messages, 1 to 1,000,000,000: no mailbox is without a bound",
        "write capacity=1000",
    ),
    enum_row("overflow", Overflow),
    Row(
        "key",
        lambda value: value is None or (isinstance(value, str) and value != "") or callable(value),
        "must be the name of a message attribute, or a function of the message",
        "write key='symbol'",
    ),
    enum_row("on_restart", OnRestart),
)
_POLICY = (
    Row(
        "no_progress_max",
        lambda value: value is None or _is_whole(value, 1),
        "must be a whole number of failures in a row, 1 to 1,000,000,000, or None for no limit",
        "write no_progress_max=20",
    ),
    _flag("together"),
    _flag("failed_supervisors_exit_shutdown"),
    Row(
        "rules",
        lambda value: isinstance(value, Rules),
        "must be Rules",
        "write DEFAULT_RULES.extended(Rule(...))",
    ),
)
_SPEC = (
    enum_row("restart", Restart),
    _flag("significant"),
    Row(
        "exhausted",
        lambda value: value is None or any(value is directive for directive in EXHAUSTED),
        "a spent budget can only escalate, stop the child or shut down",
        "write Directive.ESCALATE, Directive.STOP or Directive.SHUTDOWN",
    ),
)
_CHILD = (
    Row(
        "shutdown_s",
        lambda value: isinstance(value, BrutalKill) or _between(value, 0.0),
        "must be seconds, 0 or more, between being asked to stop and being cancelled",
        "write shutdown_s=5.0, BRUTAL_KILL or INFINITY",
    ),
    Row(
        "start_s",
        _is_above_zero,
        "must be seconds above 0 that `started()` may take",
        "write start_s=30.0, or INFINITY for no limit",
    ),
    Row(
        "hang_s",
        lambda value: value is None or (_is_finite(value) and _is_above_zero(value)),
        "must be a finite number of seconds above 0 that one message may take, or None",
        "write hang_s=10.0, or None for no limit",
    ),
)
_SUPERVISOR_SHUTDOWN = Row(
    "shutdown_s",
    lambda value: isinstance(value, BrutalKill) or _is_above_zero(value),
    "must be seconds above 0 that the whole subtree gets to stop",
    "write INFINITY (its children have bounds of their own), or BRUTAL_KILL for no time at all",
)
_STATIC = (
    enum_row("strategy", RestartStrategy),
    enum_row("auto_shutdown", AutoShutdown),
)
_DYNAMIC = (
    Row(
        "children_max",
        lambda value: _is_whole(value, 1),
        "must be a whole number of children, 1 to 1,000,000,000",
        "write children_max=100_000",
    ),
)


# -- one spec ----------------------------------------------------------------------------------


def field_problems(address: str, spec: Spec) -> Iterator[Problem]:
    """Yield what is wrong with the fields of one spec, without its id, start and children."""
    at = f"{address}: "
    yield from broken(at, spec, _SPEC)
    if spec.budget is not None:
        yield from _intensity(f"{at}budget", spec.budget)
    yield from _directives(f"{at}directives", spec.directives, complete=False)
    if isinstance(spec, Child):
        yield from broken(at, spec, _CHILD)
        yield from _mailbox(f"{at}mailbox", spec.mailbox)
    elif isinstance(spec, SupervisorSpec):
        yield from _intensity(f"{at}intensity", spec.intensity)
        if spec.policy is not None:
            yield from _policy(f"{at}policy", spec.policy)
        yield from broken(at, spec, (_SUPERVISOR_SHUTDOWN,))
    if isinstance(spec, Supervisor):
        yield from broken(at, spec, _STATIC)
    elif isinstance(spec, DynamicSupervisor):
        yield from broken(at, spec, _DYNAMIC)


def _intensity(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, Intensity):
        yield from broken(f"{path}.", value, _INTENSITY)
    else:
        fix = "write Intensity(restarts_max=3, period_s=60.0)"
        yield Problem(path, shown(value), "must be an Intensity", fix)


def _mailbox(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, MailboxSpec):
        fix = "write MailboxSpec(capacity=1000)"
        yield Problem(path, shown(value), "must be a MailboxSpec", fix)
        return
    found = list(broken(f"{path}.", value, _MAILBOX))
    yield from found
    key = value.key
    wrong = {problem.path for problem in found}.intersection((f"{path}.key", f"{path}.overflow"))
    if key is not None and not wrong and value.overflow is not Overflow.CONFLATE:
        rule = "a key is only for a mailbox that conflates"
        fix = "add overflow=Overflow.CONFLATE, or leave the key out"
        yield Problem(f"{path}.key", shown(key), rule, fix)


def _policy(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, Policy):
        fix = "write Policy(...), or None for the policy of the parent"
        yield Problem(path, shown(value), "must be a Policy", fix)
        return
    yield from _directives(f"{path}.directives", value.directives, complete=True)
    yield from _backoff(f"{path}.backoff", value.backoff)
    yield from broken(f"{path}.", value, _POLICY)


def _backoff(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, Backoff):
        fix = "write Backoff(initial_s=1.0, max_s=60.0)"
        yield Problem(path, shown(value), "must be a Backoff", fix)
        return
    found = list(broken(f"{path}.", value, _BACKOFF))
    yield from found
    wrong = [problem.path for problem in found]
    usable = f"{path}.initial_s" not in wrong and f"{path}.max_s" not in wrong
    if usable and value.max_s < value.initial_s:
        rule = f"must not be shorter than initial_s ({value.initial_s:g} s)"
        yield Problem(f"{path}.max_s", value.max_s, rule, f"write max_s={value.initial_s * 60:g}")


def _directives(path: str, table: object, *, complete: bool) -> Iterator[Problem]:
    if not isinstance(table, Mapping):
        rule = "must map each Severity to a Directive"
        yield Problem(path, shown(table), rule, "write {Severity.HIGH: Directive.ESCALATE}")
        return
    for key, directive in table.items():
        if not isinstance(key, Severity):
            fix = f"write {_nearest_member(Severity, key)}"
            yield Problem(f"{path} key", shown(key), "must be a Severity", fix)
        elif not isinstance(directive, Directive):
            fix = f"write {_nearest_member(Directive, directive)}"
            yield Problem(f"{path}[{key.name}]", shown(directive), "must be a Directive", fix)
    missing = [severity.name for severity in Severity if severity not in table]
    if complete and missing:
        rule = f"says nothing about {', '.join(missing)}"
        fix = "use DEFAULT.with_directives({...}), which keeps the other rows"
        yield Problem(path, Shown(f"<{len(table)} rows>"), rule, fix)


def combination_problems(
    address: str, spec: Spec, auto_shutdown: object, *, dynamic: bool
) -> Iterator[Problem]:
    """Yield why a child cannot be significant where it stands (R12)."""
    if spec.significant is not True:
        return
    rules, fixes = [], []
    if spec.restart is Restart.PERMANENT:
        rules.append("a permanent child is always restarted, so its end can never be significant")
        fixes.append("set restart=Restart.TRANSIENT or Restart.TEMPORARY")
    if dynamic:
        rules.append("the children of a DynamicSupervisor cannot be significant")
        fixes.append("leave significant out")
    elif auto_shutdown is AutoShutdown.NEVER:
        rules.append("its supervisor has auto_shutdown=AutoShutdown.NEVER")
        fixes.append("give the supervisor auto_shutdown=AutoShutdown.ANY_SIGNIFICANT")
    if rules:
        path = f"{address}: significant"
        yield Problem(path, value=True, rule=" and ".join(rules), fix=" and ".join(fixes))
