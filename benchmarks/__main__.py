"""The command.

python -m benchmarks [--rounds N] [--only W1,W7] [--quick] [--json FILE] [--strict]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks import asyncio_actors
from benchmarks.catalogue import WORKLOADS, Contender, Sizes
from benchmarks.erlang import erlang
from benchmarks.floors import FLOORS
from benchmarks.report import Row, as_json, rows, table
from benchmarks.rounds import Results, Spread, measure

QUICK = 10
TABLE_COLUMNS = 150
OPTIONAL = (("ours", "OURS"), ("pykka_actors", "PEER"))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table.

    Returns:
      0; with --strict 1 if a goal is missed or a run failed.
    """
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
    sizes = Sizes().divided(QUICK) if options.quick else Sizes()
    with _contenders(console) as contenders, console.status("") as status:
        results = measure(contenders, options.only, sizes, options.rounds, status.update)
    lines = rows(results, contenders)
    console.print(table(lines))
    _print_notes(console, results)
    if options.json:
        options.json.write_text(json.dumps(as_json(results, lines), indent=2) + "\n")
    return int(options.strict and not _all_met(results, lines))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ringfence against floors and peers."
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often everything runs (default 5)"
    )
    parser.add_argument(
        "--only", type=_workloads, default=list(WORKLOADS), help="for example W1,W7"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the operations: a look, not a result"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure of every round"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if a goal is missed or a run failed"
    )
    return parser.parse_args(arguments)


def _workloads(names: str) -> list[str]:
    chosen = names.upper().split(",")
    if unknown := set(chosen) - set(WORKLOADS):
        raise argparse.ArgumentTypeError(f"no such workload: {', '.join(sorted(unknown))}")
    return chosen


@contextmanager
def _contenders(console: Console) -> Iterator[list[Contender]]:
    """Everyone who can take part on this machine."""
    with erlang() as otp:
        if not otp:
            console.print("Erlang is not installed: left out.")
        ours, pykka = (_optional(console, *place) for place in OPTIONAL)
        yield [*ours, *FLOORS, asyncio_actors.PEER, *pykka, *otp]


def _optional(console: Console, module: str, name: str) -> list[Contender]:
    try:
        contender = getattr(import_module(f"benchmarks.{module}"), name)
    except ImportError as error:
        console.print(f"benchmarks/{module}.py is left out: {error}")
        return []
    assert isinstance(contender, Contender)
    return [contender]


def _print_notes(console: Console, results: Results) -> None:
    spin = Spread.of(results.spins_ms)
    console.print(
        f"A fixed Python loop before each run took {spin.median:.1f} ms "
        f"({spin.low:.1f} to {spin.high:.1f})."
    )
    for failure in results.failures:
        console.print(
            f"[red]failed:[/] {failure.workload} {failure.contender}: {failure.error}", markup=True
        )


def _all_met(results: Results, lines: list[Row]) -> bool:
    return not results.failures and all(row.met is not False for row in lines)


if __name__ == "__main__":
    sys.exit(main())
