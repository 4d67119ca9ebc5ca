"""Runs what people copy: each example, each complete program of README.md and docs/, each doctest.

An example (`examples/NN_*.py`) shows its output in its docstring, indented, after a line `Prints:`,
and its exit code, if that is not 0, in a line `Exits with 1.`; `...` is any text within a line,
and alone in the last line any further lines.

A program in README.md or docs/*.md is a ```python block with a comment on the line above it:

    <!-- program -->                          it ends by itself, with 0
    <!-- program, stopped after 2 s -->       Ctrl-C comes 2 s after its first line; it ends with 0
    <!-- program, exits with 4 -->            it ends by itself, with 4
    <!-- program, continued -->               it stands behind the program above it, whose
                                              `if __name__ == "__main__":` is left out

If a ```text block follows, that is what it prints; with the mark `reports`, what it writes to
stderr. A block without the comment is a fragment: it must parse, and must not be a
program that somebody forgot to mark.
"""

import ast
import doctest
import importlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
PACKAGES = ("actors", "supervisors", "runtime")
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
RUN_S_MAX = 60

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>program[^>]*?) -->\n)?```python\n(?P<code>.*?)^```$"
    r"(?:\n+```text\n(?P<prints>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@frozen
class Block:
    """A ```python block: its mark (None: a fragment), and what it prints (None: not told)."""

    line: int
    code: str
    mark: str | None
    prints: str | None
    file: str = ""

    def __str__(self) -> str:
        return f"{self.file} line {self.line}"

    @property
    def exit_code(self) -> int:
        found = re.search(r"exits with (\d+)", self.mark or "")
        return int(found[1]) if found else 0

    @property
    def stop_s(self) -> float | None:
        """Seconds after which it is interrupted; None: it ends by itself."""
        found = re.search(r"stopped after ([\d.]+) s", self.mark or "")
        return float(found[1]) if found else None


def blocks(text: str, file: str = "") -> list[Block]:
    """Return the blocks of a document; a continued program with all that stands before it."""
    found: list[Block] = []
    before = ""
    for match in BLOCK.finditer(text):
        code, mark = match["code"], match["mark"]
        if "continued" in (mark or ""):
            code = before.partition("\nif __name__")[0] + "\n" + code
        if mark:
            before = code
        line = text.count("\n", 0, match.start("code"))
        found.append(Block(line, code, mark, match["prints"], file))
    return found


def is_program(code: str) -> bool:
    """Say whether a block imports us and calls something named run at its top level."""
    body = ast.parse(code).body
    imports = any(
        isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ringfence")
        for node in body
    )
    return imports and any(re.search(r"\brun\(", ast.unparse(node)) for node in body)


def promised_output(docstring: str) -> str:
    """Return the indented block after the line `Prints:`."""
    _, found, after = docstring.partition("\nPrints:\n")
    assert found, "the docstring has no line `Prints:` with an indented block after it"
    lines = []
    for line in after.strip("\n").splitlines():
        if line and not line.startswith("    "):
            break
        lines.append(line.removeprefix("    "))
    return "\n".join(lines).strip("\n")


def promised_exit(docstring: str) -> int:
    found = re.search(r"^Exits with (\d+)\.", docstring, re.MULTILINE)
    return int(found[1]) if found else 0


def matches(promised: str, printed: str) -> bool:
    told = promised.rstrip().removesuffix("\n...")
    rest = "" if told == promised.rstrip() else r"(\n.*)*"
    pattern = re.escape(told).replace(r"\.\.\.", ".*") + rest
    return re.fullmatch(pattern, printed.rstrip()) is not None


def run_python(path: Path, stop_s: float | None = None) -> tuple[int, str, str]:
    """Run a program; return its exit code and what it wrote to stdout and to stderr.

    ``stop_s`` counts from its first line: a busy machine takes seconds to import everything.
    """
    command = [sys.executable, str(path)]
    out = ""
    with (
        tempfile.TemporaryFile("w+") as err,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, cwd=ROOT
        ) as process,
    ):
        timers = [threading.Timer(RUN_S_MAX, process.kill)]
        timers[0].start()
        for line in process.stdout or ():
            if stop_s is not None and not out:
                timers.append(threading.Timer(stop_s, process.send_signal, [signal.SIGINT]))
                timers[-1].start()
            out += line
        code = process.wait()
        for timer in timers:
            timer.cancel()
        err.seek(0)
        return code, out, err.read()


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.subprocess
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_docstring_says(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    code, out, err = run_python(path)
    promised = promised_output(docstring)
    if not matches(promised, out):
        assert promised == out.rstrip(), err
    assert promised_exit(docstring) == code, err


def modules_with_doctests() -> list[str]:
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    told = (path for path in files if ">>> " in path.read_text())
    names = (path.relative_to(ROOT).with_suffix("").parts for path in told)
    return [".".join(("ringfence", *name)).removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", modules_with_doctests())
def test_a_docstring_tells_the_truth(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted > 0


def document_blocks() -> list[Block]:
    return [block for path in DOCUMENTS for block in blocks(path.read_text(), path.name)]


@pytest.mark.parametrize("block", document_blocks(), ids=str)
def test_a_fragment_of_a_document_parses_and_is_no_program(block: Block) -> None:
    assert block.mark or not is_program(block.code), "mark it: <!-- program --> on the line above"


@pytest.mark.subprocess
@pytest.mark.parametrize("block", [block for block in document_blocks() if block.mark], ids=str)
def test_a_program_of_a_document_does_what_the_document_says(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.code)
    code, out, err = run_python(program, block.stop_s)
    assert block.exit_code == code, err
    written = err if "reports" in (block.mark or "") else out
    if block.prints is not None and not matches(block.prints, written):
        assert block.prints == written, err


def test_blocks_are_found_with_their_mark_and_their_output() -> None:
    text = (
        "# Title\n\n<!-- program, stopped after 0.5 s -->\n```python\nx = 1\n```\n\n"
        "```text\nout\n```\n\n```python\ny = 2\n```\n"
    )
    program, fragment = blocks(text)
    assert ("x = 1\n", 0.5, "out\n") == (program.code, program.stop_s, program.prints)
    assert ("y = 2\n", None, None) == (fragment.code, fragment.mark, fragment.prints)


def test_a_continued_program_stands_behind_the_one_above_it() -> None:
    text = (
        "<!-- program -->\n```python\nx = 1\n\nif __name__ == '__main__':\n    run(x)\n```\n"
        "```python\nbetween = 0\n```\n"
        "<!-- program, continued, exits with 4 -->\n```python\ny = 2\n```\n"
    )
    first, _, second = blocks(text)
    assert (0, 4) == (first.exit_code, second.exit_code)
    assert second.code == "x = 1\n\ny = 2\n"


def test_an_unmarked_program_is_noticed() -> None:
    assert is_program("from ringfence.runtime import run\nraise SystemExit(run(tree))")
    assert not is_program("from ringfence.runtime import run\n")
    assert not is_program("run(tree)")


def test_the_promise_of_a_docstring_is_its_indented_block() -> None:
    docstring = "One idea.\n\nPrints:\n\n    a\n      b\n\n    c\n\nExits with 1.\n"
    assert promised_output(docstring) == "a\n  b\n\nc"
    assert promised_exit(docstring) == 1
    assert promised_exit("Prints:\n") == 0


@pytest.mark.parametrize(
    ("promised", "printed", "same"),
    [
        ("a", "a\n", True),
        ("a", "b\n", False),
        ("a", "a\na\n", False),
        ("after ... s", "after 0.25 s\n", True),
        ("after ... s", "after\n1 s\n", False),
        ("a\n...", "a\nb\nc\n", True),
        ("a\n...", "a\n", True),
        ("a\n...", "b\nc\n", False),
        ("a\n...", "ab\n", False),
    ],
)
def test_output_is_compared_line_by_line(promised: str, printed: str, *, same: bool) -> None:
    assert same == matches(promised, printed)


@pytest.mark.subprocess
def test_a_program_that_runs_on_is_interrupted(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import time\nprint('started', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('stopped')\n"
    )
    assert run_python(program, stop_s=0.2) == (0, "started\nstopped\n", "")
