"""What one incarnation began and what ends with it: timers, subscriptions, watches.

Background tasks end with it too, but have a nursery: see `background.py`.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.actor import Terminated
from ringfence.actors.address import Ref
from ringfence.actors.events import DeadLetterWhy
from ringfence.actors.lifecycle import Failed

if TYPE_CHECKING:
    from ringfence.actors.mailbox import Mailbox
    from ringfence.actors.timers import Timer

_SWEPT_AT_LEAST: Final = 64


class Belongings:
    """Made when the actor begins the first of them: most actors have none."""

    __slots__ = ("_box", "_kernel", "_number", "_swept_at", "_timers", "_topics", "_watching")

    def __init__(self, box: Mailbox, number: int) -> None:
        self._box = box
        self._kernel = box.kernel
        self._number = number
        self._timers: set[Timer] = set()
        self._swept_at = _SWEPT_AT_LEAST
        self._topics: set[type] = set()
        # weakly: an address nobody else knows any more cannot end again
        self._watching: weakref.WeakSet[Mailbox] = weakref.WeakSet()

    def release(self) -> None:
        """End all of them."""
        for timer in self._timers:
            timer.cancel()
        for topic in self._topics:
            self._kernel.unsubscribe(self._box, topic)
        for box in self._watching:
            if box.watchers is not None:
                box.watchers.pop(self._box, None)

    def after(self, delay_s: float, message: object) -> Timer:
        """See `Context.after`."""
        if not delay_s >= 0:
            msg = f"delay_s={delay_s!r}: a delay is 0 seconds or more"
            raise ValueError(msg)
        self._box.require_admitted(message)

        def due() -> None:
            self._swept().discard(timer)
            self._tell_self(message)

        timer = self._kernel.timers.call_at(trio.current_time() + delay_s, due)
        self._swept().add(timer)
        return timer

    def every(self, period_s: float, message: object) -> Timer:
        """See `Context.every`."""
        if not 0 < period_s < math.inf:
            msg = f"period_s={period_s!r}: a period is a finite number of seconds above 0"
            raise ValueError(msg)
        self._box.require_admitted(message)
        first_s = trio.current_time() + period_s
        timer = self._kernel.timers.call_every(first_s, period_s, lambda: self._tell_self(message))
        self._swept().add(timer)
        return timer

    def _swept(self) -> set[Timer]:
        """Return the timers, without those that fired or were cancelled long ago."""
        if len(self._timers) >= self._swept_at:
            self._timers = {timer for timer in self._timers if timer.pending}
            self._swept_at = max(_SWEPT_AT_LEAST, 2 * len(self._timers))
        return self._timers

    def _tell_self(self, message: object) -> None:
        try:
            Ref[object](self._box).tell(message)
        except Exception as error:  # noqa: BLE001 - a mailbox's own `key` may fail, in no task of ours
            self._box.bury(message, DeadLetterWhy.FULL, error)

    def watch(self, ref: Ref[object]) -> None:
        """See `Context.watch`."""
        self._require_accepted(Terminated, "watch")
        box = self._kernel.box(ref.path)
        if box.closed_why is not None:
            cause = box.absent()
            self._box.put_system(Terminated(path=box.path, incarnation=0, exit=Failed(cause)))
            return
        if box.watchers is None:
            box.watchers = {}
        box.watchers[self._box] = self._number
        self._watching.add(box)

    def unwatch(self, ref: Ref[object]) -> None:
        """See `Context.unwatch`."""
        box = self._kernel.box(ref.path)
        self._watching.discard(box)
        if box.watchers is not None:
            box.watchers.pop(self._box, None)

    def subscribe(self, topic: type) -> None:
        """See `Context.subscribe`."""
        self._require_accepted(_class(topic), "subscribe to")
        self._topics.add(topic)
        self._kernel.subscribe(self._box, topic)

    def unsubscribe(self, topic: type) -> None:
        """See `Context.unsubscribe`."""
        self._kernel.unsubscribe(self._box, topic)

    def _require_accepted(self, topic: type, verb: str) -> None:
        accepted = self._box.accepted
        if accepted is not None and not issubclass(topic, accepted):
            names = ", ".join(cls.__name__ for cls in accepted)
            msg = (
                f"{self._box.path} cannot {verb} {topic.__name__}: it takes only {names}; "
                f"add {topic.__name__} to the union in its Actor[...]"
            )
            raise TypeError(msg)


def _class(topic: object) -> type:
    if isinstance(topic, type):
        return topic
    msg = f"topic={topic!r}: a topic is a class of messages"
    raise TypeError(msg)
