"""A handler that blocks the event loop is noticed, named and shown."""

import threading
import time

import pytest
import trio
from attrs import define

from ringfence.actors import Actor, Name
from ringfence.actors.events import Event, LoopBlocked
from ringfence.runtime.stall import StallWatch
from ringfence.runtime.system import open_system
from ringfence.supervisors import Child, Start, Supervisor


@define
class Sleepy(Actor[float]):
    async def receive(self, message: float) -> None:
        time.sleep(message)  # noqa: ASYNC251 - what must not be done is what is tested


@define
class SleepyBehind(Actor[float]):
    async def receive(self, message: float) -> None:
        self.context.start_soon(self.work, message)

    async def work(self, nap_s: float) -> None:
        time.sleep(nap_s)  # noqa: ASYNC251


@pytest.mark.real_time
@pytest.mark.parametrize(("cls", "inner"), [(Sleepy, "in receive"), (SleepyBehind, "in work")])
async def test_a_blocked_loop_names_the_actor_and_the_line(
    cls: type[Actor[float]], inner: str
) -> None:
    tree = Supervisor("desk", children=[Child("calm", Start(Sleepy)), Child("nap", Start(cls))])
    seen: list[LoopBlocked] = []
    noticed = trio.Event()

    def look(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            seen.append(event)
            noticed.set()

    async with open_system(tree) as system:
        system.events.listen(look)
        with StallWatch(system.events, "desk", blocked_s=0.05):
            await trio.sleep(0.2)
            assert [] == seen
            system.ref(Name[float]("desk/nap")).tell(0.5)
            with trio.fail_after(30):
                await noticed.wait()
    (event,) = seen
    assert "desk/nap" == event.path
    assert 0.05 < event.blocked_s < 30
    assert inner in event.stack
    assert "trio/_core" not in event.stack


@pytest.mark.real_time
async def test_its_thread_ends_with_the_block_and_holds_nothing_open() -> None:
    async with open_system(Supervisor("desk")) as system:
        with StallWatch(system.events, "desk", blocked_s=30) as watch:
            assert watch._thread.daemon
        await trio.to_thread.run_sync(watch._thread.join, 30)
    assert not watch._thread.is_alive()
    assert "ringfence stall" not in [thread.name for thread in threading.enumerate()]
