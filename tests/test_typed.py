"""Lines of `tests/typed` that must type-check, and lines that must not.

`fail_*.py` marks each wrong line with the code mypy must report there: `# E: arg-type` (several
codes: separated by commas). A test fails if a marked line passes or an unmarked one is reported.
The check runs against the built and installed wheel: what a user's type checker sees.
"""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TYPED = ROOT / "tests" / "typed"

# One process runs them all (`pytest -n 2 --dist loadgroup`), because mypy is run once for all.
pytestmark = [pytest.mark.subprocess, pytest.mark.xdist_group("typed")]

Errors = set[tuple[int, str]]


def cases(kind: str) -> list[str]:
    return sorted(path.name for path in TYPED.glob(f"{kind}_*.py"))


def output(*command: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stderr + done.stdout
    return done.stdout


@functools.cache
def reported() -> dict[str, Errors]:
    """Run mypy once on all cases; return the errors of each file as (line, code)."""
    python = output(TYPED / "installed.py").strip()
    files = [TYPED / name for name in cases("pass") + cases("fail")]
    options = ["--python-executable", python, "--cache-dir", ".cache/mypy", "--output", "json"]
    found: dict[str, Errors] = {}
    for line in output("-m", "mypy", *options, *files).splitlines():
        error = json.loads(line)
        if error["severity"] == "error":
            where = found.setdefault(Path(error["file"]).name, set())
            where.add((error["line"], error["code"]))
    return found


def marked(text: str) -> Errors:
    """Return what the comments of a case promise, as (line, code)."""
    return {
        (number, code)
        for number, line in enumerate(text.splitlines(), start=1)
        for found in re.findall(r"# E: ([a-z, -]+)$", line)
        for code in found.split(", ")
    }


@pytest.mark.parametrize("name", cases("pass"))
def test_every_line_passes(name: str) -> None:
    assert set() == reported().get(name, set())


@pytest.mark.parametrize("name", cases("fail"))
def test_exactly_the_marked_lines_fail(name: str) -> None:
    expected = marked((TYPED / name).read_text())
    assert expected, "a case without a mark checks nothing"
    assert sorted(expected) == sorted(reported().get(name, set()))


def test_nothing_else_is_reported() -> None:
    """An error in the packages themselves would make every other answer worthless."""
    assert set() == set(reported()) - {*cases("pass"), *cases("fail")}


def test_a_mark_may_hold_several_codes() -> None:
    assert {(2, "arg-type"), (2, "call-arg")} == marked("a()\nb()  # E: arg-type, call-arg")
