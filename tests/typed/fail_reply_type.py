"""The reply type is part of the question: for the one who answers and for the one who asks."""

from decimal import Decimal

from attrs import frozen

from ringfence.actors import Ask, Ref


@frozen
class PositionOf(Ask[Decimal]):
    symbol: str


def answers(question: PositionOf) -> None:
    question.reply(Decimal(1))
    question.reply("one")  # E: arg-type
    question.reply(1.0)  # E: arg-type
    question.reply()  # E: call-arg


async def asks(portfolio: Ref[PositionOf]) -> None:
    right: Decimal = await portfolio.ask(PositionOf("BTC"), within_s=1.0)
    wrong: str = await portfolio.ask(PositionOf("BTC"), within_s=1.0)  # E: arg-type
    print(right, wrong)


async def asks_without_a_deadline(portfolio: Ref[PositionOf]) -> None:
    await portfolio.ask(PositionOf("BTC"))  # E: call-arg


async def forgets_to_wait(portfolio: Ref[PositionOf]) -> None:
    portfolio.ask(PositionOf("BTC"), within_s=1.0)  # E: unused-coroutine
