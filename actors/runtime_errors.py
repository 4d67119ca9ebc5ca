"""What goes wrong between actors, and what supervisors say about their children.

It holds no behaviour. Import from `ringfence.actors.errors`, which has these names and all others.
"""

# A name says what happened; that it is an error shows where it is raised.
# ruff: noqa: N818

from collections.abc import Sequence
from enum import Enum
from typing import Final, Self

from attrs import frozen
from typing_extensions import override

from ringfence.actors.error_root import Severity, TradingError, text_of
from ringfence.actors.market_errors import (
    ConfigurationError,
    InvalidStateError,
    OperationTimeout,
)

# What goes wrong between actors.


class ActorError(TradingError):
    """A message could not do its work."""

    component = "actor"
    severity = Severity.MEDIUM


class MailboxFull(ActorError):
    """A mailbox is full and its policy is to reject; the message was not delivered.

    Args:
      message: the one that was not delivered.
      path: of the actor.
      capacity: messages the mailbox holds.
    """

    declared = ("path", "capacity", "message")

    def __init__(self, message: object, path: str, capacity: int, **context: object) -> None:
        self.message, self.path, self.capacity = message, path, capacity
        super().__init__(
            f"mailbox of {path} is full ({capacity} messages): {type(message).__name__} was not "
            "delivered; use `await ref.send()` to wait for room, or another overflow policy",
            **context,
        )


class MessageRefused(ActorError, TypeError):
    """An actor was sent something it does not accept.

    Args:
      message: the one that was not delivered.
      path: of the actor.
      accepted: the classes of message it accepts.
    """

    severity = Severity.HIGH
    declared = ("path", "accepted", "message")

    def __init__(
        self, message: object, path: str, accepted: Sequence[type], **context: object
    ) -> None:
        self.message, self.path, self.accepted = message, path, tuple(accepted)
        names = ", ".join(kind.__name__ for kind in self.accepted) or "no message at all"
        super().__init__(
            f"{path} does not accept {type(message).__name__}; it accepts: {names}", **context
        )


class NoReply(ActorError):
    """An actor handled a question without answering it.

    Args:
      path: of the actor.
      question: the question, or its name; its name is kept.
    """

    severity = Severity.HIGH
    declared = ("path", "question")

    def __init__(self, path: str, question: object = "a question", **context: object) -> None:
        self.path, self.question = path, _name_of(question)
        super().__init__(
            f"{path} finished with {self.question} and did not answer it: "
            "call `reply`, `fail` or `defer` on every branch",
            **context,
        )


class ActorDown(ActorError):
    """The target has stopped, was never known, or will be back only after a restart.

    Args:
      path: of the target.
      cause: why it went down; None if nothing is known. It becomes `__cause__`.
    """

    declared = ("path",)

    def __init__(self, path: str, cause: BaseException | None = None, **context: object) -> None:
        self.path = path
        because = "" if cause is None else f": {_described(cause)}"
        super().__init__(f"{path} is not running{because}", **context)
        if cause is not None:  # setting None would hide what is being handled (__context__)
            self.__cause__ = cause


class ActorCrashed(ActorError):
    """The target failed while the question was pending; the question may have been worked on.

    Args:
      path: of the target.
      cause: its failure. It becomes `__cause__`.
    """

    declared = ("path",)

    def __init__(self, path: str, cause: BaseException, **context: object) -> None:
        self.path = path
        super().__init__(f"{path} failed before it answered: {_described(cause)}", **context)
        self.__cause__ = cause


class AskTimeout(OperationTimeout, ActorError):
    """A question was not answered in time; `scope` is the path of the target."""

    component = "actor"


class ReplyTwice(ActorError, InvalidStateError):
    """A question was answered a second time; the first answer stands.

    Args:
      path: of the actor that answered.
      question: the question, or its name; its name is kept.
    """

    severity = Severity.HIGH
    declared = ("path", "question")

    def __init__(self, path: str, question: object = "a question", **context: object) -> None:
        self.path, self.question = path, _name_of(question)
        super().__init__(
            f"{path} answered {self.question} twice: a question takes one `reply` or one `fail`",
            **context,
        )


class UnknownName(ActorError):
    """No actor has this path.

    Args:
      path: what was asked for.
      nearest: known paths that look like it, the most alike first.
    """

    severity = Severity.HIGH
    declared = ("path", "nearest")

    def __init__(self, path: str, nearest: Sequence[str] = (), **context: object) -> None:
        self.path, self.nearest = path, tuple(nearest)
        hint = f"; did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        super().__init__(f"no actor is called {path}{hint}", **context)


class IllegalTransition(ActorError, InvalidStateError):
    """A state machine of ours was asked for a move it does not have: a bug in Ringfence.

    Args:
      state: where it was.
      trigger: what came.
    """

    severity = Severity.CRITICAL
    declared = ("state", "trigger")

    def __init__(self, state: str, trigger: str, **context: object) -> None:
        self.state, self.trigger = state, trigger
        super().__init__(
            f"{trigger} is not possible in state {state}: a bug in Ringfence, please report it",
            **context,
        )


# What a supervisor says about its children.


class SupervisionError(TradingError):
    """A child, or a supervisor, did not live or end as its spec says."""

    component = "supervision"
    severity = Severity.MEDIUM


class Hung(SupervisionError):
    """A child did not come back to its mailbox in time and was cancelled.

    Args:
      path: of the child.
      hang_s: seconds one message may take.
      stack: where it was, as text, the innermost call last.
    """

    declared = ("path", "hang_s", "stack")

    def __init__(self, path: str, hang_s: float, stack: str = "", **context: object) -> None:
        self.path, self.hang_s, self.stack = path, hang_s, stack
        where = f"; it was at:\n{stack}" if stack else ""
        super().__init__(
            f"{path} worked on one message for more than {hang_s:g} s (`hang_s`){where}", **context
        )


class StrayCancellation(SupervisionError):
    """A child ended as cancelled although nobody cancelled it: a library leaked its `Cancelled`."""

    declared = ("path",)

    def __init__(self, path: str, **context: object) -> None:
        self.path = path
        super().__init__(
            f"{path} ended as cancelled although nobody cancelled it: something it awaits raises "
            "`Cancelled` from a scope that is already closed",
            **context,
        )


class StartTimeout(SupervisionError):
    """`started()` did not return in time.

    Args:
      path: of the child.
      start_s: seconds it may take.
    """

    declared = ("path", "start_s")

    def __init__(self, path: str, start_s: float, **context: object) -> None:
        self.path, self.start_s = path, start_s
        super().__init__(
            f"{path} did not finish `started()` within {start_s:g} s (`start_s`)", **context
        )


class StartFailed(SupervisionError):
    """A child could not be built, or its `started()` raised.

    Args:
      path: the whole path of the child.
      cause: what was raised. It becomes `__cause__`.
    """

    declared = ("path",)

    def __init__(self, path: str, cause: BaseException, **context: object) -> None:
        self.path = path
        super().__init__(f"{path} could not start: {_described(cause)}", **context)
        self.__cause__ = cause


_REFUSALS: Final = {
    "already_started": ", it runs: use its handle, or stop it first",
    "already_present": ", its spec is there: use restart_child, or delete_child first",
    "not_found": ", there is no such child: which_children tells which there are",
    "running": ", it runs: stop it first",
    "restarting": ", it waits for a restart: stop it to end that",
    "simple_one_for_one": ", below a DynamicSupervisor children have keys: start_child('key', ...)",
    "children_max": ", there are as many children as the DynamicSupervisor may have",
}


class ChildRefused(SupervisionError):
    """A supervisor cannot do what was asked with a child.

    Args:
      path: of the child.
      verb: what was asked: start, stop, restart, delete.
      refusal: why not, in OTP's words: already_started, already_present, not_found, running,
        restarting; or simple_one_for_one (not below a dynamic supervisor), children_max.
    """

    severity = Severity.HIGH  # asking again would be refused again
    declared = ("path", "verb", "refusal")

    def __init__(self, path: str, verb: str, refusal: str, **context: object) -> None:
        self.path, self.verb, self.refusal = path, verb, refusal
        words = _REFUSALS.get(refusal, "")
        super().__init__(f"cannot {verb} {path}: {refusal}{words}", **context)


class ActorKilled(SupervisionError):
    """A child was killed without the time to clean up."""

    declared = ("path",)

    def __init__(self, path: str, **context: object) -> None:
        self.path = path
        super().__init__(f"{path} was killed", **context)


class StopOverdue(SupervisionError):
    """A child did not end within its grace and was cancelled.

    Args:
      path: of the child.
      shutdown_s: seconds of grace.
    """

    declared = ("path", "shutdown_s")

    def __init__(self, path: str, shutdown_s: float, **context: object) -> None:
        self.path, self.shutdown_s = path, shutdown_s
        super().__init__(
            f"{path} did not stop within {shutdown_s:g} s (`shutdown_s`) and was cancelled",
            **context,
        )


class CleanupFailed(SupervisionError):
    """A child raised while it was stopping.

    Args:
      path: of the child.
      cause: what was raised. It becomes `__cause__`.
    """

    declared = ("path",)

    def __init__(self, path: str, cause: BaseException, **context: object) -> None:
        self.path = path
        super().__init__(f"{path} failed while stopping: {_described(cause)}", **context)
        self.__cause__ = cause


@frozen
class Problem:
    """One thing that is wrong with a spec.

    Args:
      path: where, from the root of the tree to the field.
      value: what stands there.
      rule: what must hold.
      fix: what to write instead.
    """

    path: str
    value: object
    rule: str
    fix: str

    @override
    def __str__(self) -> str:
        return f"{self.path} = {self.value!r}: {self.rule}; {self.fix}"


class SpecError(ConfigurationError, SupervisionError, ValueError):
    """A tree cannot run as it is written; holds every problem, not only the first.

    Args:
      problems: in the order of the tree; at least one.
    """

    severity = Severity.HIGH
    declared = ("problems",)

    def __init__(self, problems: Sequence[Problem], **context: object) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} {'problem' if count == 1 else 'problems'} in the tree"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{head}:{lines}", **context)


class GaveUpWhy(Enum):
    """Why a supervisor stopped its children and failed."""

    INTENSITY = "more restarts than its intensity allows"
    CHILD_BUDGET = "one child used up its own restart budget"
    NO_PROGRESS = "restarts without progress"
    ESCALATED = "a failure that is for its parent to decide"
    START_FAILED = "a child could not start"
    SHUTDOWN = "a failure that must stop the whole system"
    CHILD_FATAL = "a child that may not be restarted failed"


class SupervisorFailed(ExceptionGroup[Exception], SupervisionError):
    """A supervisor gave up: holds the failures that made it, and those during stopping.

    It is an exception group, so `except*` takes it apart; each part is again a `SupervisorFailed`
    with the same fields.

    Args:
      path: of the supervisor.
      why: the rule that made it give up.
      exceptions: the failures, in the order they happened; at least one.
      severity: for the parent, that is, already lowered.
    """

    declared = ("path", "why")

    # `args` are those of the constructor: `repr` shows them, and pickling calls it with them.
    def __new__(  # noqa: D102
        cls,
        path: str,
        why: GaveUpWhy,
        exceptions: Sequence[Exception],
        severity: Severity = Severity.MEDIUM,
    ) -> Self:
        del severity
        return super().__new__(cls, f"{path} gave up: {why.value}", exceptions)

    def __init__(
        self,
        path: str,
        why: GaveUpWhy,
        exceptions: Sequence[Exception],
        severity: Severity = Severity.MEDIUM,
    ) -> None:
        self.path, self.why = path, why
        TradingError.__init__(self, severity=severity)
        self.args = (path, why, tuple(exceptions), severity)

    @override
    def derive(self, excs: Sequence[Exception], /) -> "SupervisorFailed":  # type: ignore[override]
        part = SupervisorFailed(self.path, self.why, excs, self.severity)
        part.__dict__.update({**self.__dict__, **part.__dict__})  # what was attached stays
        return part


def _described(error: BaseException) -> str:
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _name_of(question: object) -> str:
    return question if isinstance(question, str) else type(question).__name__
