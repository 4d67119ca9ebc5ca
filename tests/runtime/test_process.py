"""The main process as others see it: signals, exit codes, what it prints, what systemd is told."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

pytestmark = pytest.mark.subprocess

BOTS = Path(__file__).with_name("bots.py")
WAIT_S_MAX = 60.0


@frozen
class Bot:
    """A running bot; its stderr goes to a file, its stdout is read as it comes."""

    process: subprocess.Popen[bytes]
    err: Path

    def wait_for(self, text: str) -> None:
        """Read stdout until it has said ``text``."""
        assert self.process.stdout is not None
        pipe, said = self.process.stdout.fileno(), b""
        while text.encode() not in said:
            ready, _, _ = select.select([pipe], [], [], WAIT_S_MAX)
            more = os.read(pipe, 4096) if ready else b""
            assert more, f"no {text!r}; it said {said!r}\n{self.err.read_text()}"
            said += more

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[str], str]:
        """Wait for its end; return the exit code, the rest of stdout and all of stderr."""
        out, _ = self.process.communicate(timeout=WAIT_S_MAX)
        return self.process.returncode, out.decode().splitlines(), self.err.read_text()


@contextlib.contextmanager
def started(err: Path, *command: str, **environ: str) -> Iterator[Bot]:
    with (
        err.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            env={**os.environ, **environ},
        ) as process,
    ):
        try:
            yield Bot(process, err)
        finally:
            process.kill()


@pytest.fixture
def err(tmp_path: Path) -> Path:
    return tmp_path / "stderr"


def command(tree: str, *more: str) -> tuple[str, ...]:
    return ("-m", "ringfence.runtime", "run", f"{BOTS}:{tree}", *more)


def run_bot(err: Path, *words: str, **environ: str) -> tuple[int, list[str], str]:
    with started(err, *words, **environ) as bot:
        return bot.end()


# -- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_in_reverse_order_and_exits_with_0(
    err: Path, number: signal.Signals
) -> None:
    with started(err, *command("good", "--log-level", "error")) as bot:
        bot.wait_for("all up")
        bot.signal(number)
        code, out, said = bot.end()
    assert (0, ["desk/risk stops: shutdown", "desk/feed stops: shutdown"], "") == (code, out, said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_stop_that_hangs_with_130(err: Path, number: signal.Signals) -> None:
    with started(err, *command("stubborn", "--log-level", "error")) as bot:
        bot.wait_for("all up")
        bot.signal(number)
        bot.wait_for("desk/feed hangs")
        bot.signal(number)
        code, _, said = bot.end()
    assert 130 == code
    assert said.startswith("desk ended: forced to end by a second signal\n")
    assert f"\n\nthe stop waited for\n  desk/feed was in stopping() at {BOTS}:" in said
    assert "desk/risk" not in said  # it has ended before
    assert "after its grace" not in said
    assert "Traceback" not in said


def test_a_handler_that_computes_for_ever_is_ended_by_the_second_signal(err: Path) -> None:
    with started(err, *command("busy", "--log-level", "error")) as bot:
        bot.wait_for("busy")
        bot.signal(signal.SIGTERM)
        bot.signal(signal.SIGHUP)
        wait_until_in(err, "running now")
        bot.signal(signal.SIGTERM)
        code, _, said = bot.end()
    assert 130 == code
    assert "in receive" in said
    assert "desk/loop failed while stopping" not in said


def wait_until_in(path: Path, text: str, count: int = 1) -> None:
    """Wait until a file holds ``text`` so many times."""
    waiter = select.poll()
    for _ in range(int(WAIT_S_MAX * 100)):
        if path.read_text().count(text) >= count:
            return
        waiter.poll(10)
    pytest.fail(f"no {text!r} in {path.read_text()}")


def test_sighup_shows_the_tree_and_where_tasks_are_and_changes_nothing(err: Path) -> None:
    with started(err, *command("good", "--log-level", "error")) as bot:
        bot.wait_for("all up")
        bot.signal(signal.SIGHUP)
        wait_until_in(err, "Timers.run")
        bot.signal(signal.SIGINT)
        code, _, said = bot.end()
    assert 0 == code
    assert "desk  running, incarnation 1, 3 of 3 restarts left in 5 s\n" in said
    actor = "running, incarnation 1, 0 restarts, 0 messages wait, waits for messages"
    assert f"├─ feed  {actor}\n└─ risk  {actor}\n" in said
    assert "2 x waits for messages" in said
    at_s = re.search(r"^desk: dump at (\d+\.\d{3}) s$", said, re.MULTILINE)
    assert at_s is not None
    assert float(at_s[1]) < WAIT_S_MAX  # since it started: trio's own clock starts anywhere


# -- exit codes and the report -------------------------------------------------------------------


def test_it_stops_after_for_s_with_0(err: Path) -> None:
    code, out, said = run_bot(err, *command("good", "--for-s", "0.1", "--log-level", "error"))
    assert (0, "") == (code, said)
    assert "desk/feed stops: shutdown" == out[-1]


def test_a_function_that_returns_a_tree_is_called(err: Path) -> None:
    code, _, said = run_bot(err, *command("made", "--for-s", "0.1", "--log-level", "error"))
    assert (0, "") == (code, said)


def test_a_failure_exits_with_1_and_the_first_lines_say_what_and_why(err: Path) -> None:
    code, _, said = run_bot(err, str(BOTS), "failing", "none")
    assert 1 == code
    assert """\
desk gave up: more restarts than its intensity allows
  path      desk
  severity  LOW
  budget    1 restart in 60 s, all used
  action    all actors stopped; exit code 1: a failure ended it, or a child did not stop cleanly
  cause     desk/feed: ConnectionError: reset by peer

how it came to this
  1. desk/feed, incarnation 2: ConnectionError: reset by peer (LOW)
     desk: gave up: more restarts than its intensity allows, restarts used 1 of 1
failures that count, and failures while stopping
  2 x ConnectionError: reset by peer

traceback (2 times)
Traceback (most recent call last):
""" == said[: said.index("  File")]
    assert "s3cret" not in said
    assert said.count("Traceback") == 1


def test_a_child_that_had_to_be_cancelled_is_not_clean(err: Path) -> None:
    code, _, said = run_bot(err, *command("slow", "--for-s", "0.1", "--log-level", "error"))
    assert 1 == code
    assert "did not stop cleanly\n  desk/feed was cancelled" in said


def test_a_child_that_fails_while_stopping_is_named_in_the_first_line(err: Path) -> None:
    code, _, said = run_bot(err, *command("unclean", "--for-s", "0.1", "--log-level", "error"))
    assert 1 == code
    told = "desk/orders failed while stopping: RuntimeError: could not cancel open orders\n"
    assert said.startswith(told)
    assert f"did not stop cleanly\n  {told}" in said
    assert "clean-up failed" not in said


def test_a_child_that_exits_while_stopping_did_not_end_the_tree(err: Path) -> None:
    words = command("exits_at_stop", "--for-s", "0.1", "--log-level", "error")
    code, _, said = run_bot(err, *words)
    assert 1 == code
    assert said.startswith("desk/feed failed while stopping: SystemExit: 5\n")
    assert "ended the whole tree" not in said


def test_a_child_that_fails_while_stopping_after_a_failure_is_named_too(err: Path) -> None:
    code, _, said = run_bot(err, str(BOTS), "failing_twice", "flat")
    assert 3 == code
    assert "cause     desk/feed: EmergencyShutdown: lost track of money\n" in said
    told = "desk/orders failed while stopping: RuntimeError: could not cancel open orders"
    assert f"did not stop cleanly\n  {told}\n" in said


@pytest.mark.parametrize(
    ("tree", "code", "raised"),
    [("exits", 1, "SystemExit: 3"), ("interrupts", 130, "KeyboardInterrupt")],
)
def test_an_actor_that_ends_everything_is_named_and_no_signal_is_blamed(
    err: Path, tree: str, code: int, raised: str
) -> None:
    found, _, said = run_bot(err, *command(tree, "--log-level", "error"))
    assert code == found
    assert said.startswith(f"desk/feed ended the whole tree: {raised}\n")
    assert f"  cause     desk/feed: {raised}\n" in said
    assert "signal" not in said


def test_a_bad_tree_exits_with_2_and_starts_nothing(err: Path) -> None:
    code, out, said = run_bot(err, *command("wrong"))
    assert (2, []) == (code, out)
    assert said.startswith("3 problems in the tree; nothing was started:\n  desk[1]")


def test_what_is_no_tree_exits_with_2(err: Path) -> None:
    code, _, said = run_bot(err, *command("number"))
    assert 2 == code
    assert "tree = 5: a tree is a Supervisor or a DynamicSupervisor" in said


def test_a_critical_failure_verified_flat_exits_with_3(err: Path) -> None:
    code, out, said = run_bot(err, str(BOTS), "ruin", "flat")
    assert 3 == code
    assert [
        "desk/log is up",
        "desk/orders/gate stops: EmergencyShutdown: lost track of money",
        "flattening after desk/orders",
        "desk/log stops: shutdown",
    ] == out
    assert said.startswith("desk/orders gave up: a failure that must stop the whole system\n")
    assert "severity  CRITICAL\n" in said
    assert "verified flat; exit code 3" in said
    assert "NOT verified flat" not in said


def test_a_critical_failure_while_starting_takes_the_emergency_path_too(err: Path) -> None:
    code, out, said = run_bot(err, str(BOTS), "ruin_at_start", "flat")
    assert 3 == code
    assert ["desk/log is up", "desk/log stops: shutdown", "flattening after desk"] == out
    assert "cause     desk/gate: EmergencyShutdown: lost track of money\n" in said


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none", "no emergency path was given to run()"),
        ("not_flat", "the emergency path could not verify it"),
        ("hanging", "the emergency path was not done after 0.2 s"),
        ("broken", "the emergency path failed: ConnectionError: no connection to the venue"),
    ],
)
def test_a_critical_failure_not_verified_flat_exits_with_4(err: Path, path: str, why: str) -> None:
    code, out, said = run_bot(err, str(BOTS), "ruin", path, EMERGENCY_S="0.2")
    assert 4 == code
    assert f"NOT verified flat: {why}; exit code 4" in said
    assert "desk/log stops: shutdown" == out[-1]


def test_a_tree_that_ends_meanwhile_does_not_cut_the_emergency_short(err: Path) -> None:
    code, out, said = run_bot(err, str(BOTS), "ruin_twice", "slowly_flat")
    assert 3 == code
    assert "flat" == out[-1]
    assert "ConnectionError: reset by peer" in said


def test_one_signal_does_not_cut_the_emergency_short_and_a_second_does(err: Path) -> None:
    with started(err, str(BOTS), "ruin", "hanging") as bot:
        bot.wait_for("flattening")
        bot.signal(signal.SIGTERM)
        for count in (1, 2):  # the first answer may come before the stop would have begun
            bot.signal(signal.SIGHUP)
            wait_until_in(err, "Timers.run", count)
        assert 2 == err.read_text().count("log  running")
        bot.signal(signal.SIGTERM)
        code, _, said = bot.end()
    assert 4 == code
    assert "NOT verified flat: it was forced to end" in said


# -- the log -------------------------------------------------------------------------------------


def test_the_log_is_json_when_nobody_looks_and_shows_no_local_variables(err: Path) -> None:
    code, _, said = run_bot(err, *command("failing"))
    assert 1 == code
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    events = [line["event"] for line in lines]
    assert "system_started" == events[0]
    assert 1 == events.count("system_stopped")
    incident = next(line for line in lines if line["event"] == "incident_recorded")
    assert ("desk", "LOW", "restarted") == (
        incident["path"],
        incident["severity"],
        incident["outcome"],
    )
    assert "s3cret" not in said


# -- systemd -------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_ready_alive_and_stopping(
    err: Path, tmp_path: Path, *, abstract: bool
) -> None:
    name = f"ringfence-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(WAIT_S_MAX)
    with manager:
        manager.bind(f"\0{name}" if abstract else name)
        address = f"@{name}" if abstract else name
        told: list[str] = []

        def wait_for(text: str) -> None:
            while text not in told:
                told.extend(manager.recv(4096).decode().splitlines())

        words = command("good", "--log-level", "error")
        with started(err, *words, NOTIFY_SOCKET=address, WATCHDOG_USEC="200000") as bot:
            wait_for("READY=1")
            told.clear()
            wait_for("WATCHDOG=1")
            told.clear()
            wait_for("WATCHDOG=1")
            bot.signal(signal.SIGTERM)
            wait_for("STOPPING=1")
            assert "STATUS=stopping: SIGTERM" in told
            assert 0 == bot.end()[0]


def test_a_service_manager_that_is_gone_does_no_harm(err: Path, tmp_path: Path) -> None:
    words = command("good", "--for-s", "0.2", "--log-level", "error")
    environ = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "50000"}
    code, _, said = run_bot(err, *words, **environ)
    assert (0, "") == (code, said)
