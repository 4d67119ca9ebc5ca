"""The command: what it loads, what it says when it cannot, and that it never shows a traceback."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ringfence.runtime.cli import app
from ringfence.runtime.exits import ExitCode
from ringfence.runtime.loading import LoadError, load_tree
from ringfence.supervisors import Supervisor

TREE = "from ringfence.supervisors import Supervisor\ntree = Supervisor('desk')\nnumber = 5\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder of its own; forget what was imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    (tmp_path / "desk_bot.py").write_text(TREE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def ask(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.mark.parametrize("target", ["desk_bot:tree", "desk_bot.py:tree", "./desk_bot.py:tree"])
def test_a_sound_tree_is_drawn(target: str) -> None:
    result = ask("check", target)
    assert (0, "desk  one_for_one, 3 restarts in 5 s\n", "") == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )


def test_warnings_are_shown_and_do_not_fail(folder: Path) -> None:
    (folder / "hasty.py").write_text(
        "from ringfence.supervisors import Supervisor, DynamicSupervisor, Child, Start\n"
        "from ringfence.actors import Actor\n"
        "class A(Actor[str]):\n"
        "    async def receive(self, message): ...\n"
        "tree = Supervisor('desk', children=[Child('a', Start(A))], shutdown_s=1.0)\n"
    )
    result = ask("check", "hasty:tree")
    assert 0 == result.exit_code
    assert result.stderr.startswith("warning: desk: shutdown_s = 1.0: ")


def test_all_problems_are_shown_at_once(folder: Path) -> None:
    (folder / "bad.py").write_text(
        "from ringfence.supervisors import Supervisor, Intensity\n"
        "tree = Supervisor('', strategy='x', intensity=Intensity(restarts_max=-1))\n"
    )
    result = ask("check", "bad:tree")
    assert 2 == result.exit_code
    assert result.stderr.startswith("3 problems in bad:tree; nothing was started:\n")
    assert 4 == len(result.stderr.splitlines())
    assert "" == result.stdout


FILES = {
    "syntax.py": "def f(:\n",
    "fails.py": "x = 1 / 0\n",
    "exits.py": "raise SystemExit(5)\n",
    "needs.py": "import no_such_library\n",
    "calls.py": "def tree():\n    raise LookupError('no config')\ndef two(a): ...\n",
}


@pytest.mark.parametrize(
    ("target", "rule", "fix"),
    [
        ("desk_bot", "must name a module or a file, a colon and an attribute", "path/to/file.py:"),
        (":tree", "must name a module or a file, a colon and an attribute", "path/to/file.py:"),
        ("desk_bott:tree", "there is no module called 'desk_bott'", "did you mean desk_bot?"),
        ("desk_bot.x:tree", "there is no module called 'desk_bot.x'", ""),
        ("desk_bott.py:tree", "there is no such file", "did you mean desk_bot.py?"),
        ("no/such.py:tree", "there is no such file", "check the path"),
        ("desk_bot:tre", "desk_bot has no attribute 'tre'", "did you mean tree?"),
        ("desk_bot:zzz", "desk_bot has no attribute 'zzz'", "it has: tree"),
        ("desk_bot:tree.zzz", "desk_bot has no attribute 'zzz'", ""),
        ("syntax.py:tree", "importing it failed: SyntaxError", "correct the syntax"),
        ("fails:tree", "importing it failed: ZeroDivisionError: division by zero (", "line 1"),
        ("exits:tree", "importing it failed: SystemExit: 5", "start nothing at its top level"),
        ("needs:tree", "importing it failed: ModuleNotFoundError", "install what provides"),
        ("calls:tree", "calling it failed: LookupError: no config (", "line 2"),
        ("calls:two", "calling it failed: TypeError", "without arguments"),
    ],
)
def test_what_cannot_be_loaded_is_one_clear_error(
    folder: Path, target: str, rule: str, fix: str
) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for command in ("check", "run"):
        result = ask(command, target)
        assert 2 == result.exit_code
        assert result.stderr.startswith("cannot load the tree: TREE = ")
        assert rule in result.stderr
        assert fix in result.stderr
        assert "Traceback" not in result.stderr


def test_what_is_no_tree_is_told_by_both_commands() -> None:
    for command in ("check", "run"):
        result = ask(command, "desk_bot:number")
        assert 2 == result.exit_code


def test_a_failed_file_leaves_no_half_module_behind(folder: Path) -> None:
    (folder / "half.py").write_text("tree = 1\nraise ValueError\n")
    with pytest.raises(LoadError):
        load_tree("half.py:tree")
    assert "half" not in sys.modules


def test_a_file_may_import_its_neighbours_and_a_function_is_called(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "parts.py").write_text(TREE)
    (folder / "sub" / "whole.py").write_text("import parts\ndef build():\n    return parts.tree\n")
    tree = load_tree("sub/whole.py:build")
    assert isinstance(tree, Supervisor)
    assert "desk" == tree.id


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["check", "--help"]])
def test_the_help_teaches_with_an_example(words: list[str]) -> None:
    result = ask(*words)
    assert 0 == result.exit_code
    assert "ringfence " in result.stdout


def test_the_help_lists_every_exit_code() -> None:
    text = ask("--help").stdout
    assert [] == [code for code in ExitCode if f"{code:>5d}  {code.meaning}" not in text]


def test_the_version_is_shown() -> None:
    result = ask("--version")
    assert 0 == result.exit_code
    assert result.stdout.startswith("ringfence 0.")


@pytest.mark.parametrize(
    "words",
    [["run", "desk_bot:tree", "--for-s", "0"], ["run", "desk_bot:tree", "--log-level", "loud"]],
)
def test_a_wrong_option_is_a_problem_like_any_other(words: list[str]) -> None:
    result = ask(*words)
    assert 2 == result.exit_code


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a unix")
@pytest.mark.subprocess
def test_run_ends_with_the_code_of_the_run() -> None:
    result = ask("run", "desk_bot:tree", "--for-s", "0.05", "--log-level", "error")
    assert 0 == result.exit_code
