"""Erlang/OTP on one scheduler, in a child process, if `erl` is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.catalogue import (
    ASK,
    ASK_P99,
    FAN_IN,
    FAN_OUT,
    HOP,
    IDLE,
    RESTART,
    RESTART_P99,
    START,
    START_STOP,
    STOP,
    TELL,
    Contender,
    Figures,
    Role,
    Run,
    Sizes,
)

ERLANG = "Erlang/OTP, one scheduler"
ERLANG_REPORTING = "Erlang/OTP, crash reports made"
SOURCE = Path(__file__).with_name("ringfence_peer.erl")
RUN_S = 120.0
ERROR_LENGTH = 300
COMMAND = ("erl", "+S", "1:1", "-noshell")
CALL = ("-run", SOURCE.stem, "main")

FIGURES = {
    "tell": TELL,
    "ask": ASK,
    "ask_p99": ASK_P99,
    "hop": HOP,
    "fan_in": FAN_IN,
    "fan_out": FAN_OUT,
    "start": START,
    "stop": STOP,
    "start_stop": START_STOP,
    "idle": IDLE,
    "restart": RESTART,
    "restart_p99": RESTART_P99,
}

ARGUMENTS: dict[str, Callable[[Sizes], tuple[int, ...]]] = {
    "W1": lambda sizes: (sizes.tells,),
    "W2": lambda sizes: (sizes.asks,),
    "W3": lambda sizes: (sizes.hops, sizes.ring),
    "W4": lambda sizes: (sizes.tells, sizes.producers),
    "W5": lambda sizes: (sizes.publishes, sizes.subscribers),
    "W6": lambda sizes: (sizes.spawns, sizes.idle),
    "W7": lambda sizes: (sizes.restarts,),
}


class ChildError(Exception):
    """The Erlang process did not print figures."""


@contextmanager
def erlang() -> Iterator[Sequence[Contender]]:
    """Compile the peer for the time of the block; nobody if Erlang is not installed."""
    if not (shutil.which("erl") and shutil.which("erlc")):
        yield ()
        return
    with tempfile.TemporaryDirectory() as folder:
        _output("erlc", "-o", folder, str(SOURCE))
        runs = {workload: _in_child(folder, "unmade", workload) for workload in ARGUMENTS}
        reporting = {"W7": _in_child(folder, "made", "W7")}
        yield (
            Contender(ERLANG, Role.PEER, runs),
            Contender(ERLANG_REPORTING, Role.PEER, reporting),
        )


def _in_child(folder: str, reports: str, workload: str) -> Run:
    def run(sizes: Sizes) -> Figures:
        numbers = [str(number) for number in ARGUMENTS[workload](sizes)]
        lines = _output(*COMMAND, "-pa", folder, *CALL, reports, workload, *numbers).splitlines()
        return {FIGURES[name]: float(figure) for name, figure in map(str.split, lines)}

    return run


def _output(*command: str) -> str:
    environment = {**os.environ, "ERL_CRASH_DUMP_SECONDS": "0"}
    child = subprocess.run(  # noqa: S603 - our own program with our own numbers
        command, check=False, timeout=RUN_S, capture_output=True, text=True, env=environment
    )
    if child.returncode:
        said = (child.stderr or child.stdout)[:ERROR_LENGTH]
        raise ChildError(f"{command[0]} ended with {child.returncode}: {said}")
    return child.stdout
