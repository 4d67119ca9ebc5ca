"""The only reads of real clocks, randomness and new ids; a simulation replaces them all at once.

It does not tell how late it is in a run: that is `trio.current_time()`, which trio replaces itself.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import frozen


def _new_id() -> str:
    return uuid.uuid4().hex


@frozen
class Seams:
    """Where time, chance and names come from.

    Args:
      wall_ns: nanoseconds since 1970-01-01 UTC; may jump, so it is for display only.
      random_source: gives the generator for jitter and the like; never for secrets.
      slice_clock: seconds of a real clock that never goes back, to measure how long code computes.
      new_id: gives a text that was not given before.
    """

    wall_ns: Callable[[], int] = time.time_ns
    random_source: Callable[[], random.Random] = random.Random
    slice_clock: Callable[[], float] = time.perf_counter
    new_id: Callable[[], str] = _new_id


_in_use = Seams()


def wall_ns() -> int:
    """Tell the wall clock, in nanoseconds since 1970-01-01 UTC."""
    return _in_use.wall_ns()


def random_source() -> random.Random:
    """Give a generator of random numbers; under simulation it is seeded."""
    return _in_use.random_source()


def slice_clock() -> Callable[[], float]:
    """Give the clock that measures how long code computes; real even under a virtual clock."""
    return _in_use.slice_clock


def new_id() -> str:
    """Give a new identifier; under simulation the same run gives the same ones."""
    return _in_use.new_id()


@contextmanager
def replaced(seams: Seams) -> Iterator[None]:
    """Use these seams inside the block, for the whole process, and the previous ones after it."""
    global _in_use  # noqa: PLW0603 the one slot the whole process reads; a simulation swaps it
    previous, _in_use = _in_use, seams
    try:
        yield
    finally:
        _in_use = previous
