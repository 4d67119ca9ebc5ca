"""Children of one kind, added and removed while the tree runs: one per symbol.

Prints:

    best bid of BTC: 101
    cannot start desk/books/DOGE: children_max, ...
    left: desk/books/BTC
"""

import trio
from attrs import define

from ringfence.actors import Actor, Ask, Name
from ringfence.actors.errors import ChildRefused
from ringfence.runtime import open_system
from ringfence.supervisors import Child, DynamicSupervisor, Start, Supervisor


class BestBid(Ask[int]): ...


@define
class Book(Actor[int | BestBid]):
    venue: str  # from the template, for all
    symbol: str  # from start_child, for this one
    bid: int = 0

    async def receive(self, message: int | BestBid) -> None:
        if isinstance(message, BestBid):
            message.reply(self.bid)
        else:
            self.bid = max(self.bid, message)


books = DynamicSupervisor(
    "books", template=Child("book", Start.partial(Book, "paper")), children_max=2
)


async def main() -> None:
    async with open_system(Supervisor("desk", children=[books])) as system:
        supervisor = system.supervisor("desk/books")
        for symbol in ("BTC", "ETH"):
            await supervisor.start_child(symbol, symbol)  # its id, then more arguments for Book
        book = system.ref(Name[int | BestBid]("desk/books/BTC"))
        book.tell(101)
        print(f"best bid of BTC: {await book.ask(BestBid(), within_s=1.0)}")
        try:
            await supervisor.start_child("DOGE", "DOGE")
        except ChildRefused as error:
            print(error)
        await supervisor.terminate_child("ETH")
        print("left:", *[child.path for child in supervisor.which_children()])


if __name__ == "__main__":
    trio.run(main)
