"""A question gets exactly one outcome, in time: its answer, or an error that says why not.

Prints:

    101
    AskTimeout: desk/prices exceeded 0.2s
    ActorCrashed: desk/prices failed before it answered: KeyError: 'DOGE'
    NoReply: desk/prices finished with PriceOf and did not answer it: ...
    101
"""

import trio
from attrs import define, frozen

from ringfence.actors import Actor, Ask, Name, Ref
from ringfence.actors.errors import ActorError
from ringfence.runtime import open_system
from ringfence.supervisors import OTP, Child, Start, Supervisor


@frozen
class PriceOf(Ask[int]):
    symbol: str


@define
class Prices(Actor[PriceOf]):
    async def receive(self, message: PriceOf) -> None:
        match message.symbol:
            case "BTC":
                message.reply(101)
            case "SLOW":
                await trio.sleep(0.25)
                message.reply(7)  # too late: it goes nowhere
            case "FORGOTTEN":
                pass
            case other:
                raise KeyError(other)


async def show(prices: Ref[PriceOf], symbol: str) -> None:
    try:
        print(await prices.ask(PriceOf(symbol), within_s=0.2))
    except ActorError as error:
        print(f"{type(error).__name__}: {error}")


async def main() -> None:
    tree = Supervisor("desk", policy=OTP, children=[Child("prices", Start(Prices))])
    async with open_system(tree) as system:
        prices = system.ref(Name[PriceOf]("desk/prices"))
        for symbol in ("BTC", "SLOW", "DOGE", "FORGOTTEN", "BTC"):
            await show(prices, symbol)


if __name__ == "__main__":
    trio.run(main)
