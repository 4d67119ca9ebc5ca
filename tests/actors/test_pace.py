"""The shared slice: batches that adapt, and one slice for all who run in a pass."""

import trio
import trio.testing
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from ringfence.actors import Actor, seams
from ringfence.actors.kernel import Kernel
from ringfence.actors.pace import BATCH_MAX, SLICE_S, Pace, next_batch
from ringfence.runtime import System
from ringfence.supervisors import Child, Start, Supervisor

BATCHES = st.integers(1, BATCH_MAX)
SECONDS = st.floats(0, 10)


@given(BATCHES, SECONDS)
def test_a_batch_is_never_empty_and_never_above_its_bound(batch: int, took_s: float) -> None:
    assert 1 <= next_batch(batch, took_s, SLICE_S) <= BATCH_MAX


@given(BATCHES, st.floats(0, SLICE_S / 4, exclude_max=True))
def test_a_batch_doubles_while_it_takes_less_than_a_quarter_of_the_slice(
    batch: int, took_s: float
) -> None:
    assert min(2 * batch, BATCH_MAX) == next_batch(batch, took_s, SLICE_S)


@given(BATCHES, st.floats(SLICE_S / 4, 10))
def test_a_batch_never_grows_once_it_takes_longer(batch: int, took_s: float) -> None:
    after = next_batch(batch, took_s, SLICE_S)
    assert after <= batch
    if after > 1:  # what that many will take, at the same speed, fits into a quarter
        assert after * (took_s / batch) <= SLICE_S / 4 * 1.001


@given(BATCHES, SECONDS, SECONDS)
def test_slower_handlers_never_get_a_larger_batch(batch: int, one_s: float, other_s: float) -> None:
    fast_s, slow_s = sorted((one_s, other_s))
    assert next_batch(batch, slow_s, SLICE_S) <= next_batch(batch, fast_s, SLICE_S)


@define
class Clock:
    """A clock that only work moves."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_all_who_yield_in_one_pass_share_the_next_slice() -> None:
    clock = Clock(5.0)
    pace = Pace(slice_s=1.0, clock=clock)
    assert pace.used_up(pace.now_s())

    async def yields() -> None:
        await pace.give_way()
        clock.now_s += 0.01  # whoever comes later must not push the end of the slice

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(yields)
    assert 1 == pace._number
    assert not pace.used_up(5.99)
    assert pace.used_up(6.0)
    await pace.give_way()
    assert 2 == pace._number


def test_the_clock_of_a_slice_is_real() -> None:
    assert Pace().now_s() <= seams.slice_clock()()


@define(eq=False)
class Passes(trio.abc.Instrument):
    """Notes how much work was done in each pass of the scheduler."""

    clock: Clock
    began_s: float = 0.0
    longest_s: float = 0.0

    def after_io_wait(self, timeout: float) -> None:
        self.longest_s = max(self.longest_s, self.clock.now_s - self.began_s)
        self.began_s = self.clock.now_s


WORK_S = 0.00002


@define(eq=False)
class Busy(Actor[int]):
    clock: Clock
    done: list[int]

    async def receive(self, message: int) -> None:
        self.clock.now_s += WORK_S
        self.done.append(message)


async def longest_pass_s(actors: int, messages: int) -> float:
    """Flood ``actors`` actors; return the work done in the longest pass of the scheduler."""
    clock, done = Clock(), list[int]()
    passes = Passes(clock)
    children = [Child(f"busy{number}", Start(Busy, clock, done)) for number in range(actors)]
    system = System(Supervisor("t", children=children), Kernel(Pace(clock=clock)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await system.wait_started()
        for child in children:
            tell = system.kernel.ref(f"t/{child.id}").tell
            for number in range(messages):
                tell(number)
        passes.began_s = clock.now_s
        trio.lowlevel.add_instrument(passes)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(passes)
        system.stop()
    assert actors * messages == len(done)
    return passes.longest_s


async def test_one_busy_actor_keeps_others_waiting_for_about_one_slice() -> None:
    assert await longest_pass_s(1, 1000) <= 1.5 * SLICE_S


async def test_a_hundred_busy_actors_share_one_slice() -> None:
    # Each may begin one message although the slice is over: 100 x 20 us, besides the slice. With
    # a slice of their own they would take 100 ms.
    assert await longest_pass_s(100, 200) <= 1.5 * SLICE_S + 100 * WORK_S
