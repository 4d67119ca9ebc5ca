"""Cancellations and errors: split, merged, and told from strays."""

import pytest
import trio
import trio.testing

from ringfence.actors.errors import StrayCancellation
from ringfence.actors.outcomes import (
    cancelled_from_outside,
    merged,
    split_cancelled,
    stack_of,
    stray,
)


async def a_cancelled() -> trio.Cancelled:
    """Return a real one: its class cannot be called."""
    found: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            found.append(error)
            raise
    return found[0]


async def test_a_cancellation_an_error_and_a_mix_are_split() -> None:
    cancelled, error = await a_cancelled(), ValueError()
    assert (cancelled, None) == split_cancelled(cancelled)
    assert (None, error) == split_cancelled(error)
    mixed = BaseExceptionGroup("", [cancelled, ExceptionGroup("", [error])])
    left, right = split_cancelled(mixed)
    assert isinstance(left, BaseExceptionGroup)
    assert (cancelled,) == left.exceptions
    assert isinstance(right, ExceptionGroup)
    assert isinstance(right.exceptions[0], ExceptionGroup)
    assert (error,) == right.exceptions[0].exceptions
    nothing, rest = split_cancelled(ExceptionGroup("", [error]))
    assert nothing is None
    assert isinstance(rest, ExceptionGroup)
    assert (error,) == rest.exceptions


def test_one_error_stays_itself_and_several_become_one_group() -> None:
    one, two = ValueError(), KeyError()
    assert one is merged([one], "t/a")
    both = merged([one, two], "t/a")
    assert isinstance(both, ExceptionGroup)
    assert (one, two) == both.exceptions
    assert "t/a" in both.message
    assert not isinstance(merged([one, KeyboardInterrupt()], "t/a"), Exception)


async def test_the_stack_of_a_task_names_where_it_waits() -> None:
    async def inner_wait() -> None:
        await trio.sleep_forever()

    tasks: list[trio.lowlevel.Task] = []

    async def outer_wait() -> None:
        tasks.append(trio.lowlevel.current_task())
        await inner_wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer_wait)
        await trio.testing.wait_all_tasks_blocked()
        stack = stack_of(tasks[0])
        assert stack.index("outer_wait") < stack.index("inner_wait")
        nursery.cancel_scope.cancel()


async def test_a_cancellation_is_expected_only_inside_a_cancelled_scope() -> None:
    assert not cancelled_from_outside()
    with trio.CancelScope() as scope:  # noqa: ASYNC100 - the scope is what is looked at
        assert not cancelled_from_outside()
        scope.cancel()
        assert cancelled_from_outside()
        with trio.CancelScope(shield=True):  # noqa: ASYNC100
            assert not cancelled_from_outside()
    assert not cancelled_from_outside()


async def test_a_stray_keeps_the_cancellation_as_its_cause() -> None:
    cancelled = await a_cancelled()
    failure = stray("t/a", cancelled)
    assert isinstance(failure, StrayCancellation)
    assert (cancelled, "t/a") == (failure.__cause__, failure.path)


async def test_a_cancelled_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        trio.Cancelled()
