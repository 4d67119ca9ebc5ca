"""The timer service against a sorted list: what fires, when, and in which order."""

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from ringfence.actors.timers import Timer, Timers

DELAYS_S = st.integers(0, 200).map(lambda tenths: tenths / 8)  # exact in binary: sums are too


@define
class Plan:
    """One timer: when it is asked for, what it is, and when it is cancelled, if at all."""

    asked_s: float
    delay_s: float
    period_s: float | None
    cancelled_s: float | None


PLANS = st.lists(
    st.builds(
        Plan,
        DELAYS_S,
        DELAYS_S,
        st.none() | st.integers(1, 40).map(lambda eighths: eighths / 8),
        st.none() | DELAYS_S,
    ),
    max_size=20,
)
HORIZON_S = 60.0


def expected(plans: list[Plan]) -> list[tuple[float, int]]:
    """Return (when, which) of every call due before the horizon: the model."""
    calls = []
    for number, plan in enumerate(plans):
        end_s = HORIZON_S if plan.cancelled_s is None else plan.asked_s + plan.cancelled_s
        when_s = plan.asked_s + plan.delay_s
        while when_s < min(end_s, HORIZON_S):
            calls.append((when_s, number))
            if plan.period_s is None:
                break
            when_s += plan.period_s
    return sorted(calls)


@define
class Bench:
    timers: Timers = field(factory=Timers)
    fired: list[tuple[float, int]] = field(factory=list)
    start_s: float = field(factory=trio.current_time)

    def call(self, number: int) -> Callable[[], None]:
        return lambda: self.fired.append((trio.current_time() - self.start_s, number))

    async def carry_out(self, number: int, plan: Plan) -> None:
        await trio.sleep_until(self.start_s + plan.asked_s)
        first_s = trio.current_time() + plan.delay_s
        timer: Timer
        if plan.period_s is None:
            timer = self.timers.call_at(first_s, self.call(number))
        else:
            timer = self.timers.call_every(first_s, plan.period_s, self.call(number))
        if plan.cancelled_s is not None:
            await trio.sleep(plan.cancelled_s)
            timer.cancel()
            timer.cancel()
            assert not timer.pending


@given(PLANS)
def test_timers_fire_like_a_sorted_list(plans: list[Plan]) -> None:
    async def scenario() -> None:
        bench = Bench()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.timers.run)
            async with trio.open_nursery() as clients:
                for number, plan in enumerate(plans):
                    clients.start_soon(bench.carry_out, number, plan)
                await trio.sleep_until(bench.start_s + HORIZON_S)
            nursery.cancel_scope.cancel()
        # A call due at the very instant of its cancellation may or may not come.
        ties = {
            (plan.asked_s + plan.cancelled_s, number)
            for number, plan in enumerate(plans)
            if plan.cancelled_s is not None
        }
        fired = [call for call in bench.fired if call[0] < HORIZON_S and call not in ties]
        assert [call for call in expected(plans) if call not in ties] == sorted(fired)
        assert [when_s for when_s, _ in bench.fired] == sorted(when_s for when_s, _ in bench.fired)

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


async def running(nursery: trio.Nursery) -> Timers:
    timers = Timers()
    nursery.start_soon(timers.run)
    await trio.testing.wait_all_tasks_blocked()
    return timers


async def test_calls_due_at_the_same_time_come_in_the_order_they_were_asked_for() -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        fired: list[int] = []
        for number in range(100):
            timers.call_at(trio.current_time() + 1, lambda number=number: fired.append(number))  # type: ignore[misc]
        await trio.sleep(2)
        assert list(range(100)) == fired
        nursery.cancel_scope.cancel()


async def test_a_timer_due_earlier_than_all_others_wakes_the_service_in_time() -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        fired: list[float] = []
        began_s = trio.current_time()
        for delay_s in (100.0, 10.0, 1.0, 50.0):
            timers.call_at(began_s + delay_s, lambda: fired.append(trio.current_time() - began_s))
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1000)
        assert [1.0, 10.0, 50.0, 100.0] == fired
        nursery.cancel_scope.cancel()


async def test_a_cancelled_timer_never_fires_and_cancelled_ones_are_swept_in_bulk() -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        fired: list[int] = []
        kept = [timers.call_at(trio.current_time() + 5, lambda: fired.append(1)) for _ in range(3)]
        for _ in range(10_000):
            timers.call_at(trio.current_time() + 3600, lambda: fired.append(2)).cancel()
        assert len(timers._heap) < 200  # bounded, though nothing fired
        assert 3 == timers.pending_count()
        await trio.sleep(4000)
        assert [1, 1, 1] == fired
        assert 0 == timers.pending_count()
        assert not any(timer.pending for timer in kept)
        nursery.cancel_scope.cancel()


async def test_a_call_may_cancel_others_that_are_due_at_the_same_time() -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        fired: list[int] = []
        victims: list[Timer] = []

        def kill_all() -> None:
            fired.append(0)
            for victim in victims:
                victim.cancel()

        when_s = trio.current_time() + 1
        timers.call_at(when_s, kill_all)
        victims += [timers.call_at(when_s, lambda: fired.append(1)) for _ in range(500)]
        timers.call_at(when_s, lambda: fired.append(2))
        await trio.sleep(2)
        assert [0, 2] == fired  # and the heap was swept under the loop that reads it
        assert 0 == timers.pending_count()
        nursery.cancel_scope.cancel()


async def test_firing_a_cancelled_timer_does_nothing() -> None:
    timers, fired = Timers(), list[int]()
    once = timers.call_at(0.0, lambda: fired.append(1))
    often = timers.call_every(0.0, 1.0, lambda: fired.append(2))
    once.cancel()
    often.cancel()
    once.fire()
    often.fire()
    assert [] == fired


@pytest.mark.parametrize("period_s", [0.1, 1 / 3, 7.0])
async def test_a_periodic_timer_does_not_drift(period_s: float) -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        began_s = trio.current_time()
        fired: list[float] = []
        timers.call_every(began_s + period_s, period_s, lambda: fired.append(trio.current_time()))
        await trio.sleep(period_s * 1000.5)
        first_s = began_s + period_s
        assert [first_s + turn * period_s for turn in range(1000)] == fired
        nursery.cancel_scope.cancel()


async def test_missed_periods_are_skipped_and_the_schedule_is_kept(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        began_s = trio.current_time()
        fired: list[float] = []
        timers.call_every(began_s + 1, 1.0, lambda: fired.append(trio.current_time() - began_s))
        for jump_s in (1.0, 3.5, 0.25, 0.25, 10.0):
            mock_clock.jump(jump_s)
            await trio.testing.wait_all_tasks_blocked(0.0001)
        # 1: on time; 4.5: for 2, 3 and 4; 5.0: on time; 15: once for 6..15
        assert [1.0, 4.5, 5.0, 15.0] == fired
        nursery.cancel_scope.cancel()


@given(st.floats(1e-9, 1e3), st.floats(0, 1e6), st.lists(st.floats(0, 1e4), max_size=10))
def test_the_next_time_of_a_periodic_timer_is_always_still_to_come(
    period_s: float, first_s: float, delays_s: list[float]
) -> None:
    timer = Timers().call_every(first_s, period_s, lambda: None)
    now_s = first_s
    for delay_s in delays_s:
        now_s = max(now_s, timer.when_s) + delay_s
        timer.when_s = timer._next_s(now_s)
        assert now_s < timer.when_s
        assert timer.when_s <= math.nextafter(now_s, math.inf) + 2 * period_s


async def test_a_periodic_timer_cancelled_by_its_own_call_comes_no_more() -> None:
    async with trio.open_nursery() as nursery:
        timers = await running(nursery)
        fired: list[int] = []

        def call() -> None:
            fired.append(1)
            if len(fired) == 3:
                timer.cancel()

        timer = timers.call_every(trio.current_time() + 1, 1.0, call)
        await trio.sleep(100)
        assert [1, 1, 1] == fired
        assert 0 == timers.pending_count()
        nursery.cancel_scope.cancel()
