"""A restart may wait, and restarts run out: backoff, a budget for one child, one for them all.

Prints:

    desk/news: stopped for good
    feed: restart 1 after 0.01 s
    feed: restart 2 after 0.02 s
    feed: restart 3 after 0.04 s
    desk gave up: more restarts than its intensity allows
    the tree failed with all that led to it
"""

import trio
from attrs import define

from ringfence.actors import Actor
from ringfence.actors.errors import DataFeedError
from ringfence.actors.events import Event, RestartScheduled, SupervisorGaveUp
from ringfence.runtime import open_system
from ringfence.supervisors import Backoff, Child, Directive, Intensity, Policy, Start, Supervisor
from ringfence.supervisors.incident import IncidentRecorded, Outcome


@define
class Broken(Actor[str]):
    after_s: float

    async def started(self) -> None:
        self.context.after(self.after_s, "no data")

    async def receive(self, message: str) -> None:
        raise DataFeedError(message)  # MEDIUM: restarted after a wait


def show(event: Event) -> None:
    match event:
        case RestartScheduled(child=child, attempt=attempt, delay_s=delay_s):
            print(f"{child}: restart {attempt} after {delay_s:g} s")
        case SupervisorGaveUp(path=path, why=why):
            print(f"{path} gave up: {why}")
        case IncidentRecorded(incident=one) if one.outcome is Outcome.STOPPED:
            print(f"{one.causes[0].path}: {one.outcome.value}")
        case _:
            pass


none, four = Intensity(restarts_max=0), Intensity(restarts_max=4, period_s=60.0)
news = Child("news", Start(Broken, 0.01), budget=none, exhausted=Directive.STOP)
children = [news, Child("feed", Start(Broken, 0.2))]
waits = Policy(backoff=Backoff(initial_s=0.01, jitter=0.0))
tree = Supervisor("desk", intensity=four, policy=waits, children=children)  # news costs one of four


async def main() -> None:
    try:
        async with open_system(tree, listen=(show,)):
            await trio.sleep_forever()
    except* DataFeedError:
        print("the tree failed with all that led to it")


if __name__ == "__main__":
    trio.run(main)
