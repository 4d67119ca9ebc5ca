"""Ringfence under the policy `OTP` does what Erlang/OTP does, event by event.

The traces were recorded on OTP 25.2.3 (OTP 27.3.4 gives the same ones). 119 scenarios are named
after the cases of OTP's own supervisor test suite; 1,000 are random. README.md says what is in
them and what had to be left out.
"""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.otp.adapter import run_scenarios
from tests.otp.comparison import difference
from tests.otp.workers import Built, Starting, Worker

GOLDEN = Path(__file__).parent / "golden"
PARTS = 8  # of the random ones: a failing part names its scenario, and parts run side by side


def lines(name: str) -> list[Any]:
    with gzip.open(GOLDEN / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def differences(
    scenarios: list[Any], recorded: list[Any], kind: type[Worker] = Starting
) -> list[str]:
    traces = run_scenarios(scenarios, kind)
    compared = zip(scenarios, recorded, traces, strict=True)
    return [text for each in compared if (text := difference(*each)) is not None]


def report(found: list[str]) -> str:
    return "\n\n".join([f"{len(found)} scenarios differ; the first:", *found[:1]])


@pytest.mark.parametrize("kind", [Starting, Built])
def test_every_named_scenario_gives_the_trace_of_erlang(kind: type[Worker]) -> None:
    scenarios = lines("named")
    found = differences(scenarios, lines("named.otp"), kind)
    assert len(scenarios) == 119
    assert not found, report(found)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", [Starting, Built])
def test_every_random_scenario_gives_the_trace_of_erlang(kind: type[Worker], part: int) -> None:
    scenarios = lines("random")
    found = differences(scenarios[part::PARTS], lines("random.otp")[part::PARTS], kind)
    assert len(scenarios) == 1_000
    assert not found, report(found)


# -- the comparison can fail -------------------------------------------------------------------


def recorded(name: str) -> tuple[Any, Any]:
    """Return one named scenario and its trace."""
    scenario = next(each for each in lines("named") if each["id"] == name)
    return scenario, next(each for each in lines("named.otp") if each["id"] == name)


def test_a_swap_of_two_events_is_a_difference() -> None:
    scenario, expected = recorded("one_for_all")
    changed = copy.deepcopy(expected)
    events = changed["steps"][1]["ev"]
    events[2], events[3] = events[3], events[2]
    assert difference(scenario, expected, expected) is None
    assert "one_for_all, step 1" in (difference(scenario, expected, changed) or "")


@pytest.mark.parametrize(
    "change",
    [
        lambda step: step["ev"].pop(),
        lambda step: step.update(api="ok, or so"),
        lambda step: step["st"][0]["n"].append(7),
        lambda step: step["st"][0]["c"].clear(),
        lambda step: step.update(st=None),
    ],
)
def test_a_missing_event_another_answer_and_other_books_are_differences(
    change: Callable[[Any], object],
) -> None:
    scenario, expected = recorded("child_adm")
    changed = copy.deepcopy(expected)
    change(changed["steps"][3])
    assert "child_adm, step 3" in (difference(scenario, expected, changed) or "")


def test_a_trace_that_ends_too_early_or_too_late_is_a_difference() -> None:
    scenario, expected = recorded("budget_zero")
    shorter = {"steps": expected["steps"][:-1]}
    assert "Ringfence had ended" in (difference(scenario, expected, shorter) or "")
    assert "Erlang had ended" in (difference(scenario, shorter, expected) or "")


def test_children_of_a_dynamic_supervisor_end_in_any_order_and_all_of_them() -> None:
    scenario, expected = recorded("sup_stop_timeout_dynamic")
    changed = copy.deepcopy(expected)
    events = changed["steps"][-1]["ev"]
    events[0], events[1] = events[1], events[0]
    assert difference(scenario, expected, changed) is None
    del events[0]
    assert difference(scenario, expected, changed) is not None
