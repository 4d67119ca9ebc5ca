"""What a supervisor does when something happens: the rules, and nothing else.

This is the file to read before trusting Ringfence with a process. It keeps the books of one
supervisor (who runs, who waits for a restart, how much budget is left) and answers each event
with a list of actions in the order to run them. It starts and stops nothing itself: the shell in
`supervisor.py` runs the actions and reports back.

Events and their methods::

    children ended by themselves        on_exits(ended, now_s)
    a start failed                      on_start_failed(key, severity)
    the time of a restart has come      on_retry(key, generation, now_s)
    a start succeeded, a stop is over   up(key, now_s), down(key)
    somebody calls the API              may_start, may_restart, may_delete, terminated

The semantics are those of OTP's ``supervisor.erl``; "Rn" names the rule in docs/otp.md. Where we
differ the reason stands beside the code.

Pure: no clock, no I/O, no randomness, no scheduling.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from attrs import define

from ringfence.actors.errors import GaveUpWhy, Severity
from ringfence.actors.lifecycle import Exit, Failed, Killed, Shutdown
from ringfence.supervisors.budget import Window
from ringfence.supervisors.policy import Directive
from ringfence.supervisors.spec import AutoShutdown, Intensity, Restart, RestartStrategy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ringfence.supervisors.policy import Policy

GRAVITY: Final[Mapping[Directive, int]] = {directive: n for n, directive in enumerate(Directive)}


# -- what comes in and what goes out -----------------------------------------------------------
#
# Plain `define`, though nobody changes them: some are made on each restart, and a frozen object
# costs three times as much to make.


@define
class Ended:
    """A child ended by itself: how, and how severe it is (``None``: no failure)."""

    key: str
    exit: Exit
    severity: Severity | None


@define
class ReportTerminated:
    """Say that a child ended in a way worth saying (R7)."""

    key: str
    exit: Exit


@define
class Stop:
    """Stop a child and wait until it has ended (R13). The shell looks at the bounds."""

    key: str


@define
class StartChild:
    """Start a child and wait until it is up (R1). If that fails, the rest of the list is void."""

    key: str


@define
class Later:
    """Come back with ``on_retry(key, generation)`` after ``delay_s``, before jitter.

    0: behind what already waits, so that deaths and calls that came first go first (R9).
    """

    key: str
    generation: int
    delay_s: float
    attempt: int


@define
class GoneForGood:
    """A child ended and nobody will start it by itself; ``forgotten``: its spec too."""

    key: str
    exit: Exit
    forgotten: bool


@define
class GiveUp:
    """Stop all children in reverse start order and fail, with ``severity`` for the parent (R8)."""

    key: str
    why: GaveUpWhy
    severity: Severity


@define
class Finish:
    """Stop all children in reverse start order and end well: auto-shutdown (R17)."""

    key: str


Action = ReportTerminated | Stop | StartChild | Later | GoneForGood | GiveUp | Finish


# -- the books ---------------------------------------------------------------------------------


class Status(enum.Enum):
    """What the supervisor knows of a child. OTP: a pid, restarting, undefined."""

    RUNNING = "running"
    RESTARTING = "restarting"
    """A restart failed or waits for its time. `Member.generation` says which one is meant."""

    STOPPED = "stopped"


class Refusal(enum.Enum):
    """Why the API cannot do what was asked."""

    ALREADY_STARTED = "already_started"
    ALREADY_PRESENT = "already_present"
    NOT_FOUND = "not_found"
    RUNNING = "running"
    RESTARTING = "restarting"
    DYNAMIC = "simple_one_for_one"
    FULL = "children_max"


@define(eq=False)
class Member:
    """One child in the books."""

    key: str
    restart: Restart
    significant: bool
    directives: Mapping[Severity, Directive]
    budget: Window | None = None
    exhausted: Directive = Directive.ESCALATE
    status: Status = Status.STOPPED
    generation: int = 0  # of the pending restart; a retry of an older one is void
    charged: bool = False  # the pending restart is already in the supervisor's budget
    failures: int = 0  # in a row, without having been up for stable_s
    waits: int = 0  # those of them that were followed by a backoff
    up_since_s: float = 0.0

    @property
    def temporary(self) -> bool:
        """Whether it is never restarted and forgotten when it ends."""
        return self.restart is Restart.TEMPORARY


class Core:
    """The books and the rules of one supervisor."""

    def __init__(
        self,
        *,
        strategy: RestartStrategy,
        intensity: Intensity,
        auto_shutdown: AutoShutdown,
        policy: Policy,
    ) -> None:
        self.strategy = strategy
        self.auto_shutdown = auto_shutdown
        self.policy = policy
        self.window = Window(intensity)
        self.members: dict[str, Member] = {}  # in start order

    # -- bookkeeping the shell reports ---------------------------------------------------------

    def add(self, member: Member) -> None:
        """Write a new child into the books, at the end of the order (R18)."""
        assert member.key not in self.members, f"{member.key} is in the books already"
        self.members[member.key] = member

    def up(self, key: str, now_s: float) -> None:
        """A start succeeded."""
        member = self.members[key]
        member.status = Status.RUNNING
        member.generation += 1
        member.up_since_s = now_s

    def down(self, key: str) -> None:
        """A child has been stopped, or its start was ignored or called off."""
        member = self.members[key]
        member.status = Status.STOPPED
        member.generation += 1

    # -- the API: may it, and what it changes (R18 to R21) -------------------------------------

    def may_start(self, key: str) -> Refusal | None:
        """Whether a new child may be added under ``key``."""
        member = self.members.get(key)
        if member is None:
            return None
        running = member.status is Status.RUNNING
        return Refusal.ALREADY_STARTED if running else Refusal.ALREADY_PRESENT

    def may_restart(self, key: str) -> Refusal | None:
        """Whether a stopped child may be started again. `may_delete` has the same rule."""
        member = self.members.get(key)
        if member is None:
            return Refusal.NOT_FOUND
        return _TOO_ALIVE.get(member.status)

    def terminated(self, key: str) -> bool:
        """A child was stopped through the API; return whether its spec is forgotten (R19)."""
        self.members[key].failures = self.members[key].waits = 0
        return self.stopped(key)

    def stopped(self, key: str) -> bool:
        """A child was stopped with its group; return whether its spec is forgotten (R11).

        Its count of failures in a row stays: two siblings that bring each other down by turns
        make no progress either.
        """
        member = self.members[key]
        self.down(key)
        if member.temporary:
            del self.members[key]
        return member.temporary

    def answered_well(self, key: str, exit_: Exit, *, brutal: bool) -> bool:
        """Whether a child that was told to stop ended as it should (R14).

        OTP takes ``normal`` from a permanent child as an error; outside the OTP policy we do not:
        an actor that ends itself just before it is asked to has done nothing wrong.
        """
        strict = (
            self.policy.failed_supervisors_exit_shutdown
            and self.members[key].restart is Restart.PERMANENT
        )
        match exit_:
            case Failed():
                return False
            case Killed():
                return brutal
            case Shutdown(None) if not brutal:
                return True
            case _:
                return not strict

    # -- children that ended by themselves -----------------------------------------------------

    def on_exits(self, ended: Sequence[Ended], now_s: float) -> list[Action]:
        """Decide what to do after children ended by themselves, all in the same instant.

        Args:
          ended: each child at most once, in the order they ended. More than one only if the
            policy decides them together.
          now_s: monotonic seconds; never earlier than in the previous call.

        Returns:
          Actions in the order to run them. Ends with `GiveUp` or `Finish` if the supervisor ends.

        Source: OTP supervisor.erl, restart_child/3 and do_restart/3 (R6, R7, R8, R17).
        """
        actions: list[Action] = []
        restarts: list[Member] = []
        worst: tuple[Directive, Ended] | None = None
        finish: str | None = None
        for end in ended:
            member = self.members[end.key]
            self._note_end(member, end, now_s)
            if member.restart is Restart.PERMANENT or end.severity is not None:
                actions.append(ReportTerminated(end.key, end.exit))
            directive = self._directive(member, end)
            if worst is None or GRAVITY[directive] > GRAVITY[worst[0]]:
                worst = directive, end
            if directive in _RESTARTS:
                restarts.append(member)
            elif directive is Directive.STOP:
                actions.append(self._retire(member, end.exit))
                if self._shuts_down(member):
                    finish = end.key
        assert worst is not None, "somebody must have ended"
        if worst[0] in (Directive.ESCALATE, Directive.SHUTDOWN):
            return [*actions, self._escalate(*worst)]
        if finish is not None:
            return [*actions, Finish(finish)]
        if restarts:
            actions += self._restart(restarts, now_s, delayed=worst[0] is not Directive.RESTART)
        return actions

    def _note_end(self, member: Member, end: Ended, now_s: float) -> None:
        member.status = Status.STOPPED
        member.generation += 1
        if now_s - member.up_since_s >= self.policy.backoff.stable_s:
            member.failures = member.waits = 0
        if end.severity is not None:
            member.failures += 1

    def _directive(self, member: Member, end: Ended) -> Directive:
        """Combine how it ended, its restart type and the severity table (R6)."""
        if end.severity is None:
            permanent = member.restart is Restart.PERMANENT
            return Directive.RESTART if permanent else Directive.STOP
        directive = member.directives[end.severity]
        if directive is Directive.RESUME:  # too late to resume: the incarnation has ended
            directive = Directive.RESTART
        if member.temporary and directive is not Directive.SHUTDOWN:
            return Directive.STOP  # its spec says that its end is nobody's business
        return directive

    def _retire(self, member: Member, exit_: Exit) -> GoneForGood:
        if member.temporary:
            del self.members[member.key]
        return GoneForGood(member.key, exit_, forgotten=member.temporary)

    def _shuts_down(self, member: Member) -> bool:
        """Whether the end of ``member`` ends the supervisor (R17)."""
        if not member.significant or self.auto_shutdown is AutoShutdown.NEVER:
            return False
        if self.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            return True
        return not any(
            other.significant and other.status is not Status.STOPPED
            for other in self.members.values()
        )

    def _escalate(self, directive: Directive, end: Ended) -> GiveUp:
        severity = end.severity if end.severity is not None else Severity.MEDIUM
        if directive is Directive.SHUTDOWN:
            return GiveUp(end.key, GaveUpWhy.SHUTDOWN, Severity.CRITICAL)
        return GiveUp(end.key, GaveUpWhy.ESCALATED, severity.lowered())

    # -- restarting ----------------------------------------------------------------------------

    def _restart(self, failed: list[Member], now_s: float, *, delayed: bool) -> list[Action]:
        """Charge the budgets, then restart now or later. One decision is one charge (R8)."""
        if not self.window.charge(now_s):
            return [self._exhausted(failed[0], GaveUpWhy.INTENSITY)]
        actions, failed = self._within_own_budgets(failed, now_s)
        if not failed:
            return actions
        if delayed:
            return [*actions, *self._restart_later(failed)]
        return [*actions, *self._restart_now(failed)]

    def _within_own_budgets(
        self, failed: list[Member], now_s: float
    ) -> tuple[list[Action], list[Member]]:
        """Look at the budget of each child and at its progress; return who may be restarted."""
        kept: list[Member] = []
        actions: list[Action] = []
        for member in failed:
            limit = self.policy.no_progress_max
            if limit is not None and member.failures > limit:
                return [self._exhausted(member, GaveUpWhy.NO_PROGRESS)], []
            if member.budget is None or member.budget.charge(now_s):
                kept.append(member)
            elif member.exhausted is Directive.STOP:
                actions.append(GoneForGood(member.key, _SPENT, forgotten=False))
                if self._shuts_down(member):
                    return [*actions, Finish(member.key)], []
            else:
                return [self._exhausted(member, GaveUpWhy.CHILD_BUDGET)], []
        return actions, kept

    def _exhausted(self, member: Member, why: GaveUpWhy) -> GiveUp:
        """Give up over ``member``; OTP forgets it, and a group stop does not find it (R8)."""
        severity = Severity.MEDIUM
        if why is GaveUpWhy.CHILD_BUDGET and member.exhausted is Directive.SHUTDOWN:
            severity, why = Severity.CRITICAL, GaveUpWhy.SHUTDOWN
        return GiveUp(member.key, why, severity)

    def _restart_now(self, failed: list[Member]) -> list[Action]:
        """Restart at once, as the strategy says (R11, R12)."""
        if self.strategy is RestartStrategy.ONE_FOR_ONE:
            return [StartChild(member.key) for member in failed]
        group = self._group(failed)
        return [*self._stop_group(group), *self._start_group(group)]

    def _restart_later(self, failed: list[Member]) -> list[Action]:
        """Restart after backoff. A group is stopped at once and waits together, led by one.

        The leader is the failed child that comes first in start order; the wait is the longest of
        those that failed.
        """
        for member in failed:
            member.waits += 1
        if self.strategy is RestartStrategy.ONE_FOR_ONE:
            return [self._wait(member, member.waits) for member in failed]
        attempt = max(member.waits for member in failed)
        group = self._group(failed)
        leader = next(member for member in group if member in failed)
        stops = self._stop_group(group)
        return [*stops, self._wait(leader, attempt)]

    def _wait(self, member: Member, attempt: int) -> Later:
        member.status = Status.RESTARTING
        member.generation += 1
        member.charged = True
        delay_s = self.policy.backoff.nominal_s(attempt)
        return Later(member.key, member.generation, delay_s, attempt)

    def _group(self, failed: Iterable[Member]) -> list[Member]:
        """Return who shares the fate of ``failed``, in start order."""
        members = list(self.members.values())
        if self.strategy is RestartStrategy.ONE_FOR_ALL:
            return members
        keys = {member.key for member in failed}
        first = next(n for n, member in enumerate(members) if member.key in keys)
        return members[first:]

    def _stop_group(self, group: list[Member]) -> list[Action]:
        """Stop who runs or waits for a restart, in reverse. The shell calls `stopped` for each.

        A sibling that waits is started with the group; its own retry would come on top.
        """
        return [
            Stop(member.key) for member in reversed(group) if member.status is not Status.STOPPED
        ]

    def _start_group(self, group: list[Member]) -> list[Action]:
        """Start all but temporary ones, in order: also those the API had stopped (R11)."""
        return [StartChild(member.key) for member in group if not member.temporary]

    # -- restarts that failed, and restarts that waited ----------------------------------------

    def on_start_failed(self, key: str, severity: Severity) -> list[Action]:
        """Decide after a restart failed to start ``key``; the other actions of its list are void.

        Source: OTP supervisor.erl, restart/2 and restart_multiple_children/3 (R9, R12).
        """
        member = self.members[key]
        member.failures += 1
        directive = self._directive(member, Ended(key, _SPENT, severity))
        if directive in (Directive.ESCALATE, Directive.SHUTDOWN):
            return [self._escalate(directive, Ended(key, _SPENT, severity))]
        if directive is Directive.STOP:
            retired = self._retire(member, _SPENT)
            return [retired, Finish(key)] if self._shuts_down(member) else [retired]
        limit = self.policy.no_progress_max
        if limit is not None and member.failures > limit:
            return [self._exhausted(member, GaveUpWhy.NO_PROGRESS)]
        member.status = Status.RESTARTING
        member.generation += 1
        member.charged = False
        delay_s = 0.0
        if directive is Directive.RESTART_AFTER_BACKOFF:
            member.waits += 1
            delay_s = self.policy.backoff.nominal_s(member.waits)
        return [Later(key, member.generation, delay_s, member.waits)]

    def on_retry(self, key: str, generation: int, now_s: float) -> list[Action]:
        """Decide when the time of a restart has come.

        Void if the child was stopped, deleted, revived or failed again meanwhile: generations
        differ then. (OTP looks only at the status, R10: a stale retry can hit a later restart.)
        """
        member = self.members.get(key)
        if member is None or member.generation != generation:
            return []
        assert member.status is Status.RESTARTING, "a generation belongs to one pending restart"
        self.down(key)
        if member.charged:
            return self._restart_now([member])
        return self._restart([member], now_s, delayed=False)


_SPENT: Final = Shutdown("its restart budget is spent")
_RESTARTS: Final = frozenset({Directive.RESTART, Directive.RESTART_AFTER_BACKOFF})
_TOO_ALIVE: Final = {Status.RUNNING: Refusal.RUNNING, Status.RESTARTING: Refusal.RESTARTING}
