"""A message that the actor accepts and its match does not handle."""

from typing import assert_never

from attrs import define, frozen

from ringfence.actors import Actor


@frozen
class Fill:
    symbol: str


@frozen
class Cancel:
    symbol: str


@define
class Desk(Actor[Fill | Cancel]):
    async def receive(self, message: Fill | Cancel) -> None:
        match message:
            case Fill():
                pass
            case _:
                assert_never(message)  # E: arg-type
