"""Who else is restarted when one child fails: nobody, those after it, or everybody.

Prints:

    one_for_one   restarts strategy
    rest_for_one  restarts strategy, orders
    one_for_all   restarts feed, strategy, orders
"""

import trio
from attrs import define

from ringfence.actors import Actor, Name
from ringfence.actors.events import ActorStarted, Event
from ringfence.runtime import open_system
from ringfence.supervisors import Child, RestartStrategy, Start, Supervisor


@define
class Part(Actor[str]):
    async def receive(self, message: str) -> None:
        raise ConnectionResetError(message)


async def watch(strategy: RestartStrategy) -> None:
    children = [Child(name, Start(Part)) for name in ("feed", "strategy", "orders")]
    tree = Supervisor("desk", strategy=strategy, children=children)
    restarted = []

    def note(event: Event) -> None:
        if isinstance(event, ActorStarted):
            restarted.append(event.path.removeprefix("desk/"))

    async with open_system(tree) as system:
        system.events.listen(note)
        system.ref(Name[str]("desk/strategy")).tell("connection lost")
        await trio.sleep(0.1)
    print(f"{strategy.value:12s}  restarts {', '.join(restarted)}")


async def main() -> None:
    await watch(RestartStrategy.ONE_FOR_ONE)
    await watch(RestartStrategy.REST_FOR_ONE)  # the usual one: later children need earlier ones
    await watch(RestartStrategy.ONE_FOR_ALL)


if __name__ == "__main__":
    trio.run(main)
