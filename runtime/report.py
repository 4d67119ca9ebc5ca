"""The report a person reads when a run has failed: what matters in the first lines.

First the path, severity, budget, action and cause; then how it came to this, from the root cause
up to the last action; then what did not stop cleanly; tracebacks last.

It shows no local variables, no arguments and no messages: they may hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ringfence.actors.errors import GaveUpWhy, StartFailed, SupervisorFailed
from ringfence.actors.lifecycle import Exit, Failed, Normal, Shutdown
from ringfence.runtime.exits import Ending, ExitCode, is_interrupt, leaves, severity_of, why_text
from ringfence.runtime.tracebacks import described, traceback_text
from ringfence.supervisors.drawing import budget as budget_text
from ringfence.supervisors.incident import Cause, Incident, Outcome, incident_of
from ringfence.supervisors.severity import classify
from ringfence.supervisors.spec import SupervisorSpec
from ringfence.supervisors.tree import walk

LINKS_MAX: Final = 64
TRACEBACKS_MAX: Final = 8
NAMES_MAX: Final = 8
LINES_MAX: Final = 100


def report(ending: Ending, tree: SupervisorSpec) -> str:
    """Return the report of a run that did not end as asked and clean."""
    error = ending.halted if ending.halted is not None else ending.error
    lines = [_headline(ending, error)]
    if error is not None:
        lines += _first_lines(ending, error, tree)
        story = list(_story(error))
        lines += ["", *story] if story else []
    else:
        lines.append(f"  action    {_action(ending)}")
    for title, found in (
        ("the stop waited for", _some_lines(ending.in_the_way)),
        ("did not stop cleanly", _some_lines(tuple(_unclean(ending)))),
    ):
        lines += ["", title, *found] if found else []
    return "\n".join([*lines, *_tracebacks(ending)])


def _headline(ending: Ending, error: BaseException | None) -> str:
    if ending.forced and ending.code is ExitCode.FORCED:
        return f"{ending.path} ended: forced to end by a second signal"
    if error is None:
        return f"{ending.path} ended: {ending.code.meaning}"
    if isinstance(error, SupervisorFailed):
        return f"{error.path} gave up: {_why(error.path, error.why, incident_of(error))}"
    where, cause = _origin(ending, error)
    if any(where == path for path, _ in ending.interrupts):
        return f"{where} ended the whole tree: {_ended_with(cause)}"
    if where:
        return f"{where} failed while stopping: {_ended_with(cause)}"
    return f"{ending.path} failed: {described(error)}"


def _first_lines(ending: Ending, error: BaseException, tree: SupervisorSpec) -> Iterator[str]:
    path = error.path if isinstance(error, SupervisorFailed) else ending.path
    incident = incident_of(error)
    severity = incident.severity if incident is not None else severity_of(error)
    none = "none: an interrupt" if is_interrupt(error) else "none: nothing failed"
    spec = next((s for at, s in walk(tree) if at == path), None)
    yield f"  path      {path}"
    yield f"  severity  {severity.name if severity is not None else none}"
    if isinstance(spec, SupervisorSpec):
        yield f"  budget    {budget_text(spec.intensity)}{_used(incident)}"
    yield f"  action    {_action(ending)}"
    where, cause = _origin(ending, error)
    if isinstance(cause, Normal | Shutdown):
        yield (
            f"  cause     {where} ended as {cause}, and is permanent: "
            "make it Restart.TRANSIENT or TEMPORARY if it may end"
        )
    else:
        lead = f"{where}: " if where else ""
        yield f"  cause     {lead}{_ended_with(cause)}"


def _origin(ending: Ending, error: BaseException) -> tuple[str, BaseException | Exit]:
    """Return where it began and what it was; what no supervisor has judged is looked up."""
    if is_interrupt(error) and ending.interrupts:
        path, interrupt = ending.interrupts[0]
        return path, next(leaf for leaf in leaves(interrupt) if not isinstance(leaf, Exception))
    where, cause = root_cause(error)
    if not where:
        where = next((p.path for p in ending.unclean if _holds_this(p.exit, cause)), "")
    return where, cause


def _holds_this(exit_: Exit, cause: object) -> bool:
    return isinstance(exit_, Failed) and any(leaf is cause for leaf in leaves(exit_.error))


def _ended_with(cause: BaseException | Exit) -> str:
    return described(cause) if isinstance(cause, BaseException) else str(cause)


def _why(path: str, why: GaveUpWhy, incident: Incident | None) -> str:
    return why_text(path, why.value, None if incident is None else incident.severity)


def _unclean(ending: Ending) -> Iterator[str]:
    """Tell of each child that did not stop well; of supervisors only what is their own."""
    paths = [proof.path for proof in ending.unclean]
    for proof in ending.unclean:
        failed = isinstance(proof.exit, Failed)
        error = _ended_with(_decisive(proof.exit.error)) if isinstance(proof.exit, Failed) else ""
        if ending.forced and failed and error == KeyboardInterrupt.__name__:
            yield f"{proof.path} was interrupted by the second signal"
        elif proof.cancelled:
            if failed or not ending.forced:
                after = "by the second signal" if ending.forced else "after its grace"
                then = f", and failed: {error}" if failed else ""
                took = f"ended {proof.took_s:.3g} s after it was asked"
                yield f"{proof.path} was cancelled {after} and {took}{then}"
        elif not any(path.startswith(f"{proof.path}/") for path in paths):
            yield f"{proof.path} failed while stopping: {error}"


def _some_lines(told: tuple[str, ...]) -> list[str]:
    more = len(told) - LINES_MAX
    lines = [f"  {one}" for one in told[:LINES_MAX]]
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _used(incident: Incident | None) -> str:
    if incident is None:
        return ""
    over = incident.budget_after > incident.budget_max
    return ", all used" if over else f", {incident.budget_after} used"


def _action(ending: Ending) -> str:
    parts = []
    if ending.forced:
        parts.append("everything was cancelled")
    elif ending.reason is not None and ending.halted is None and ending.error is None:
        parts.append(f"stopped ({ending.reason})")
    else:
        parts.append("all actors stopped")
    if ending.halted is not None:
        parts.append("verified flat" if ending.flat else f"NOT verified flat: {ending.flat_why}")
    meaning = ending.code.meaning
    if ending.code is ExitCode.FORCED:
        by = "a second signal" if ending.forced else "a KeyboardInterrupt"
        meaning = f"forced to end by {by}"
    return f"{', '.join(parts)}; exit code {ending.code:d}: {meaning}"


# -- where it began ----------------------------------------------------------------------------


def root_cause(error: BaseException) -> tuple[str, BaseException | Exit]:
    """Follow escalations down to where it began: the path, and the failure.

    If nothing had failed there, because a permanent child ended well, the exit instead.
    """
    path = ""
    for _ in range(LINKS_MAX):
        incident = incident_of(error)
        if incident is not None and incident.causes:
            cause = _worst(incident.causes)
            path = cause.path
            if not isinstance(cause.exit, Failed):
                return path, cause.exit
            error = cause.exit.error
        elif isinstance(error, StartFailed) and error.__cause__ is not None:
            path, error = error.path, error.__cause__
        elif isinstance(error, SupervisorFailed):
            starts = (part for part in error.exceptions if isinstance(part, StartFailed))
            path, error = error.path, next(starts, error.exceptions[-1])
        else:
            break
    return path, _decisive(error)


def _worst(causes: tuple[Cause, ...]) -> Cause:
    """Return the most severe cause; of equals the one that happened first."""
    worst = causes[0]
    for cause in causes[1:]:
        if cause.severity is not None and (
            worst.severity is None or cause.severity > worst.severity
        ):
            worst = cause
    return worst


def _decisive(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    try:
        return classify(error).decided_by
    except TypeError:  # nothing in it but the wish to exit
        return next(leaves(error))


# -- how it came to this -----------------------------------------------------------------------


def _story(error: BaseException) -> Iterator[str]:
    incident = incident_of(error)
    if incident is None:
        return
    yield "how it came to this"
    chain = list(incident.chain())[:LINKS_MAX]
    for number, step in enumerate(reversed(chain), 1):
        for index, cause in enumerate(step.causes[:NAMES_MAX]):
            severity = f" ({cause.severity.name})" if cause.severity is not None else ""
            lead = f"{number}." if index == 0 else "  "
            yield f"  {lead} {cause.path}, incarnation {cause.incarnation}: {_end(cause)}{severity}"
        yield f"     {step.path}: {_decision(step)}"
    yield from _before(error)


def _end(cause: Cause) -> str:
    return described(cause.exit.error) if isinstance(cause.exit, Failed) else str(cause.exit)


def _decision(step: Incident) -> str:
    why = "" if step.why is None else _why(step.path, step.why, step)
    parts = [f"gave up: {why}" if why else step.outcome.value]
    if step.outcome is Outcome.WAITING:
        parts.append(f"in {step.delay_s:.3g} s")
    used = min(step.budget_after, step.budget_max)
    parts.append(f"restarts used {used} of {step.budget_max}")
    if step.stopped:
        parts.append(f"stopped {_some([proof.path for proof in step.stopped])}")
    if step.restarted:
        parts.append(f"restarted {_some(step.restarted)}")
    if step.failed_starts:
        parts.append(f"could not start {_some(step.failed_starts)}")
    return ", ".join(parts)


def _some(paths: list[str] | tuple[str, ...]) -> str:
    more = len(paths) - NAMES_MAX
    return " ".join(paths[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _before(error: BaseException) -> Iterator[str]:
    """Count the earlier failures of the same window, which together used up the budget."""
    if not isinstance(error, SupervisorFailed) or len(error.exceptions) <= 1:
        return
    counts: dict[str, int] = {}
    for part in error.exceptions:
        text = described(part)
        counts[text] = counts.get(text, 0) + 1
    yield "failures that count, and failures while stopping"
    for text, count in list(counts.items())[:NAMES_MAX]:
        yield f"  {count} x {text}"


# -- tracebacks --------------------------------------------------------------------------------


def _tracebacks(ending: Ending) -> Iterator[str]:
    waiting = [e for e in (ending.halted, ending.error, ending.emergency_error) if e is not None]
    seen: set[int] = set()
    shown: dict[str, int] = {}
    while waiting and len(shown) < TRACEBACKS_MAX:
        error = waiting.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            waiting[:0] = error.exceptions
        else:
            text = traceback_text(error)
            shown[text] = shown.get(text, 0) + 1
    for text, count in shown.items():
        times = f" ({count} times)" if count > 1 else ""
        yield f"\ntraceback{times}\n{text}"
    if waiting:
        yield f"\n{len(waiting)} more failures are not shown"
