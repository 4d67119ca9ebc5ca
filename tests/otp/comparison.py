"""Compare two traces of one scenario, and say where they part.

What has no order in OTP has none here: a simple_one_for_one supervisor stops its children all at
once, so a run of their ends, and of the reports about them, is compared as a set; and so are its
children in the books. Nothing else is forgiven.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = Any


def difference(scenario: Json, expected: Json, actual: Json) -> str | None:
    """Return where ``actual`` first parts from ``expected``, for a person; `None` if nowhere."""
    unordered = set(dynamic_supervisors(scenario["tree"], scenario["tree"]["id"]))
    there = [canonical(step, unordered) for step in expected["steps"]]
    here = [canonical(step, unordered) for step in actual["steps"]]
    for number in range(max(len(there), len(here))):
        one, other = there[number : number + 1], here[number : number + 1]
        if one != other:
            return _told(scenario, number, one, other)
    return None


def dynamic_supervisors(spec: Json, path: str) -> Iterator[str]:
    """Yield the paths of all simple_one_for_one supervisors of a tree."""
    if spec.get("strategy") == "simple_one_for_one":
        yield path
    for child in spec.get("children", ()):
        yield from dynamic_supervisors(child, f"{path}/{child['id']}")


def canonical(step: Json, unordered: set[str]) -> Json:
    """Return one step of a trace with everything sorted that has no order."""
    events: list[Json] = []
    for supervisor, group in groupby(step["ev"], lambda event: _stopped_by(event, unordered)):
        run = list(group)
        events += run if supervisor is None else sorted(run, key=_text)
    books = [
        {**book, "c": sorted(book["c"], key=_text)} if book["p"] in unordered else book
        for book in step["st"] or ()
    ]
    return {"api": step.get("api"), "events": events, "books": step["st"] and books}


def _stopped_by(event: Json, unordered: set[str]) -> str | None:
    """Return the supervisor whose children end in any order, if this is about one of them."""
    supervisor: str | None = None
    if event["t"] == "exit":
        supervisor = event["p"].rpartition("/")[0]
    elif event["t"] == "report" and event["x"] == "shutdown_error":
        supervisor = event["p"]
    return supervisor if supervisor in unordered else None


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def _told(scenario: Json, number: int, expected: list[Json], actual: list[Json]) -> str:
    step = "the start" if number == 0 else _text(scenario["script"][number - 1])
    return "\n".join(
        [
            f"scenario {scenario['id']}, step {number}: {step}",
            f"  tree    {_text(scenario['tree'])}",
            f"  plan    {_text(scenario.get('plan', {}))}",
            f"  script  {_text(scenario.get('script', []))}",
            *_lines("Erlang", expected),
            *_lines("Ringfence", actual),
        ]
    )


def _lines(who: str, steps: Iterable[Json]) -> list[str]:
    for step in steps:
        return [
            f"  {who} answered {_text(step['api'])}",
            *(f"    {_text(event)}" for event in step["events"]),
            f"    books: {_text(step['books'])}",
        ]
    return [f"  {who} had ended before this step"]
