"""What an actor does through its context, and a plain (not async) receive."""

from attrs import define, frozen

from ringfence.actors import Actor, Name


@frozen
class Tick:
    number: int


@frozen
class Quote:
    price: float


@define
class Strategy(Actor[Quote]):
    def receive(self, message: Quote) -> None:
        self.context.log.info("quote", price=message.price)


STRATEGY = Name[Quote]("desk/strategy")


@define
class Feed(Actor[Tick]):
    symbol: str

    async def started(self) -> None:
        self.context.every(1.0, Tick(0))
        timer = self.context.after(0.5, Tick(1))
        timer.cancel()
        self.context.start_soon(self.poll, 3)

    async def poll(self, attempts: int) -> None:
        self.context.ref.tell(Tick(attempts))

    async def receive(self, message: Tick) -> None:
        self.context.ref_of(STRATEGY).tell(Quote(float(message.number)))
        self.context.publish(Quote(1.0))
