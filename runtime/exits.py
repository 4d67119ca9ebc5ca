"""How a run ended, and the exit code that tells the truth about it.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from attrs import frozen

from ringfence.actors.errors import GaveUpWhy, Severity, SupervisorFailed
from ringfence.actors.lifecycle import Failed
from ringfence.supervisors.incident import StopProof
from ringfence.supervisors.severity import classify


class ExitCode(enum.IntEnum):
    """What the exit code of a run says; `ExitCode.meaning` says it in words."""

    CLEAN = 0
    FAILED = 1
    REFUSED = 2
    FLAT = 3
    NOT_FLAT = 4
    FORCED = 130

    @property
    def meaning(self) -> str:
        """One line for people."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.CLEAN: "stopped as asked, and clean",
    ExitCode.FAILED: "a failure ended it, or a child did not stop cleanly",
    ExitCode.REFUSED: "bad tree or options; nothing was started",
    ExitCode.FLAT: "emergency shutdown, and verified flat",
    ExitCode.NOT_FLAT: "emergency shutdown, and NOT verified flat: look at the venue",
    ExitCode.FORCED: "forced to end by a second signal or a KeyboardInterrupt",
}


@frozen(kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
      path: id of the root.
      reason: why it was asked to stop; ``None`` if nobody asked.
      error: what it failed with; ``None`` if it did not fail.
      halted: the failure that must stop the whole system (severity CRITICAL), if there was one.
      flat: whether the emergency path verified that the bot is flat.
      flat_why: why not, in words, for people.
      emergency_error: what the emergency path itself failed with.
      forced: a second signal cancelled everything.
      in_the_way: what the orderly stop waited for when it came, in words.
      unclean: proofs of the children that did not stop as they should in the final stop.
      interrupts: actors that raised what is never supervised, such as `SystemExit`: path, error.
    """

    path: str
    reason: str | None = None
    error: BaseException | None = None
    halted: SupervisorFailed | None = None
    flat: bool = False
    flat_why: str = ""
    emergency_error: Exception | None = None
    forced: bool = False
    in_the_way: tuple[str, ...] = ()
    unclean: tuple[StopProof, ...] = ()
    interrupts: tuple[tuple[str, BaseException], ...] = ()

    @property
    def code(self) -> ExitCode:
        """The exit code. An emergency outweighs all else: whether the bot is flat matters most."""
        if self.halted is not None:
            return ExitCode.FLAT if self.flat else ExitCode.NOT_FLAT
        if self.forced or holds(self.error, KeyboardInterrupt):
            return ExitCode.FORCED
        if self.error is not None or self.unclean:
            return ExitCode.FAILED
        return ExitCode.CLEAN


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the plain exceptions of a group, in order; of any other exception, itself."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves(part)
    else:
        yield error


def holds(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Say whether ``error`` is, or is a group with, an exception of this class."""
    return error is not None and any(isinstance(leaf, kind) for leaf in leaves(error))


def severity_of(error: BaseException) -> Severity | None:
    """Return how severe the end of a tree is; ``None`` if it is no failure (an interrupt)."""
    if isinstance(error, SupervisorFailed):
        return error.severity
    try:
        return classify(error).severity
    except TypeError:  # nothing in it but the wish to exit
        return None


def not_clean(proof: StopProof) -> bool:
    """Say whether a child that was asked to stop had to be cancelled, or failed."""
    return proof.asked and (proof.cancelled or isinstance(proof.exit, Failed))


def is_interrupt(error: BaseException) -> bool:
    """Say whether this is never supervised: `KeyboardInterrupt`, `SystemExit`, a group with one."""
    return not isinstance(error, Exception)


def why_text(path: str, why: str, severity: Severity | None = None) -> str:
    """Return why a supervisor gave up, in words that hold for the root, too."""
    if "/" in path or why != GaveUpWhy.ESCALATED.value:
        return why
    level = f" ({severity.name})" if severity is not None else ""
    mild = severity is not None and severity < Severity.HIGH  # escalated by a table of the user
    rule = "may not be restarted" if mild else "a restart cannot cure"
    return f"a failure that {rule}{level}, and nobody is above"
