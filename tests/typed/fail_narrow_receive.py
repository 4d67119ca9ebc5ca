"""An actor that promises two messages and can receive one."""

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
    async def receive(self, message: Fill) -> None:  # E: override
        pass
