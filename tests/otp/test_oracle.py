"""Fresh random scenarios on Ringfence and on the Erlang that is installed, if there is one.

The seeds are new each time, unless `ORACLE_SEED` says where to begin. A difference names its seed.
"""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.otp.adapter import run_scenarios
from tests.otp.comparison import difference
from tests.otp.generator import scenario
from tests.otp.workers import Built, Starting

SOURCE = Path(__file__).with_name("oracle.erl")
ERL, ERLC = (shutil.which(name) or "" for name in ("erl", "erlc"))
COUNT = int(os.environ.get("ORACLE_COUNT", "300"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.subprocess,
    pytest.mark.skipif(not (ERL and ERLC), reason="no Erlang: the golden traces remain"),
]


def term(value: Any) -> str:
    """Write a scenario as an Erlang term."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'<<"{value}">>'
        case dict():
            return f"#{{{','.join(f'{term(key)} => {term(each)}' for key, each in value.items())}}}"
        case list():
            return f"[{','.join(map(term, value))}]"
        case _:
            return str(value)


def traces_of_erlang(scenarios: list[Any], place: Path) -> list[Any]:
    """Compile the oracle, let it play the scenarios, and return their traces."""
    subprocess.run([ERLC, "-o", str(place), str(SOURCE)], check=True)
    file = place / "scenarios.terms"
    file.write_text("".join(f"{term(each)}.\n" for each in scenarios), encoding="utf-8")
    command = [ERL, "-noshell", "-pa", str(place), "-s", "oracle", "main", "-extra", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_fresh_scenarios_give_the_traces_of_the_erlang_that_is_installed(tmp_path: Path) -> None:
    first = int(os.environ.get("ORACLE_SEED", random.SystemRandom().randrange(10**9)))
    scenarios = [scenario(seed) for seed in range(first, first + COUNT)]
    expected = traces_of_erlang(scenarios, tmp_path)
    for kind in (Starting, Built):
        compared = zip(scenarios, expected, run_scenarios(scenarios, kind), strict=True)
        found = [text for each in compared if (text := difference(*each)) is not None]
        assert not found, f"ORACLE_SEED={first}: {len(found)} differ; the first:\n{found[0]}"


def test_the_oracle_gives_the_recorded_traces_of_the_named_scenarios(tmp_path: Path) -> None:
    from tests.otp.test_golden import lines

    scenarios = lines("named")
    compared = zip(
        scenarios, lines("named.otp"), traces_of_erlang(scenarios, tmp_path), strict=True
    )
    found = [text for each in compared if (text := difference(*each)) is not None]
    assert not found, found[0]
