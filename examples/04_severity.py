"""The error decides: heal, escalate, or go flat and stop. The exit code says which.

Prints:

    strategy 1 starts
    strategy 2 starts
    strategy 3 starts
    bot/desk: closing all positions
    exit code 3: emergency shutdown, and verified flat

Exits with 3.
"""

from attrs import define

from ringfence.actors import Actor, Name
from ringfence.actors.errors import RiskManagementError, SupervisorFailed
from ringfence.runtime import run
from ringfence.supervisors import Backoff, Child, Policy, Start, Supervisor

ERRORS = {
    "connection": ConnectionResetError("closed by peer"),  # LOW: restarted at once
    "bug": ValueError("price is nan"),  # HIGH: its supervisor gives up; the parent restarts that
    "money": RiskManagementError("loss limit exceeded"),  # CRITICAL: the whole system stops
}


@define
class Strategy(Actor[str]):
    async def started(self) -> None:
        print(f"strategy {self.context.incarnation} starts")

    async def receive(self, message: str) -> None:
        raise ERRORS[message]


@define
class Trouble(Actor[str]):
    async def started(self) -> None:
        for number, message in enumerate(ERRORS, 1):
            self.context.after(number * 0.1, message)

    async def receive(self, message: str) -> None:
        self.context.ref_of(Name[str]("bot/desk/strategy")).tell(message)


async def close_positions(error: SupervisorFailed) -> bool:
    print(f"{error.path}: closing all positions")
    return True  # only if the venue confirmed it


desk = Supervisor("desk", children=[Child("strategy", Start(Strategy))])
soon = Policy(backoff=Backoff(initial_s=0.05))  # escalated failures are MEDIUM: they wait
tree = Supervisor("bot", policy=soon, children=[desk, Child("trouble", Start(Trouble))])

if __name__ == "__main__":
    code = run(tree, emergency=close_positions)
    print(f"exit code {code:d}: {code.meaning}")
    raise SystemExit(code)
