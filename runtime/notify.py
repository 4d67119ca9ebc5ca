"""Tells systemd how the bot is: ready, stopping, alive, and one line of status.

It speaks the sd_notify protocol: datagrams to the socket named in ``NOTIFY_SOCKET``. Without that
variable, or if the socket fails, nothing happens: telling never harms the bot. The watchdog is fed
from the event loop, so a loop that does not turn stops feeding it and systemd restarts the bot.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.events import SystemStarted, SystemStopping
from ringfence.runtime.tracebacks import described
from ringfence.supervisors.incident import IncidentRecorded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringfence.actors.events import Event

US_PER_S: Final = 1_000_000
STATUS_MAX: Final = 200


class Notifier:
    """Sends what events mean to the service manager; call it with each event."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environ)
        """Seconds within which the manager wants to hear from us; ``None``: it does not mind."""
        self._incidents = 0
        self._socket: socket.socket | None = None
        if self._address[:1] in ("/", "@") and hasattr(socket, "AF_UNIX"):
            try:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            except OSError:
                self._socket = None

    def __call__(self, event: Event) -> None:
        """Tell what an event of the system means."""
        if self._socket is None:
            return
        match event:
            case SystemStarted():
                self.send("READY=1", "STATUS=running")
            case SystemStopping(reason=reason):
                self.send("STOPPING=1", f"STATUS=stopping: {reason}")
            case IncidentRecorded(incident=incident):
                self._incidents += 1
                decided_by = incident.causes[0].decided_by
                what = described(decided_by) if decided_by is not None else "ended"
                at = incident.causes[0].path
                self.send(f"STATUS=running; {self._incidents} incidents, last {at}: {what}")
            case _:
                pass

    def send(self, *lines: str) -> None:
        """Send one datagram; drop it if nobody takes it."""
        if self._socket is None:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        text = "\n".join(line.replace("\n", " ")[:STATUS_MAX] for line in lines)
        try:
            self._socket.sendto(text.encode(errors="replace"), address)
        except (OSError, ValueError):
            return

    async def feed_watchdog(self) -> None:
        """Say that the loop turns, twice in each period, until cancelled."""
        if self.watchdog_s is None or self._socket is None:
            return
        while True:
            self.send("WATCHDOG=1")
            await trio.sleep(self.watchdog_s / 2)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Return the period of the watchdog, if it is meant for this process."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / US_PER_S
