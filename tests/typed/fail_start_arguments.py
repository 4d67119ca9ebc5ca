"""A child spec whose actor could not be built."""

from decimal import Decimal

from attrs import define, field, frozen

from ringfence.actors import Actor
from ringfence.supervisors import Child, Start, Supervisor


@frozen
class Fill:
    symbol: str


@define
class Portfolio(Actor[Fill]):
    limit: Decimal
    owner: str = "desk"
    positions: dict[str, Decimal] = field(factory=dict, init=False)

    async def receive(self, message: Fill) -> None:
        pass


Start(Portfolio, Decimal(1))
Start(Portfolio, limit=Decimal(1), owner="me")
Start(Portfolio, limit="10")  # E: arg-type
Start(Portfolio, "10")  # E: arg-type
Start(Portfolio)  # E: call-arg
Start(Portfolio, limit=Decimal(1), positions={})  # E: call-arg
Start(Portfolio, limt=Decimal(1))  # E: call-arg
Start(Portfolio(limit=Decimal(1)))  # E: arg-type

Supervisor("desk", children=[Child("portfolio", Start(Portfolio, limit=10.0))])  # E: arg-type
Supervisor("desk", children=[Child("portfolio", Portfolio)])  # E: arg-type
Supervisor("desk", children=[Portfolio(limit=Decimal(1))])  # E: list-item
Child("portfolio", Start(Portfolio, Decimal(1)), shutdown_s="5")  # E: arg-type
Child("portfolio", Start(Portfolio, Decimal(1)), 5.0)  # E: arg-type, call-arg
