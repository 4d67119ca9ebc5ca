"""How every test runs: on virtual time, under a hypothesis profile, and never really asleep.

Profiles are chosen by the environment variable HYPOTHESIS_PROFILE: `dev` (the default), `ci` (the
same examples each time, so that a red build is red again) and `nightly` (many more).
"""

import inspect
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import NoReturn, TypeVar

import hypothesis
import pytest
import trio
import trio.testing

T = TypeVar("T")

REAL = ("real_time", "subprocess")  # tests with one of these markers run on the real clock

# No deadline per example: a busy machine is no defect. Speed is measured in benchmarks/.
hypothesis.settings.register_profile("dev", deadline=None, max_examples=50)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=100, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile(
    "nightly", deadline=timedelta(seconds=60), max_examples=5_000, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def run_virtual(
    main: Callable[[], Awaitable[T]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """Run a test on a clock that jumps to the next deadline as soon as every task waits.

    A test that asks for a clock of its own (`mock_clock`, `autojump_clock`) gets that one.
    """
    virtual = clock or trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, clock=virtual, instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every async test on virtual time, except those that say why they cannot be."""
    for item in items:
        waits = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
        if waits and not any(item.get_closest_marker(name) for name in REAL):
            item.add_marker(pytest.mark.trio(run=run_virtual), append=False)


def no_sleep(_seconds: float) -> NoReturn:
    """Stand where `time.sleep` was."""
    pytest.fail(
        "a test slept in real time: use trio.testing.wait_all_tasks_blocked() or await "
        "trio.sleep() on the virtual clock, or mark the test `subprocess` or `real_time`"
    )


@pytest.fixture(autouse=True)
def _awake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that really sleeps, and an async property that would run on the real clock."""
    if any(request.node.get_closest_marker(name) for name in REAL):
        return
    monkeypatch.setattr(time, "sleep", no_sleep)
    handle = getattr(getattr(request, "function", None), "hypothesis", None)
    if handle is not None and inspect.iscoroutinefunction(handle.inner_test):
        pytest.fail(
            "an async @given test would run on the real clock: write a plain function and call "
            "trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0)) in it"
        )
