"""A feed reads in a background task. What fails together arrives together, as one group.

Prints:

    price 101
    desk/feed ended: desk/feed: 2 failures (2 sub-exceptions)
    ConnectionResetError('closed by the venue')
    TimeoutError('no heartbeat')
    price 101
"""

import trio
from attrs import define, field

from ringfence.actors import Actor
from ringfence.actors.events import ActorEnded, Event
from ringfence.actors.lifecycle import Failed
from ringfence.runtime import open_system
from ringfence.supervisors import Child, Start, Supervisor


@define
class Feed(Actor[int]):
    lost: trio.Event = field(factory=trio.Event)

    async def started(self) -> None:
        self.context.start_soon(self.read)  # ends with this actor at the latest,
        self.context.start_soon(self.heartbeat)  # and its failure is the actor's failure

    async def read(self) -> None:
        self.context.ref.tell(101)
        await self.lost.wait()
        raise ConnectionResetError("closed by the venue")

    async def heartbeat(self) -> None:
        await self.lost.wait()
        raise TimeoutError("no heartbeat")

    async def receive(self, message: int) -> None:
        print(f"price {message}")
        if self.context.incarnation == 1:
            self.lost.set()


def show(event: Event) -> None:
    if isinstance(event, ActorEnded) and isinstance(event.exit, Failed):
        error = event.exit.error
        print(f"{event.path} ended: {error}")
        parts = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        print(*sorted(repr(part) for part in parts), sep="\n")


async def main() -> None:
    desk = Supervisor("desk", children=[Child("feed", Start(Feed))])
    async with open_system(desk, listen=(show,)):
        await trio.sleep(0.1)


if __name__ == "__main__":
    trio.run(main)
