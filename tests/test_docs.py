"""Compares the tables of docs/ and README.md with the code they describe, row by row."""

import enum
import math
import re
from pathlib import Path

import attrs
import pytest

from ringfence.actors import MailboxSpec, Overflow, errors
from ringfence.actors.errors import Severity
from ringfence.actors.events import DeadLetterWhy
from ringfence.actors.lifecycle import MOVES
from ringfence.runtime import ExitCode, LogOptions
from ringfence.supervisors import (
    Backoff,
    Child,
    Directive,
    DynamicSupervisor,
    Intensity,
    Policy,
    Restart,
    RestartStrategy,
    Supervisor,
)
from ringfence.supervisors.incident import StopProof
from ringfence.supervisors.policy import DIRECTIVES_DEFAULT
from ringfence.supervisors.severity import DEFAULT_RULES, Rule
from ringfence.supervisors.spec import Spec, SupervisorSpec

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")

Rows = list[list[str]]


def tables(page: str) -> list[Rows]:
    """Return the tables of a page, each with its headline first."""
    found: list[Rows] = []
    inside = False
    for line in PAGES[page].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if cells and not inside:
            found.append([])
        if cells and set(line) - set("|-"):
            found[-1].append(cells)
        inside = bool(cells)
    return found


def table(page: str, headline: str) -> Rows:
    """Return the one table whose first column is called ``headline``, without the headline."""
    found = [rows for rows in tables(page) if rows[0][0] == headline]
    assert len(found) == 1, f"{page} has {len(found)} tables that begin with {headline!r}"
    return found[0][1:]


def code(cell: str) -> str:
    """Return the first `code` in a cell."""
    found = re.search(r"`([^`]*)`", cell)
    return found[1] if found else cell


def shown(default: object) -> str:
    """Write a default as the tables do."""
    made_by = getattr(default, "factory", None)
    if isinstance(made_by, type):
        return "{}" if made_by is dict else f"{made_by.__name__}()"
    if made_by is not None:
        return "the table above"
    match default:
        case attrs.NOTHING:
            return "required"
        case enum.Enum():
            return default.name
        case _ if default == math.inf:
            return "INFINITY"
        case _ if attrs.has(type(default)):
            return "DEFAULT_RULES" if default is DEFAULT_RULES else f"{type(default).__name__}()"
        case _:
            return repr(default).replace("'", '"')


@pytest.mark.parametrize(
    ("page", "headline", "cls", "base"),
    [
        ("actors.md", "option of `MailboxSpec`", MailboxSpec, None),
        ("supervision.md", "option of `Child` and supervisors", Spec, None),
        ("supervision.md", "option of `Child`", Child, Spec),
        ("supervision.md", "option of `Supervisor` and `DynamicSupervisor`", SupervisorSpec, Spec),
        ("supervision.md", "option of `Supervisor`", Supervisor, SupervisorSpec),
        ("supervision.md", "option of `DynamicSupervisor`", DynamicSupervisor, SupervisorSpec),
        ("supervision.md", "option of `Policy`", Policy, None),
        ("supervision.md", "option of `Intensity`", Intensity, None),
        ("supervision.md", "option of `Backoff`", Backoff, None),
        ("severity.md", "field of `Rule`", Rule, None),
        ("running.md", "option of `LogOptions`", LogOptions, None),
    ],
)
def test_a_table_of_options_has_every_option_with_its_default(
    page: str, headline: str, cls: type[attrs.AttrsInstance], base: type[attrs.AttrsInstance] | None
) -> None:
    inherited = {field.name for field in attrs.fields(base)} if base is not None else set()
    expected = {
        field.name: shown(field.default)
        for field in attrs.fields(cls)
        if field.name not in inherited
    }
    told = {code(row[0]): code(row[2]).replace("_", "") for row in table(page, headline)}
    assert {name: text.replace("_", "") for name, text in expected.items()} == told


def test_the_life_of_an_incarnation_is_the_table_of_the_code() -> None:
    moves = [[state.value, trigger.value, after.value] for (state, trigger), after in MOVES.items()]
    assert moves == table("actors.md", "state")


@pytest.mark.parametrize(
    ("page", "headline", "kind"),
    [
        ("actors.md", "`Overflow`", Overflow),
        ("actors.md", "why", DeadLetterWhy),
        ("supervision.md", "directive", Directive),
    ],
)
def test_a_table_of_names_has_every_name_in_order(
    page: str, headline: str, kind: type[enum.Enum]
) -> None:
    assert [member.name for member in kind] == [code(row[0]) for row in table(page, headline)]


def test_no_strategy_and_no_restart_type_is_left_out() -> None:
    unnamed = [rows for rows in tables("supervision.md") if not rows[0][0]]
    told = [[code(row[0]) for row in rows[1:]] for rows in unnamed]
    assert {member.name for member in RestartStrategy} in [set(names) for names in told]
    assert [member.name for member in Restart] in told


def test_the_proof_of_a_stop_is_told_field_by_field() -> None:
    told = [code(row[0]) for row in table("supervision.md", "field of `StopProof`")]
    assert [field.name for field in attrs.fields(StopProof)] == told


def test_the_severity_table_is_the_default_policy() -> None:
    told = {row[0]: code(row[2]) for row in table("severity.md", "severity")}
    assert {one.name: DIRECTIVES_DEFAULT[one].name for one in Severity} == told


ERRORS = sorted(
    {one for name in errors.__all__ if isinstance(one := getattr(errors, name), type)},
    key=lambda cls: cls.__name__,
)


def judged_as(cls: type[errors.TradingError]) -> Severity:
    """Return what the default rules say of an exception of this class, without its causes."""
    if cls is errors.SupervisorFailed:
        error: Exception = errors.SupervisorFailed("desk", errors.GaveUpWhy.INTENSITY, [OSError()])
    else:
        error = cls.__new__(cls)
    return DEFAULT_RULES.rule_for(error).severity


@pytest.mark.parametrize("cls", [one for one in ERRORS if issubclass(one, errors.TradingError)])
def test_the_default_table_names_every_error_with_the_severity_it_has(
    cls: type[errors.TradingError],
) -> None:
    rows = [row for row in table("severity.md", "exceptions") if f"`{cls.__name__}`" in row[0]]
    assert rows, f"the table does not name {cls.__name__}"
    told = set(re.findall(r"LOW|MEDIUM|HIGH|CRITICAL", " ".join(row[1] for row in rows)))
    assert judged_as(cls).name in told


@pytest.mark.parametrize("page", ["README.md", "running.md"])
def test_the_exit_codes_are_those_of_the_code(page: str) -> None:
    told = [(int(row[0]), row[-1]) for row in table(page, "code")]
    assert [(int(one), one.meaning) for one in ExitCode] == told


def anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_link_leads_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "docs"
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    text = re.sub(r"\s+", " ", re.sub(r"`\w+\[\w\]\([^`]*`", "", prose))
    for match in LINK.finditer(text):
        target, anchor = match[1], match[2]
        if target.startswith("http"):
            continue
        assert not target or (folder / target).exists(), match[0]
        other = Path(target).name if target else page
        assert not anchor or anchor.strip().replace(" ", "") in anchors(other), match[0]


def test_the_readme_names_each_example_and_no_other() -> None:
    told = re.findall(r"`(\d\d_\w+\.py)`", PAGES["README.md"])
    assert sorted(path.name for path in (ROOT / "examples").glob("[0-9]*.py")) == told
