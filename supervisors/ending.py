"""How a supervisor ends: one exit, with everything that went wrong in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringfence.actors.errors import GaveUpWhy, SupervisorFailed
from ringfence.actors.lifecycle import KILLED, SHUTDOWN, Exit, Failed
from ringfence.supervisors.incident import attach

if TYPE_CHECKING:
    from ringfence.supervisors.child import Verdict
    from ringfence.supervisors.supervisor import SupervisorLife


def exit_of(sup: SupervisorLife, verdict: Verdict, errors: list[BaseException]) -> Exit:
    """Build the exit: what made it give up and what went wrong in stopping, as one group.

    Args:
      sup: the supervisor.
      verdict: why it ends.
      errors: what came out of its own task, and what must never be supervised.
    """
    as_otp = sup.policy.failed_supervisors_exit_shutdown
    cleanup = [*sup.stopper.errors, *_not_awaited(sup)]
    parts = _once(*verdict.errors, *errors, *cleanup)
    exceptions = [part for part in parts if isinstance(part, Exception)]
    if len(exceptions) < len(parts):
        return Failed(BaseExceptionGroup(f"{sup.path} was interrupted", parts))
    if as_otp and sup.verdict is not None and not errors:
        return KILLED
    if verdict.why is not None:
        if as_otp and verdict.why is not GaveUpWhy.START_FAILED:
            return SHUTDOWN
        failed = SupervisorFailed(sup.path, verdict.why, exceptions, verdict.severity)
        if verdict.incident is not None:
            attach(failed, verdict.incident)
        return Failed(failed)
    if errors:
        return Failed(ExceptionGroup(f"{sup.path} failed", exceptions))
    if cleanup and not as_otp:
        return Failed(ExceptionGroup(f"{sup.path} stopped, but clean-up failed", exceptions))
    if sup.verdict is not None:
        return KILLED
    return sup.leaving if sup.leaving is not None else SHUTDOWN


def _not_awaited(sup: SupervisorLife) -> list[BaseException]:
    """Return the failures of children whose stop was not awaited: it was cancelled before."""
    lives = [slot.life for slot in sup.slots.values() if slot.life is not None]
    return [life.exit.error for life in lives if isinstance(life.exit, Failed)]


def _once(*errors: BaseException) -> list[BaseException]:
    """Name each error once: one that nobody supervises comes both from its child and its stop."""
    return list({id(error): error for error in errors}.values())
