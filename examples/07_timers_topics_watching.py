"""Three ways to hear of something: a timer, a topic, and the end of another actor.

Prints:

    trade at 101
    one minute
    two minutes
    desk/exchange ended, incarnation 1: ConnectionResetError: gone
    trade at 102
"""

from attrs import define, frozen

from ringfence.actors import Actor, Name, Terminated
from ringfence.runtime import run
from ringfence.supervisors import AutoShutdown, Child, Restart, Start, Supervisor


@frozen
class Trade:
    price: int


@define
class Exchange(Actor[str]):
    async def started(self) -> None:
        self.context.publish(Trade(100 + self.context.incarnation))
        self.context.after(0.1, "gone")  # once; `every` is again and again

    async def receive(self, message: str) -> None:
        raise ConnectionResetError(message)


@define
class Listener(Actor[Trade | str | Terminated]):
    async def started(self) -> None:
        self.context.subscribe(Trade)  # by class, whoever publishes it
        self.context.watch(self.context.ref_of(Name[str]("desk/exchange")))
        self.context.after(0.01, "one minute")
        self.context.after(0.02, "two minutes")

    async def receive(self, message: Trade | str | Terminated) -> None:
        match message:
            case Trade(price):
                print(f"trade at {price}")
                if price == 102:
                    self.context.stop()  # its timers, topics and watches end with it
            case str():
                print(message)
            case Terminated(path, incarnation, reason):
                print(f"{path} ended, incarnation {incarnation}: {reason}")


listener = Child("listener", Start(Listener), restart=Restart.TRANSIENT, significant=True)
children = [listener, Child("exchange", Start(Exchange))]
tree = Supervisor("desk", children=children, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

if __name__ == "__main__":
    raise SystemExit(run(tree))
