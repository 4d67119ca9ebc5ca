"""docs/otp.md speaks of every rule, and of tests that exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "otp.md").read_text(encoding="utf-8")


def names_of_tests() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py")]
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def rows(letter: str) -> dict[str, str]:
    """Return the rows of a table by their number."""
    return dict(re.findall(rf"^\| ({letter}\d+b?) \|(.*)$", DOCUMENT, flags=re.MULTILINE))


def test_every_rule_has_a_row() -> None:
    assert list(rows("R")) == [
        *(f"R{number}" for number in range(1, 9)),
        "R8b",
        *(f"R{number}" for number in range(9, 29)),
    ]


def test_every_test_named_in_the_document_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    assert len(named) > 40
    assert named - names_of_tests() == set()


def test_every_difference_is_shown_by_a_test_unless_there_is_nothing_to_show() -> None:
    unshown = [number for number, row in rows("D").items() if "`test_" not in row]
    assert unshown == ["D12"]


def test_every_difference_a_rule_refers_to_is_listed() -> None:
    mentioned = {number for row in rows("R").values() for number in re.findall(r"\bD\d+", row)}
    assert mentioned - set(rows("D")) == set()
