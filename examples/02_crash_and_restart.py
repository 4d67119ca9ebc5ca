"""A feed loses its connection now and then; the book beside it does not notice.

Watch it for ten seconds with ``make run``: three failures heal at once, the fourth has to wait.

Prints:

    feed: connected, incarnation 1
    book: quote 1 at 100
    book: quote 2 at 101
    feed: connected, incarnation 2
    book: quote 3 at 100
"""

from attrs import define

from ringfence.actors import Actor, Name
from ringfence.runtime import run
from ringfence.supervisors import AutoShutdown, Child, Restart, Start, Supervisor


@define
class Book(Actor[int]):
    quotes_max: int
    quotes: int = 0

    async def receive(self, message: int) -> None:
        self.quotes += 1
        print(f"book: quote {self.quotes} at {message}", flush=True)
        if self.quotes == self.quotes_max:
            self.context.stop()


@define
class Feed(Actor[int]):
    tick_s: float
    price: int = 99

    async def started(self) -> None:
        print(f"feed: connected, incarnation {self.context.incarnation}", flush=True)
        self.context.every(self.tick_s, 1)

    async def receive(self, message: int) -> None:
        self.price += message
        if self.price > 101:
            raise ConnectionResetError("the venue closed the connection")
        self.context.ref_of(Name[int]("desk/book")).tell(self.price)


def desk(tick_s: float, quotes_max: int) -> Supervisor:
    book = Child("book", Start(Book, quotes_max), restart=Restart.TRANSIENT, significant=True)
    children = [book, Child("feed", Start(Feed, tick_s))]
    return Supervisor("desk", children=children, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)


tree = desk(tick_s=0.8, quotes_max=1_000)

if __name__ == "__main__":
    raise SystemExit(run(desk(tick_s=0.01, quotes_max=3)))
