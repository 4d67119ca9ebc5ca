"""The laws of the house, checked on every file of the packages.

Each law is a function from one source file to the problems in it, and rows in LAWS with a sample
that breaks it and one that keeps it. Both samples are tests: a law that no longer catches anything
fails here before it is trusted.
"""

import ast
import functools
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("actors", "supervisors", "runtime")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500

# Nothing imports from a line below its own. What lies directly in `actors` is its core.
LAYERS = (
    "actors",
    "actors.resilience",
    "actors.trading",
    "actors.venues",
    "supervisors",
    "runtime",
)

# library -> (where it may be imported, what to do instead)
FENCED = {
    "cattrs": (r"actors/codec\.py", "convert through ringfence.actors.codec"),
    "hypothesis": (
        r"(.*/)?testing\.py|runtime/sim/.*",
        "move it to a testing.py or to runtime/sim: importing it changes trio's scheduler",
    ),
    **dict.fromkeys(
        ("apprise", "hypercorn", "prometheus_client", "sqlite3", "starlette", "uvicorn"),
        (r"runtime/observe/.*", "web and database code lives in runtime/observe"),
    ),
}

_CLOCK = "use trio.current_time() for durations, ringfence.actors.seams.wall_ns() for dates"
_CHANCE = "draw from ringfence.actors.seams.random_source()"
_ID = "use ringfence.actors.seams.new_id()"
# dotted name (a trailing dot: everything under it) -> what to use; allowed in actors/seams.py only
BANNED = {
    "time.time": _CLOCK,
    "time.time_ns": _CLOCK,
    "time.monotonic": _CLOCK,
    "time.monotonic_ns": _CLOCK,
    "time.perf_counter": _CLOCK,
    "time.perf_counter_ns": _CLOCK,
    "time.sleep": "await trio.sleep(): this blocks every actor",
    "datetime.datetime.now": _CLOCK,
    "datetime.datetime.utcnow": _CLOCK,
    "datetime.datetime.today": _CLOCK,
    "datetime.date.today": _CLOCK,
    "random.": _CHANCE,
    "secrets.": _CHANCE,
    "os.urandom": _CHANCE,
    "uuid.uuid1": _ID,
    "uuid.uuid4": _ID,
}

MONEY = frozenset({"balance", "cash", "fee", "notional", "pnl", "profit"})


@frozen
class Source:
    """One file: its path from the root, with slashes, and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return parse(self.text)


@functools.cache
def parse(text: str) -> ast.Module:
    """Parse once: every law reads every file."""
    return ast.parse(text)


Law = Callable[[Source], Iterator[str]]


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything a file imports; `from a import b` yields a.b."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def layer(dotted: str) -> int:
    """Return the number of the layer a module of ours is in (`actors.venues.port` -> 3)."""
    parts = dotted.split(".")
    return max(
        number
        for number, name in enumerate(LAYERS)
        if parts[: name.count(".") + 1] == name.split(".")
    )


def follows_import_law(source: Source) -> Iterator[str]:
    mine = layer(source.path.removesuffix(".py").replace("/", "."))
    for line, name in imports(source):
        top, _, rest = name.partition(".")
        if top in {"", *PACKAGES}:
            yield f"{line}: imports {name}; write the absolute name, ringfence...."
        elif top == "ringfence" and layer(rest) > mine:
            yield (
                f"{line}: {LAYERS[mine]} imports {name} from {LAYERS[layer(rest)]}, a layer above; "
                "pass it in, or move what both need down"
            )


def fences_libraries(source: Source) -> Iterator[str]:
    for line, name in imports(source):
        where, instead = FENCED.get(name.split(".")[0], (".*", ""))
        if not re.fullmatch(where, source.path):
            yield f"{line}: imports {name}; {instead}"


def aliases(source: Source) -> dict[str, str]:
    """Return what each imported name of a file stands for: `t` -> `time`, `now` -> `time.time`."""
    found = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """Return the full name behind an expression such as `t.time`, or None."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value, names)
        return inner and f"{inner}.{node.attr}"
    return None


def reads_world_in_seams_only(source: Source) -> Iterator[str]:
    """Names are banned, not only calls: `field(factory=time.time)` reads the clock too."""
    if source.path == "actors/seams.py":
        return
    names = aliases(source)
    unseeded = {
        id(node.func)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and not node.args and not node.keywords
    }
    expressions = (node for node in ast.walk(source.tree) if isinstance(node, ast.expr))
    for node in expressions:
        name = dotted(node, names) or ""
        if name == "random.Random" and id(node) not in unseeded:
            continue  # a type in a signature, or a generator with a seed: both are repeatable
        instead = BANNED.get(name) or BANNED.get(f"{name.rpartition('.')[0]}.")
        if name and instead:
            yield f"{node.lineno}: {name} outside actors/seams.py; {instead}"


def never_prints(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == "print":
            yield f"{node.lineno}: print; a running tree emits events (cli: typer.echo or rich)"


def is_pure(source: Source) -> bool:
    return bool(re.search(r"\bpure:", ast.get_docstring(source.tree) or "", re.IGNORECASE))


def keeps_pure_files_pure(source: Source) -> Iterator[str]:
    if not is_pure(source):
        return
    for line, name in imports(source):
        if name.split(".")[0] == "trio" or name.startswith("ringfence.actors.seams"):
            yield f"{line}: a pure file imports {name}; take the value (now_s) as an argument"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield f"{node.lineno}: async in a pure file; return actions, let the shell run them"
        if isinstance(node, ast.For | ast.comprehension) and is_set(node.iter):
            yield f"{node.iter.lineno}: a set has no order of ours; iterate sorted(...) or a dict"


def is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in {"set", "frozenset"}
    return isinstance(node, ast.Set | ast.SetComp)


def names_what_it_ignores(source: Source) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and re.search(r"type:\s*ignore(?!\[)", token.string):
            yield f"{token.start[0]}: type: ignore without a code; write type: ignore[code]"


def keeps_functions_short(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node) is not None
            first = node.body[0]
            lines = (node.end_lineno or 0) - node.lineno + 1
            lines -= (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            if lines > FUNCTION_LINES_MAX:
                yield (
                    f"{node.lineno}: {node.name} has {lines} lines without its docstring; "
                    f"split it ({FUNCTION_LINES_MAX} at most)"
                )


def keeps_files_short(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines; over {FILE_LINES_MAX} a file holds two things: split it"


def counts_money_exactly(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind) if name in MONEY:
                if "float" in ast.unparse(kind):
                    yield f"{node.lineno}: {name} is a float; money is a Decimal"


@frozen
class Row:
    """A law, and two samples as (path, text): one that breaks it and one that keeps it."""

    law: Law
    bad: tuple[str, str]
    good: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.law.__name__}, {self.bad[1].strip().splitlines()[-1].strip()}"


_BODY = "    x = 1\n"
LAWS = [
    Row(
        follows_import_law,
        ("actors/mailbox.py", "from ringfence.supervisors.spec import Child"),
        ("supervisors/decide.py", "from ringfence.supervisors.spec import Child"),
    ),
    Row(
        follows_import_law,
        ("supervisors/tree.py", "import ringfence.runtime.cli"),
        ("runtime/system.py", "import ringfence.runtime.cli"),
    ),
    Row(
        follows_import_law,
        ("supervisors/tree.py", "from ringfence import runtime"),
        ("runtime/system.py", "from ringfence import supervisors"),
    ),
    Row(
        follows_import_law,
        ("actors/actor.py", "from ringfence.actors import resilience"),
        ("actors/resilience/retry.py", "from ringfence.actors import errors"),
    ),
    Row(
        follows_import_law,
        ("actors/resilience/retry.py", "from ringfence.actors.trading.order import Order"),
        ("actors/trading/order.py", "from ringfence.actors.resilience.retry import retry"),
    ),
    Row(
        follows_import_law,
        ("actors/trading/order.py", "from ringfence.actors.venues.port import Port"),
        ("actors/venues/paper/server.py", "from ringfence.actors.venues.port import Port"),
    ),
    Row(
        follows_import_law,
        ("actors/actor.py", "from .mailbox import Mailbox"),
        ("actors/actor.py", "from ringfence.actors.mailbox import Mailbox"),
    ),
    Row(
        follows_import_law,
        ("runtime/cli.py", "from actors.mailbox import Mailbox"),
        ("runtime/cli.py", "from ringfence.actors.mailbox import Mailbox"),
    ),
    Row(
        fences_libraries,
        ("supervisors/spec.py", "from cattrs import Converter"),
        ("actors/codec.py", "from cattrs import Converter"),
    ),
    Row(
        fences_libraries,
        ("supervisors/tree.py", "import hypothesis.strategies as st"),
        ("supervisors/testing.py", "import hypothesis.strategies as st"),
    ),
    Row(
        fences_libraries,
        ("runtime/cli.py", "from hypothesis import given"),
        ("runtime/sim/world.py", "from hypothesis import given"),
    ),
    Row(
        fences_libraries,
        ("runtime/system.py", "import sqlite3"),
        ("runtime/observe/journal.py", "import sqlite3"),
    ),
    *(
        Row(
            reads_world_in_seams_only,
            ("runtime/system.py", text),
            ("actors/seams.py", text),
        )
        for text in (
            "import time\ntime.time()",
            "import time as t\nt.monotonic()",
            "from time import perf_counter as now\nnow()",
            "from attrs import field\nimport time\nat: int = field(factory=time.time_ns)",
            "from datetime import datetime\ndatetime.now()",
            "import datetime\ndatetime.datetime.now(datetime.UTC)",
            "import random\nrandom.random()",
            "import random\nrandom.Random()",
            "from random import shuffle\nshuffle([])",
            "from secrets import token_hex\ntoken_hex()",
            "import uuid\nuuid.uuid4()",
            "from uuid import uuid4\nuuid4()",
        )
    ),
    Row(
        reads_world_in_seams_only,
        ("runtime/sim/world.py", "import time\ntime.sleep(1)"),
        ("runtime/sim/world.py", "import random\nr: random.Random = random.Random(7)"),
    ),
    Row(
        never_prints,
        ("runtime/cli.py", "print('hello')"),
        ("runtime/cli.py", "import typer\ntyper.echo('hello')"),
    ),
    *(
        Row(
            keeps_pure_files_pure,
            ("supervisors/decide.py", f'"""Decides.\n\nPure: no clock, no I/O.\n"""\n{text}'),
            ("supervisors/supervisor.py", f'"""Acts."""\n{text}'),
        )
        for text in (
            "import trio",
            "from trio import sleep",
            "async def decide(): ...",
            "from ringfence.actors import seams",
            "for child in {1, 2}: pass",
            "[child for child in set('ab')]",
        )
    ),
    Row(
        names_what_it_ignores,
        ("actors/actor.py", "x = 1  # type: ignore"),
        ("actors/actor.py", "x = '# type: ignore'  # type: ignore[misc]"),
    ),
    Row(
        keeps_functions_short,
        ("actors/actor.py", "def long():\n" + _BODY * FUNCTION_LINES_MAX),
        (
            "actors/actor.py",
            'def documented():\n    """\n\n\n    """\n' + _BODY * (FUNCTION_LINES_MAX - 1),
        ),
    ),
    Row(
        keeps_functions_short,
        ("actors/actor.py", "class A:\n  async def long(self):\n" + _BODY * FUNCTION_LINES_MAX),
        ("actors/actor.py", "class A:\n" + _BODY * FUNCTION_LINES_MAX),
    ),
    Row(
        keeps_files_short,
        ("actors/actor.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
        ("actors/actor.py", "x = 1\n" * FILE_LINES_MAX),
    ),
    Row(
        counts_money_exactly,
        ("actors/trading/order.py", "class Fill:\n    fee: float | None"),
        ("actors/trading/order.py", "class Fill:\n    fee: Decimal | None\n    age_s: float"),
    ),
]


def sources() -> list[Source]:
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def unique_laws() -> list[Law]:
    return list(dict.fromkeys(row.law for row in LAWS))


@pytest.mark.parametrize("law", unique_laws(), ids=lambda law: law.__name__)
def test_every_file_keeps_the_law(law: Law) -> None:
    problems = [f"{source.path}:{problem}" for source in sources() for problem in law(source)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("row", LAWS, ids=str)
def test_the_law_catches_its_bad_sample(row: Row) -> None:
    assert [] != list(row.law(Source(*row.bad)))


@pytest.mark.parametrize("row", LAWS, ids=str)
def test_the_law_lets_its_good_sample_pass(row: Row) -> None:
    assert [] == list(row.law(Source(*row.good)))


def test_the_checks_see_every_package() -> None:
    assert set(PACKAGES) == {source.path.split("/")[0] for source in sources()}


@pytest.mark.parametrize("path", ["actors/lifecycle.py", "supervisors/decide.py"])
def test_the_files_people_read_to_trust_us_are_marked_pure(path: str) -> None:
    assert is_pure(Source(path, (ROOT / path).read_text()))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_in_the_wheel(package: str) -> None:
    """setup.py finds folders with an `__init__.py`; type checkers trust a root with py.typed."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [] == [folder for folder in folders if not (folder / "__init__.py").exists()]
    assert (ROOT / package / "py.typed").exists()


def public_packages() -> list[str]:
    inits = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("__init__.py")))
    return [".".join(("ringfence", *path.parent.relative_to(ROOT).parts)) for path in inits]


def in_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order in which ruff sorts `__all__`."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


@pytest.mark.parametrize("package", public_packages())
def test_public_names_are_sorted(package: str) -> None:
    names = list(importlib.import_module(package).__all__)
    assert sorted(set(names), key=in_order) == names


@pytest.mark.parametrize("package", public_packages())
def test_public_names_are_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__
    assert [] == undocumented(module.__all__, vars(module))


@pytest.mark.parametrize("package", public_packages())
def test_public_signatures_say_what_they_take_and_give(package: str) -> None:
    module = importlib.import_module(package)
    assert [] == [spot for name in module.__all__ for spot in says_any(name, vars(module)[name])]


def says_any(name: str, exported: object) -> Iterator[str]:
    """Yield the public functions and methods of an exported name whose signature says Any."""
    for spot, function in functions(name, exported).items():
        told = inspect.get_annotations(function).values()
        if any(re.search(r"\bAny\b", str(kind)) for kind in told):
            yield spot


def functions(name: str, exported: object) -> dict[str, FunctionType]:
    """Return what a user can call on an exported name: it, or its methods and properties."""
    found = {name: exported}
    if inspect.isclass(exported):
        for key, value in vars(exported).items():
            if key == "__init__" or not key.startswith("_"):
                inner = value.fget if isinstance(value, property) else value
                found[f"{name}.{key}"] = getattr(inner, "__func__", inner)
    return {spot: value for spot, value in found.items() if isinstance(value, FunctionType)}


def test_an_any_in_a_public_signature_is_noticed() -> None:
    class Loose:
        def __init__(self, x: Any) -> None: ...

        def method(self, x: "list[Any]") -> None: ...

        @property
        def attribute(self) -> Any: ...

        @classmethod
        def built(cls) -> Any: ...

        def _private(self) -> Any: ...

    def function(x: object) -> Any: ...

    found = [*says_any("Loose", Loose), *says_any("function", function), *says_any("N", 1)]
    assert ["Loose.__init__", "Loose.method", "Loose.attribute", "Loose.built", "function"] == found


def undocumented(names: list[str], space: dict[str, object]) -> list[str]:
    """Return the classes and functions without a docstring of their own (not an inherited one)."""
    return [
        name
        for name in names
        if (inspect.isclass(space[name]) or inspect.isroutine(space[name]))
        and not vars(space[name]).get("__doc__", getattr(space[name], "__doc__", None))
    ]


def test_a_public_name_without_a_docstring_is_noticed() -> None:
    class Documented:
        """A docstring."""

    class Bare(Documented):
        pass

    def bare() -> None:
        pass

    space: dict[str, object] = {"Bare": Bare, "Documented": Documented, "bare": bare, "N": 1}
    assert ["Bare", "bare"] == undocumented(sorted(space, key=in_order), space)


def test_tests_use_fakes_and_not_mocks() -> None:
    """`monkeypatch` swaps a seam; a mock of our own class tests the mock."""
    files = (path for path in sorted((ROOT / "tests").rglob("*.py")))
    found = (
        path.name
        for path in files
        for _, name in imports(Source(path.name, path.read_text()))
        if name.startswith("unittest.mock")
    )
    assert [] == list(found)
