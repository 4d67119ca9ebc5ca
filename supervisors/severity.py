"""What a failure is: an exception and its circumstances, through rules, to a `Classification`.

It does not say what to do about it: `ringfence.supervisors.policy` does. Pure: no clock, no I/O.

>>> classify(ConnectionResetError()).severity
<Severity.LOW: 1>
>>> classify(ConnectionResetError(), recent_failures=3).severity
<Severity.MEDIUM: 2>
>>> shy = DEFAULT_RULES.extended(Rule("shy", RuntimeError, Severity.MEDIUM, Kind.TRANSIENT))
>>> classify(RuntimeError("boom"), rules=shy).severity
<Severity.MEDIUM: 2>

How one exception is judged: see `ringfence.supervisors.rules`.

How several are judged together. Everything reachable is looked at: the members of groups, nested
ones too, each `__cause__`, and each `__context__` that was not suppressed by `from`.

- The worst severity wins, and that exception is `decided_by`; of equals the one nearest to the
  outside, then the first. So wrapping an error never makes it less severe, nor does its wrapper's
  own rule get lost.
- An attempt may be repeated only if every part may be; it counts for the breaker, and its outcome
  is unknown, if this is so for any part; the longest wait counts. A part that only the catch-all
  rule knows has no say in these three, as long as another part is known better.
- A rule marked `final` ends the walk: what is behind such an error was judged where it happened.

Cancellation is no failure. `Cancelled`, `KeyboardInterrupt`, `SystemExit`, `GeneratorExit` and all
else that is not an `Exception` are never classified: passing only such is a bug in the caller and
a `TypeError`; inside a group they are left out; inside a chain of causes they are passed over.
"""

from math import isfinite

from attrs import frozen

from ringfence.actors.errors import Severity, TradingError
from ringfence.supervisors.rules import DEFAULT_RULES, UNKNOWN, Kind, Rule, Rules, Span

__all__ = [
    "DEFAULT_RULES",
    "UNKNOWN",
    "Classification",
    "Kind",
    "Rule",
    "Rules",
    "Span",
    "classify",
    "severity_of",
]

LINKS_MAX = 10_000  # exceptions looked at in one failure, the nearest first


@frozen
class Classification:
    """What a failure is.

    Args:
      severity: the worst of all its parts.
      kind: of the part that decided.
      retryable: the same call may succeed later.
      counts_for_breaker: it says something about the health of the other side.
      outcome_unknown: what was asked for may have happened nevertheless.
      retry_after_s: seconds the other side asked us to wait; None if it did not.
      decided_by: the one exception, never a plain group, that the severity comes from.
      rule: name of the row that it comes from.
    """

    severity: Severity
    kind: Kind
    retryable: bool
    counts_for_breaker: bool
    outcome_unknown: bool
    retry_after_s: float | None
    decided_by: Exception
    rule: str


def classify(
    error: BaseException,
    *,
    component: str = "",
    recent_failures: int = 0,
    rules: Rules = DEFAULT_RULES,
) -> Classification:
    """Tell what a failure is: how bad, of what kind, whether a retry makes sense.

    Args:
      error: an exception or a group of them, with whatever it was caused by.
      component: what failed, such as "desk/market_data"; empty if not known.
      recent_failures: of that component, before this one; 0 if not known.
      rules: the table; the first row that holds for the most special class decides.

    Raises:
      TypeError: there is nothing in it but cancellation or the wish to exit; re-raise that.
    """
    plain = error.__cause__ is None and error.__context__ is None
    if plain and isinstance(error, Exception) and not isinstance(error, ExceptionGroup):
        # Nothing to merge. This is the usual case, and every restart waits for it.
        rule = rules.rule_for(error, component=component, recent_failures=recent_failures)
        return Classification(
            _severity(error, rule),
            rule.kind,
            rule.retryable,
            rule.counts_for_breaker,
            rule.outcome_unknown,
            _retry_after_s(error),
            error,
            rule.name,
        )
    return _merged(_found(error, component, recent_failures, rules))


def severity_of(
    error: BaseException,
    *,
    component: str = "",
    recent_failures: int = 0,
    rules: Rules = DEFAULT_RULES,
) -> tuple[Severity, Exception]:
    """Tell how bad a failure is and which exception decided so: `classify`, but no more than that.

    For the restart path, where every microsecond is waited for.
    """
    plain = error.__cause__ is None and error.__context__ is None
    if plain and isinstance(error, Exception) and not isinstance(error, ExceptionGroup):
        rule = rules.rule_for(error, component=component, recent_failures=recent_failures)
        return _severity(error, rule), error
    found = classify(error, component=component, recent_failures=recent_failures, rules=rules)
    return found.severity, found.decided_by


def _found(
    error: BaseException, component: str, recent_failures: int, rules: Rules
) -> list[tuple[Exception, Rule]]:
    """List the exceptions in a failure with their rules, from the outside in; at least one."""
    if not isinstance(error, Exception | BaseExceptionGroup):
        raise _no_failure(error)
    found: list[tuple[Exception, Rule]] = []
    queue: list[BaseException] = [error]
    seen = {id(error)}
    for part in queue:
        final = False
        if isinstance(part, Exception):
            rule = rules.rule_for(part, component=component, recent_failures=recent_failures)
            final = rule.final
            if final or not isinstance(part, ExceptionGroup):
                found.append((part, rule))
        for further in () if final else _behind(part):
            if id(further) not in seen and len(queue) < LINKS_MAX:
                seen.add(id(further))
                queue.append(further)
    if not found:
        raise _no_failure(error)
    return found


def _behind(error: BaseException) -> list[BaseException]:
    behind: list[BaseException] = []
    if isinstance(error, BaseExceptionGroup):
        behind += [
            member
            for member in error.exceptions
            if isinstance(member, Exception | BaseExceptionGroup)
        ]
    if error.__cause__ is not None:
        behind.append(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        behind.append(error.__context__)
    return behind


def _no_failure(error: BaseException) -> TypeError:
    return TypeError(
        f"{type(error).__name__} is no failure and is never classified: let it pass, "
        "and classify only what `except Exception` or `split(Exception)` gives"
    )


def _merged(found: list[tuple[Exception, Rule]]) -> Classification:
    decided_by, deciding = found[0]
    worst = _severity(decided_by, deciding)
    for error, rule in found:
        if _severity(error, rule) > worst:
            decided_by, deciding, worst = error, rule, _severity(error, rule)
    known = [rule for _, rule in found if rule.knows] or [deciding]
    waits = [wait_s for error, _ in found if (wait_s := _retry_after_s(error)) is not None]
    return Classification(
        severity=worst,
        kind=deciding.kind,
        retryable=all(rule.retryable for rule in known),
        counts_for_breaker=any(rule.counts_for_breaker for rule in known),
        outcome_unknown=any(rule.outcome_unknown for rule in known),
        retry_after_s=max(waits, default=None),
        decided_by=decided_by,
        rule=deciding.name,
    )


def _severity(error: Exception, rule: Rule) -> Severity:
    if isinstance(error, TradingError) and "severity" in error.__dict__:
        return error.severity
    return rule.severity


def _retry_after_s(error: Exception) -> float | None:
    wait_s = error.context.get("retry_after") if isinstance(error, TradingError) else None
    if isinstance(wait_s, int | float) and isfinite(wait_s) and wait_s >= 0:
        return float(wait_s)
    return None
