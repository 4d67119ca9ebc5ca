"""The trees that tests run as processes; `python bots.py TREE` runs one with an emergency path."""

import os
import sys
import time
from typing import Any

import trio
from attrs import define

from ringfence.actors import Actor, Exit
from ringfence.actors.errors import EmergencyShutdown, Severity, SupervisorFailed
from ringfence.runtime import run
from ringfence.supervisors import (
    INFINITY,
    Child,
    Directive,
    Intensity,
    RestartStrategy,
    Start,
    Supervisor,
)


def say(text: str) -> None:
    """Write a line a test waits for."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@define
class Plain(Actor[str]):
    """Says when it is up and when it stops."""

    async def started(self) -> None:
        say(f"{self.context.path} is up")

    async def receive(self, message: str) -> None: ...

    async def stopping(self, reason: Exit) -> None:
        say(f"{self.context.path} stops: {reason}")


@define
class Last(Plain):
    """Says so when the whole tree is up: the last child of each tree that gets signals."""

    async def started(self) -> None:
        self.context.after(0.05, "go")

    async def receive(self, message: str) -> None:
        say("all up")


@define
class Stubborn(Plain):
    """Never finishes stopping."""

    async def stopping(self, reason: Exit) -> None:
        say(f"{self.context.path} hangs")
        await trio.sleep_forever()


@define
class FailsAtStop(Plain):
    """Fails while it cleans up."""

    async def stopping(self, reason: Exit) -> None:
        msg = "could not cancel open orders"
        raise RuntimeError(msg)


@define
class ExitsAtStop(Plain):
    """Raises what no supervisor takes for a failure while it cleans up."""

    async def stopping(self, reason: Exit) -> None:
        raise SystemExit(5)


@define
class Exits(Plain):
    """Raises what no supervisor takes for a failure."""

    error: BaseException

    async def started(self) -> None:
        self.context.after(0.05, "go")

    async def receive(self, message: str) -> None:
        raise self.error


@define
class Bad(Plain):
    """Fails soon after it is up."""

    api_key: str = "s3cret"

    async def started(self) -> None:
        self.context.after(0.05, "go")

    async def receive(self, message: str) -> None:
        password = self.api_key
        raise ConnectionError("reset by peer" if password else "")


@define
class Ruin(Bad):
    """Fails in a way that needs a person at once."""

    async def receive(self, message: str) -> None:
        raise EmergencyShutdown("lost track of money")


@define
class RuinAtStart(Plain):
    """The same while it starts."""

    async def started(self) -> None:
        raise EmergencyShutdown("lost track of money")


@define
class Late(Bad):
    """Fails while the emergency path is busy."""

    async def started(self) -> None:
        self.context.after(0.2, "go")


@define
class Busy(Plain):
    """Computes for ever in a handler."""

    async def started(self) -> None:
        self.context.after(0.0, "go")

    async def receive(self, message: str) -> None:
        say("busy")
        while True:
            time.sleep(0.01)  # noqa: ASYNC251 - what must not be done is what is tested


def desk(*children: Any, **fields: Any) -> Supervisor:
    return Supervisor("desk", children=children, **fields)


good = desk(Child("feed", Start(Plain)), Child("risk", Start(Last)))
stubborn = desk(Child("feed", Start(Stubborn), shutdown_s=INFINITY), Child("risk", Start(Last)))
slow = desk(Child("feed", Start(Stubborn), shutdown_s=0.05))
unclean = desk(Child("orders", Start(FailsAtStop)), Child("feed", Start(Plain)))
failing_twice = desk(Child("orders", Start(FailsAtStop)), Child("feed", Start(Ruin)))
exits_at_stop = desk(Child("feed", Start(ExitsAtStop)))
exits = desk(Child("feed", Start(Exits, SystemExit(3))))
interrupts = desk(Child("feed", Start(Exits, KeyboardInterrupt())))
failing = desk(
    Child("feed", Start(Bad)),
    Child("risk", Start(Plain)),
    strategy=RestartStrategy.REST_FOR_ONE,
    intensity=Intensity(restarts_max=1, period_s=60.0),
)
ruin = desk(Supervisor("orders", children=[Child("gate", Start(Ruin))]), Child("log", Start(Plain)))
ruin_at_start = desk(Child("log", Start(Plain)), Child("gate", Start(RuinAtStart)))
ruin_twice = desk(
    Supervisor("orders", children=[Child("gate", Start(Ruin))]),
    Child("late", Start(Late), directives=dict.fromkeys(Severity, Directive.ESCALATE)),
)
busy = desk(Child("loop", Start(Busy)))
wrong = desk(Child("a b", Start(Plain), shutdown_s=-1), Plain)
number = 5


def made() -> Supervisor:
    """Return a tree, as a program with options would."""
    return good


async def flat(error: SupervisorFailed) -> bool:
    say(f"flattening after {error.path}")
    return True


async def slowly_flat(_error: SupervisorFailed) -> bool:
    await trio.sleep(0.5)
    say("flat")
    return True


async def not_flat(_error: SupervisorFailed) -> bool:
    return False


async def hanging(_error: SupervisorFailed) -> bool:
    say("flattening")
    await trio.sleep(3600)
    return True


async def broken(_error: SupervisorFailed) -> bool:
    msg = "no connection to the venue"
    raise ConnectionError(msg)


if __name__ == "__main__":
    paths = {
        "flat": flat,
        "slowly_flat": slowly_flat,
        "not_flat": not_flat,
        "hanging": hanging,
        "broken": broken,
    }
    raise SystemExit(
        run(
            globals()[sys.argv[1]],
            emergency=paths.get(sys.argv[2]),
            emergency_s=float(os.environ.get("EMERGENCY_S", "30")),
            log=None,
        )
    )
