"""The tree of a scenario, made of real actors and real supervisors under the policy `OTP`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field, frozen

from ringfence.actors import IGNORE, Actor, Exit, Ignore, Normal, Shutdown
from ringfence.supervisors import (
    BRUTAL_KILL,
    INFINITY,
    OTP,
    AutoShutdown,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.spec import Spec, SupervisorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = Any
"""A scenario, a trace, or a part of one, as `json.loads` gives it."""


# -- the actors --------------------------------------------------------------------------------


class Scripted(Exception):  # noqa: N818 - it stands for any error, and is named after none
    """The failure a scenario asked for; ``reason`` is its name in the trace."""

    def __init__(self, reason: Json) -> None:
        self.reason = reason
        super().__init__(str(reason))


@define
class Plan:
    """The outcomes of the starts to come, by path, and the kind of actor that has them."""

    worker: type[Worker]
    outcomes: dict[str, deque[Json]] = field(factory=dict)

    def add(self, path: str, outcomes: Iterable[Json]) -> None:
        self.outcomes.setdefault(path, deque()).extend(outcomes)

    def take(self, path: str) -> Json:
        waiting = self.outcomes.get(path)
        return waiting.popleft() if waiting else "ok"


@frozen
class Die:
    """Told to a worker: end with this reason."""

    reason: Json


class Worker(Actor[Die]):
    """Dies when told, and answers a request to stop as its spec says."""

    def __init__(self, plan: Plan, on_stop: Json, path: str) -> None:
        self.plan = plan
        self.on_stop = on_stop
        self.path = path
        self.by_itself = False

    def receive(self, message: Die) -> None:
        self.by_itself = True
        self.context.stop(exit_of(message.reason))

    async def stopping(self, reason: Exit) -> Normal | Shutdown | None:
        if self.by_itself:
            return None
        match self.on_stop:
            case "ignore":
                await trio.sleep_forever()
            case ["delay", delay_ms]:
                await trio.sleep(delay_ms / 1000)
            case ["exit", other]:
                return exit_of(other)
            case _:
                pass
        return None

    def begin(self) -> Ignore | None:
        """Let the next start go as planned."""
        match self.plan.take(self.path):
            case "ignore":
                return IGNORE
            case ["error", reason]:
                raise Scripted(reason)
            case ["raise", reason]:
                raise Scripted(["EXIT", reason])
            case _:
                return None


class Starting(Worker):
    """Starts in ``started``, where it may also be ignored."""

    async def started(self) -> Ignore | None:
        return self.begin()


class Built(Worker):
    """Is up as soon as it is built: the supervisor restarts such actors in a shorter way."""

    def __init__(self, plan: Plan, on_stop: Json, path: str) -> None:
        super().__init__(plan, on_stop, path)
        ignored = self.begin()
        assert ignored is None, "a constructor cannot ask to be ignored"


def exit_of(reason: Json) -> Normal | Shutdown:
    """Return the exit a reason stands for; raise it if it is a failure."""
    match reason:
        case "normal":
            return Normal()
        case "shutdown":
            return Shutdown()
        case ["shutdown", detail]:
            return Shutdown(detail)
        case _:
            raise Scripted(reason)


# -- the tree ----------------------------------------------------------------------------------


def supervisor_of(spec: Json, path: str, plan: Plan) -> SupervisorSpec:
    """Build the supervisor a scenario describes, with everything below it."""
    intensity = Intensity(spec.get("intensity", 1), float(spec.get("period", 5)))
    if spec.get("strategy") == "simple_one_for_one":
        (template,) = spec["children"]
        return DynamicSupervisor(
            spec["id"],
            template=worker_of(template, None, plan),
            intensity=intensity,
            policy=OTP,
            **_as_child(spec, INFINITY),
        )
    return Supervisor(
        spec["id"],
        children=[child_of(child, f"{path}/{child['id']}", plan) for child in spec["children"]],
        strategy=RestartStrategy(spec.get("strategy", "one_for_one")),
        intensity=intensity,
        auto_shutdown=AutoShutdown(spec.get("auto_shutdown", "never")),
        policy=OTP,
        **_as_child(spec, INFINITY),
    )


def child_of(spec: Json, path: str, plan: Plan) -> Spec:
    """Build one child, be it a worker or a supervisor."""
    if "children" in spec:
        return supervisor_of(spec, path, plan)
    return worker_of(spec, path, plan)


def worker_of(spec: Json, path: str | None, plan: Plan) -> Child:
    """Build one worker; a template gets its path when it is used. OTP limits no start."""
    own = () if path is None else (path,)
    start = Start(plan.worker, plan, spec.get("on_stop", "prompt"), *own)
    return Child(spec["id"], start, start_s=INFINITY, **_as_child(spec, 5.0))


def _as_child(spec: Json, shutdown_s: float) -> dict[str, Any]:
    match spec.get("shutdown"):
        case "brutal_kill":
            shutdown: object = BRUTAL_KILL
        case "infinity":
            shutdown = INFINITY
        case None:
            shutdown = shutdown_s
        case milliseconds:
            shutdown = milliseconds / 1000
    return {
        "restart": Restart(spec.get("restart", "permanent")),
        "significant": spec.get("significant", False),
        "shutdown_s": shutdown,
    }


def templates_of(spec: Json, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and template id of every dynamic supervisor of a tree."""
    for child in spec.get("children", ()):
        if spec.get("strategy") == "simple_one_for_one":
            yield path, child["id"]
        else:
            yield from templates_of(child, f"{path}/{child['id']}")
