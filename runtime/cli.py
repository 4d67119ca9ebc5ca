"""The command ``ringfence``: run a tree, or check it without running anything."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ringfence.runtime.exits import ExitCode
from ringfence.runtime.loading import LoadError, load_tree
from ringfence.runtime.main import run as run_tree
from ringfence.runtime.observe.log import LogOptions
from ringfence.runtime.tracebacks import problems_text
from ringfence.supervisors.spec import DynamicSupervisor, Supervisor
from ringfence.supervisors.tree import check as problems_of
from ringfence.supervisors.tree import render, warnings

CODES = "\n".join(f"{code:>5d}  {code.meaning}" for code in ExitCode)
HELP = f"""Run the actor tree of a trading bot, or check it first.

\b
Examples:
  ringfence check my_bot.desk:tree
  ringfence run my_bot.desk:tree
  ringfence run path/to/desk.py:tree --for-s 10 --log-level debug

\b
Exit codes:
{CODES}
"""

app = typer.Typer(
    help=HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Tree = Annotated[
    str,
    typer.Argument(
        metavar="TREE",
        help="module:attribute or path/to/file.py:attribute; a function is called for the tree.",
        show_default=False,
    ),
]


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the value alone
    if asked:
        typer.echo(f"ringfence {version('ringfence')}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    tree: Tree,
    *,
    for_s: Annotated[
        float | None,
        typer.Option("--for-s", help="Stop in order after this many seconds.", metavar="SECONDS"),
    ] = None,
    log_json: Annotated[
        bool | None,
        typer.Option(
            "--log-json/--log-text",
            help="Log JSON or text; default: JSON unless stderr is a terminal.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="debug, info, warning, error or critical.", metavar="LEVEL")
    ] = "info",
) -> None:
    """Run a tree until it ends or is told to stop.

    Ctrl-C or SIGTERM stops it in order, a second one ends it now, SIGHUP shows the tree and where
    every task is.

    Example: ringfence run examples/02_crash_and_restart.py:tree --for-s 10
    """
    found = _loaded(tree)
    options = LogOptions(level=log_level, json=log_json)
    # What is no tree is refused by the check of `run` itself, with the same words as any problem.
    raise typer.Exit(run_tree(found, for_s=for_s, log=options))  # type: ignore[arg-type]


@app.command()
def check(tree: Tree) -> None:
    """Check a tree without starting anything; show all problems, or a drawing.

    Exits with 0 if the tree can be started, with 2 if not.

    Example: ringfence check my_bot.desk:tree
    """
    found = _loaded(tree)
    problems = problems_of(found)
    if problems:
        typer.echo(problems_text(problems, tree), err=True)
        raise typer.Exit(ExitCode.REFUSED)
    assert isinstance(found, Supervisor | DynamicSupervisor), "the check says it is a tree"
    typer.echo(render(found))
    for warning in warnings(found):
        typer.echo(f"warning: {warning}", err=True)


def _loaded(target: str) -> object:
    try:
        return load_tree(target)
    except LoadError as error:
        typer.echo(f"cannot load the tree: {error}", err=True)
        raise typer.Exit(ExitCode.REFUSED) from None


def main() -> None:
    """Run the command line; the entry of the console script."""
    sys.exit(app())
