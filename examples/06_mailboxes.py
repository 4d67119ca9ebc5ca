"""A mailbox is bounded: when full it refuses, makes the sender wait, or keeps only the newest.

Prints:

    refused: mailbox of desk/orders is full (2 messages): str was not delivered; ...
    desk/orders: Halt()
    desk/orders: buy
    desk/orders: sell
    desk/orders: hold
    desk/quotes: Quote(symbol='BTC', price=103)
    desk/quotes: Quote(symbol='ETH', price=7)
    dead letter for desk/qoutes: no actor has this name; did you mean desk/quotes?
"""

import trio
from attrs import define, frozen

from ringfence.actors import Actor, MailboxSpec, Name, Overflow, Urgent
from ringfence.actors.errors import MailboxFull
from ringfence.runtime import open_system
from ringfence.supervisors import Child, Start, Supervisor


@frozen
class Quote:
    symbol: str
    price: int


@frozen
class Halt(Urgent):  # handled before everything that waits
    pass


@define
class Sink(Actor[Quote | str | Halt]):
    async def receive(self, message: Quote | str | Halt) -> None:
        print(f"{self.context.path}: {message}")


two = MailboxSpec(capacity=2)  # and Overflow.REJECT, the default: nothing is lost in silence
newest = MailboxSpec(overflow=Overflow.CONFLATE, key="symbol")
sinks = [Child("orders", Start(Sink), mailbox=two), Child("quotes", Start(Sink), mailbox=newest)]


async def main() -> None:
    async with open_system(Supervisor("desk", children=sinks)) as system:
        orders = system.ref(Name[str | Halt]("desk/orders"))
        try:
            for order in ("buy", "sell", "short"):
                orders.tell(order)
        except MailboxFull as error:
            print(f"refused: {error}")
        orders.tell(Halt())
        await orders.send("hold")  # waits for room: backpressure
        for quote in (Quote("BTC", 101), Quote("ETH", 7), Quote("BTC", 103)):
            system.ref(Name[Quote]("desk/quotes")).tell(quote)
        await trio.sleep(0.05)
        system.ref(Name[str]("desk/qoutes")).tell("lost")
        letter = system.kernel.dead_letters[-1]
        print(f"dead letter for {letter.path}: {letter.why.value}; did you mean {letter.hint}?")


if __name__ == "__main__":
    trio.run(main)
