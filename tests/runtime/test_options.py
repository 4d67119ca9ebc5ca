"""What `run` refuses before it starts anything, and what it takes."""

import functools
from typing import Any

import pytest
import trio
from attrs import define, frozen

from ringfence.actors import Actor
from ringfence.actors.errors import SupervisorFailed
from ringfence.runtime import ExitCode, LogOptions, run
from ringfence.supervisors import Child, Start, Supervisor

STARTED: list[str] = []


@define
class Part(Actor[str]):
    async def started(self) -> None:
        STARTED.append(self.context.path)
        self.context.stop()

    async def receive(self, message: str) -> None: ...


TREE = Supervisor("desk", children=[Child("part", Start(Part))])


@pytest.fixture(autouse=True)
def _nothing_started() -> None:
    STARTED.clear()


async def go_flat(error: SupervisorFailed) -> bool:
    return error.path == "desk"


async def go_flat_at(venue: str, error: SupervisorFailed) -> bool:
    return bool(venue) and error.path == "desk"


async def go_flat_blindly() -> bool:
    return True


def pretend(error: SupervisorFailed) -> bool:
    return error.path == "desk"


@frozen
class Flattener:
    async def __call__(self, error: SupervisorFailed) -> bool:
        return error.path == "desk"

    async def go(self, error: SupervisorFailed) -> bool:
        return error.path == "desk"


@frozen
class Pretender:
    def __call__(self, error: SupervisorFailed) -> bool:
        return error.path == "desk"


EMERGENCY = (
    "emergency = {}: must be an async function of one argument; "
    "write `async def go_flat(error: SupervisorFailed) -> bool`"
)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"emergency": pretend}, EMERGENCY.format("pretend")),
        ({"emergency": go_flat_blindly}, EMERGENCY.format("go_flat_blindly")),
        ({"emergency": go_flat_at}, EMERGENCY.format("go_flat_at")),
        ({"emergency": Pretender()}, EMERGENCY.format("<Pretender>")),
        ({"emergency": functools.partial(pretend)}, EMERGENCY.format("<partial>")),
        ({"emergency": True}, EMERGENCY.format("True")),
        (
            {"log": "debug"},
            (
                "log = 'debug': must be a LogOptions or None; "
                'write log=LogOptions(level="debug"), or None for no log'
            ),
        ),
        (
            {"log": {}},
            (
                "log = <dict>: must be a LogOptions or None; "
                'write log=LogOptions(level="debug"), or None for no log'
            ),
        ),
        (
            {"log": LogOptions(json="yes")},  # type: ignore[arg-type]
            (
                "log.json = 'yes': must be True, False or None; "
                "leave it out for JSON unless stderr is a terminal"
            ),
        ),
        (
            {"listen": print},
            "listen = print: must be a sequence of functions of one event; write listen=(show,)",
        ),
        (
            {"listen": "print"},
            "listen = 'print': must be a sequence of functions of one event; write listen=(show,)",
        ),
    ],
)
def test_a_wrong_option_is_a_problem_and_nothing_is_started(
    options: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(TREE, **options)
    assert ExitCode.REFUSED is code
    assert [] == STARTED
    said = capsys.readouterr().err
    assert f"1 problem in the options; nothing was started:\n  {told}\n" == said


def test_problems_of_the_tree_and_of_the_options_are_told_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ExitCode.REFUSED is run(Supervisor("a b"), log={}, emergency=pretend)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert said.startswith("3 problems in the tree and the options; nothing was started:\n")


@pytest.mark.parametrize(
    "emergency",
    [None, go_flat, functools.partial(go_flat_at, "paper"), Flattener(), Flattener().go],
)
def test_every_async_function_of_one_argument_is_an_emergency_path(emergency: Any) -> None:
    run(TREE, emergency=emergency, log=None, for_s=1e-9)
    assert "desk/part" in STARTED


async def test_inside_a_trio_program_it_names_the_function_to_use() -> None:
    await trio.lowlevel.checkpoint()
    with pytest.raises(RuntimeError, match=r"use `await run_async\(tree\)` inside a running trio"):
        run(TREE, log=None)
    assert [] == STARTED
