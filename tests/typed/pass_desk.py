"""A small desk, as a user writes it: every line type-checks, and replies have the asked type."""

from decimal import Decimal
from typing import assert_never, assert_type

from attrs import define, field, frozen

from ringfence.actors import Actor, Ask, Name, Ref
from ringfence.supervisors import Child, Intensity, RestartStrategy, Start, Supervisor


@frozen
class Fill:
    symbol: str
    quantity: Decimal


@frozen
class PositionOf(Ask[Decimal]):
    symbol: str


@define
class Portfolio(Actor[Fill | PositionOf]):
    limit: Decimal
    positions: dict[str, Decimal] = field(factory=dict, init=False)

    async def receive(self, message: Fill | PositionOf) -> None:
        match message:
            case Fill(symbol, quantity):
                self.positions[symbol] = self.positions.get(symbol, Decimal(0)) + quantity
            case PositionOf(symbol) as question:
                question.reply(self.positions.get(symbol, Decimal(0)))
            case _:
                assert_never(message)


PORTFOLIO = Name[Fill | PositionOf]("desk/portfolio")

desk = Supervisor(
    "desk",
    strategy=RestartStrategy.REST_FOR_ONE,
    intensity=Intensity(restarts_max=3, period_s=60.0),
    children=[
        Child("portfolio", Start(Portfolio, limit=Decimal(10)), shutdown_s=5.0),
        Supervisor("nested", children=[Child("inner", Start(Portfolio, Decimal(1)))]),
    ],
)


async def caller(portfolio: Ref[Fill | PositionOf]) -> None:
    portfolio.tell(Fill("BTC", Decimal(1)))
    await portfolio.send(Fill("BTC", Decimal(1)))
    assert_type(await portfolio.ask(PositionOf("BTC"), within_s=1.0), Decimal)


async def prints_a_reply(portfolio: Ref[Fill | PositionOf]) -> None:
    """`print` takes any object: an Ask that is not covariant in its reply fails here."""
    print(await portfolio.ask(PositionOf("BTC"), within_s=1.0))


def only_fills(fills: Ref[Fill]) -> None:
    fills.tell(Fill("BTC", Decimal(1)))


def a_ref_that_takes_more_serves_where_less_is_sent(portfolio: Ref[Fill | PositionOf]) -> None:
    only_fills(portfolio)
