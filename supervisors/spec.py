"""A tree is data: what to start, in which order, and what to do when it ends.

    >>> from ringfence.actors import Actor
    >>> class Feed(Actor[str]):
    ...     async def receive(self, message: str) -> None: ...
    >>> desk = Supervisor(
    ...     "desk",
    ...     strategy=RestartStrategy.REST_FOR_ONE,
    ...     intensity=Intensity(restarts_max=3, period_s=60.0),
    ...     children=[Child("feed", Start(Feed), shutdown_s=2.0)],
    ... )

Nothing here checks itself: `ringfence.supervisors.tree.check` finds all problems of a tree at
once, and nothing is started before it found none.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final, Never, ParamSpec

from attrs import field, frozen

from ringfence.actors.mailbox import MailboxSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ringfence.actors.actor import Actor
    from ringfence.actors.errors import Severity
    from ringfence.supervisors.policy import Directive, Policy

P = ParamSpec("P")


class Restart(enum.Enum):
    """When a child that ended by itself is started again. OTP's restart types."""

    PERMANENT = "permanent"
    """Always."""

    TRANSIENT = "transient"
    """After a failure; not after `Normal` or `Shutdown`."""

    TEMPORARY = "temporary"
    """Never; and its spec is forgotten when it ends."""


class RestartStrategy(enum.Enum):
    """Which siblings share the fate of a child that is restarted."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    """The failed child and those started after it."""


class AutoShutdown(enum.Enum):
    """When the end of significant children ends their supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class BrutalKill(enum.Enum):
    """As ``shutdown_s``: cancel at once, without asking and without ``stopping``."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL: Final = BrutalKill.BRUTAL_KILL
INFINITY: Final = math.inf
"""As ``shutdown_s``: wait for ever. The default for supervisors, whose children have bounds."""


@frozen
class Intensity:
    """A restart budget: at most ``restarts_max`` restarts in any ``period_s`` seconds.

    One restart more makes the supervisor give up. The window is exact and slides; a restart
    exactly ``period_s`` old still counts.
    """

    restarts_max: int = 3
    period_s: float = 5.0


class Start:
    """What to build for each incarnation: a class and its arguments (OTP: module-function-args).

    Each incarnation is a new object ``cls(*args, **kwargs)``, so state is fresh by construction.
    The arguments are shared by all incarnations: give it frozen values.
    """

    __slots__ = ("args", "cls", "kwargs")

    cls: Callable[..., Actor[Never]]
    args: tuple[object, ...]
    kwargs: dict[str, object]

    def __init__(
        self, cls: Callable[P, Actor[Never]], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        self.cls = cls
        self.args = args
        self.kwargs = kwargs

    @staticmethod
    def partial(actor: Callable[..., Actor[Never]], /, *args: object, **kwargs: object) -> Start:
        """Return a start that lacks arguments: the template of a `DynamicSupervisor`.

        The rest comes with ``start_child(key, *args, **kwargs)``, behind those given here. The type
        checker cannot see the two together, so they are checked when the child is started.
        """
        return _start(actor, args, kwargs)

    def build(self) -> Actor[Never]:
        """Build one incarnation."""
        return self.cls(*self.args, **self.kwargs)

    def extended(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Start:
        """Return this start with more arguments behind its own."""
        return Start(self.cls, *self.args, *args, **{**self.kwargs, **kwargs})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Start) and (self.cls, self.args, self.kwargs) == (
            other.cls,
            other.args,
            other.kwargs,
        )

    def __hash__(self) -> int:
        return hash((self.cls, self.args, tuple(self.kwargs)))

    def __reduce__(self) -> tuple[object, ...]:
        return (_start, (self.cls, self.args, self.kwargs))

    def __repr__(self) -> str:
        parts = [getattr(self.cls, "__name__", repr(self.cls))]
        parts += [repr(value) for value in self.args]
        parts += [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"Start({', '.join(parts)})"


def _start(
    cls: Callable[..., Actor[Never]], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Start:
    return Start(cls, *args, **kwargs)


@frozen
class Spec:
    """What every child has, be it an actor or a supervisor.

    Attributes:
      id: its name among its siblings: not empty, no "/". Paths are ids joined by "/".
      restart: when it is started again. Default `Restart.PERMANENT`.
      significant: its end may end the supervisor, see `AutoShutdown`. Default no.
      budget: a restart budget of its own, besides the supervisor's. Default ``None``: none.
      exhausted: what happens when that budget is spent: ESCALATE, STOP or SHUTDOWN.
      directives: rows that replace the supervisor's severity table for this child.
    """

    id: str
    restart: Restart = field(default=Restart.PERMANENT, kw_only=True)
    significant: bool = field(default=False, kw_only=True)
    budget: Intensity | None = field(default=None, kw_only=True)
    exhausted: Directive | None = field(default=None, kw_only=True)
    directives: Mapping[Severity, Directive] = field(factory=dict, kw_only=True)


@frozen
class Child(Spec):
    """One actor as a child.

    Attributes:
      start: the class and its arguments.
      shutdown_s: seconds between being asked to stop and being cancelled; `BRUTAL_KILL` or
        `INFINITY`. Bounds ``stopping()`` after a failure too. Default 5, as in OTP.
      start_s: seconds ``started()`` may take. Default 30; `INFINITY`: no limit, as in OTP.
      hang_s: seconds one message may take before the actor is cancelled and fails with `Hung`.
        Default ``None``: no limit.
      mailbox: bound and overflow policy.
    """

    start: Start
    shutdown_s: float | BrutalKill = field(default=5.0, kw_only=True)
    start_s: float = field(default=30.0, kw_only=True)
    hang_s: float | None = field(default=None, kw_only=True)
    mailbox: MailboxSpec = field(factory=MailboxSpec, kw_only=True)


@frozen
class SupervisorSpec(Spec):
    """What static and dynamic supervisors share.

    Attributes:
      intensity: its restart budget. Default 3 restarts in 5 seconds.
      policy: how it reacts to failures; ``None``: as its parent, and the root as
        `ringfence.supervisors.policy.DEFAULT`.
      shutdown_s: seconds its whole subtree gets to stop before it is cancelled. Default
        `INFINITY`: the children have bounds of their own.
    """

    intensity: Intensity = field(factory=Intensity, kw_only=True)
    policy: Policy | None = field(default=None, kw_only=True)
    shutdown_s: float | BrutalKill = field(default=INFINITY, kw_only=True)


@frozen
class Supervisor(SupervisorSpec):
    """A supervisor of children known in advance; more can be added while it runs.

    Attributes:
      children: in start order; stopped in the reverse order.
      strategy: which siblings are restarted together. Default one_for_one.
      auto_shutdown: whether the end of significant children ends it. Default never.
    """

    children: Sequence[Spec] = field(default=(), kw_only=True)
    strategy: RestartStrategy = field(default=RestartStrategy.ONE_FOR_ONE, kw_only=True)
    auto_shutdown: AutoShutdown = field(default=AutoShutdown.NEVER, kw_only=True)


@frozen
class DynamicSupervisor(SupervisorSpec):
    """A supervisor of children of one kind, added and removed while it runs: one per symbol.

    Always one_for_one, without an order: its children are stopped all at once, with one common
    timer. OTP: simple_one_for_one, Elixir: DynamicSupervisor.

    Attributes:
      template: the child; ``start_child(key, *args)`` puts more arguments behind its own.
      children_max: no more than this many at a time. Default 100,000.
    """

    template: Child
    children_max: int = field(default=100_000, kw_only=True)
