"""The list of mistakes in the rules of a supervisor that the tests of those rules must notice.

Each is put into a copy of decide.py, and at least one test of test_decide.py has to fail on it.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ringfence.supervisors import decide

RULES = Path(decide.__file__)
WINDOW = RULES.with_name("budget.py")
TESTS = Path(__file__).with_name("test_decide.py")

MUTANTS = {
    "a transient child is never restarted": (
        "permanent = member.restart is Restart.PERMANENT\n            return",
        "permanent = False\n            return",
    ),
    "only failures are reported": (
        "if member.restart is Restart.PERMANENT or end.severity is not None:",
        "if end.severity is not None:",
    ),
    "one restart too many": ("<= self.limit.restarts_max", "<= self.limit.restarts_max + 1"),
    "one restart too few": ("<= self.limit.restarts_max", "< self.limit.restarts_max"),
    "the window is open at its old end": (
        "self.times_s[0] < now_s - self.limit.period_s",
        "self.times_s[0] <= now_s - self.limit.period_s",
    ),
    "the window starts over when it is left": ("self.times_s.popleft()", "self.times_s.clear()"),
    "a retry of any age is taken": ("member.generation != generation", "False"),
    "a failed restart is free": ("member.charged = False", "member.charged = True"),
    "a wait is charged twice": ("if member.charged:", "if False:"),
    "groups stop in start order": ("in reversed(group)", "in group"),
    "waiting siblings keep their own retry": (
        "if member.status is not Status.STOPPED\n        ]",
        "if member.status is Status.RUNNING\n        ]",
    ),
    "temporary children come back with the group": ("if not member.temporary]", "]"),
    "rest_for_one restarts all": ("return members[first:]", "return members"),
    "rest_for_one begins after the failed child": ("members[first:]", "members[first + 1 :]"),
    "one_for_all is rest_for_one": ("self.strategy is RestartStrategy.ONE_FOR_ALL", "False"),
    "a temporary child is kept": ("del self.members[member.key]", "pass"),
    "a temporary child stays with its group": ("del self.members[key]", "pass"),
    "every child is significant": ("if not member.significant or", "if"),
    "all_significant ends with the first": (
        "other.significant and other.status is not Status.STOPPED",
        "False",
    ),
    "a waiting significant child does not count": (
        "other.status is not Status.STOPPED",
        "other.status is Status.RUNNING",
    ),
    "a kill is a good answer": ("return brutal", "return True"),
    "any answer but a failure is good": ("return not strict", "return True"),
    "the mildest decides": ("GRAVITY[directive] > GRAVITY[worst[0]]", "False"),
    "an escalation keeps its severity": ("severity.lowered()", "severity"),
    "failures are never forgiven": (
        "            member.failures = member.waits = 0\n        if end",
        "            pass\n        if end",
    ),
    "the shell forgives on every stop": ("return self.stopped(key)\n", "return False\n"),
    "no progress is looked at one too late": (
        "member.failures > limit",
        "member.failures > limit + 1",
    ),
    "a spent child is restarted": ("elif member.exhausted is Directive.STOP:", "elif False:"),
    "a temporary child escalates": ("if member.temporary and directive", "if False and directive"),
    "a resume is obeyed too late": ("if directive is Directive.RESUME:", "if False:"),
    "the last that failed leads the group": (
        "for member in group if member in failed",
        "for member in reversed(group) if member in failed",
    ),
    "a group waits the shortest time": ("max(member.waits for", "min(member.waits for"),
}


def mutant_of(old: str, new: str) -> ModuleType:
    """Return the rules with one mistake in them, or in the window they count restarts in."""
    sources = {path: path.read_text(encoding="utf-8") for path in (RULES, WINDOW)}
    wrong = {path: source.replace(old, new) for path, source in sources.items()}
    assert wrong != sources, f"the rules do not say {old!r} any more: update the list of mutants"
    rules = executed(wrong[RULES])
    vars(rules)["Window"] = vars(executed(wrong[WINDOW]))["Window"]
    return rules


def executed(source: str) -> ModuleType:
    """Return a module made from source."""
    module = ModuleType("mutant")
    sys.modules[module.__name__] = module  # attrs looks its classes up there
    try:
        exec(compile(source, "mutant.py", "exec"), module.__dict__)  # noqa: S102
    finally:
        del sys.modules[module.__name__]
    return module


def checks_of(rules: ModuleType) -> Iterator[Callable[[], None]]:
    """Yield the tests of the rules, made to test ``rules``."""
    spec = importlib.util.spec_from_file_location("test_decide_of_mutant", TESTS)
    assert spec is not None, "it is a file"
    assert spec.loader is not None, "and Python source"
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    vars(tests)["decide"] = rules
    yield from (value for name, value in vars(tests).items() if name.startswith("test_"))


def notices(check: Callable[[], None]) -> bool:
    """Say whether a check fails."""
    try:
        check()
    except (AssertionError, KeyError, ValueError, StopIteration, AttributeError):
        return True
    return False


def test_the_rules_themselves_pass_every_check() -> None:
    checks = list(checks_of(decide))
    assert len(checks) > 30
    assert not [check.__name__ for check in checks if notices(check)]


@pytest.mark.parametrize("mistake", MUTANTS)
def test_the_mistake_is_noticed(mistake: str) -> None:
    assert any(notices(check) for check in checks_of(mutant_of(*MUTANTS[mistake])))
