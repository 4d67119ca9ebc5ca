"""An actor: typed messages in, state nobody else can touch, typed answers out.

Prints:

    3
    counter lives at demo/counter
"""

import trio
from attrs import define, frozen

from ringfence.actors import Actor, Ask, Name
from ringfence.runtime import open_system
from ringfence.supervisors import Child, Start, Supervisor


@frozen
class Add:
    amount: int


@frozen
class Total(Ask[int]):  # a question; its answer is an int
    pass


@define
class Counter(Actor[Add | Total]):
    total: int = 0

    async def receive(self, message: Add | Total) -> None:
        match message:
            case Add(amount):
                self.total += amount
            case Total():
                message.reply(self.total)


COUNTER = Name[Add | Total]("demo/counter")
tree = Supervisor("demo", children=[Child("counter", Start(Counter))])


async def main() -> None:
    async with open_system(tree) as system:
        counter = system.ref(COUNTER)
        counter.tell(Add(1))  # never waits
        counter.tell(Add(2))
        print(await counter.ask(Total(), within_s=1.0))  # waits, at most a second
        print(f"counter lives at {counter.path}")


if __name__ == "__main__":
    trio.run(main)
