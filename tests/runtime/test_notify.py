"""What systemd is told, over a real socket; and that nothing it does can hurt."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ringfence.actors.events import ActorStarted, SystemStarted, SystemStopping
from ringfence.runtime.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.setblocking(False)
        yield one


def told(manager: socket.socket) -> list[str]:
    found: list[str] = []
    while True:
        try:
            found += manager.recv(4096).decode().split("\n")
        except BlockingIOError:
            return found


def environ(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_events_become_ready_and_stopping(manager: socket.socket) -> None:
    notifier = Notifier(environ(manager))
    notifier(ActorStarted(at_s=0, path="desk/x", incarnation=1))
    assert [] == told(manager)
    notifier(SystemStarted(at_s=0, path="desk"))
    assert ["READY=1", "STATUS=running"] == told(manager)
    notifier(SystemStopping(at_s=0, path="desk", reason="a\nb"))
    assert ["STOPPING=1", "STATUS=stopping: a b"] == told(manager)
    notifier.close()
    notifier.send("READY=1")
    assert [] == told(manager)


async def test_the_watchdog_is_fed_twice_in_its_period(manager: socket.socket) -> None:
    notifier = Notifier(environ(manager, WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid())))
    with trio.move_on_after(26):
        await notifier.feed_watchdog()
    assert ["WATCHDOG=1"] * 6 == told(manager)
    notifier.close()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
    ],
)
async def test_a_watchdog_that_is_not_ours_is_not_fed(
    manager: socket.socket, more: dict[str, str]
) -> None:
    notifier = Notifier(environ(manager, **more))
    await notifier.feed_watchdog()
    assert [] == told(manager)
    notifier.close()


@pytest.mark.parametrize(
    "address", ["", "relative", "/no/such/socket", "@", "/" + "x" * 500, "/\0"]
)
def test_an_address_nobody_listens_at_does_no_harm(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier(SystemStarted(at_s=0, path="desk"))
    notifier.close()


def test_a_manager_that_reads_nothing_blocks_nobody(manager: socket.socket) -> None:
    notifier = Notifier(environ(manager))
    for _ in range(10_000):
        notifier.send("STATUS=" + "x" * 150)
    assert told(manager)
    notifier.close()
