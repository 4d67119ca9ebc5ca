"""A message that the actor behind a ref does not take."""

from attrs import define, frozen

from ringfence.actors import Actor, Ask, Name, Ref


@frozen
class Fill:
    symbol: str


@frozen
class Cancel:
    symbol: str


@frozen
class CountOf(Ask[int]):
    symbol: str


async def sends(fills: Ref[Fill]) -> None:
    fills.tell(Fill("BTC"))
    fills.tell(Cancel("BTC"))  # E: arg-type
    fills.tell("BTC")  # E: arg-type
    fills.tell(Fill)  # E: arg-type
    await fills.send(Cancel("BTC"))  # E: arg-type


async def asks(fills: Ref[Fill]) -> None:
    await fills.ask(CountOf("BTC"), within_s=1.0)  # E: arg-type


def takes_both(ref: Ref[Fill | Cancel]) -> None:
    ref.tell(Cancel("BTC"))


def a_ref_that_takes_less_does_not_serve_where_more_is_sent(fills: Ref[Fill]) -> None:
    takes_both(fills)  # E: arg-type


FILLS = Name[Fill]("desk/fills")


@define
class Desk(Actor[Fill]):
    async def receive(self, message: Fill) -> None:
        self.context.ref_of(FILLS).tell(Cancel(message.symbol))  # E: arg-type
        self.context.ref.tell(Cancel(message.symbol))  # E: arg-type
        self.context.after(1.0, Cancel(message.symbol))  # E: arg-type
        self.context.every(1.0, Cancel(message.symbol))  # E: arg-type
