"""What all actors of one running tree share: addresses, timers, topics, events, dead letters.

One `Kernel` per running tree, passed from the runtime down; there is no global one. It holds
no policy: who restarts whom is decided in `ringfence.supervisors`.
"""

from __future__ import annotations

import difflib
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.address import Ref
from ringfence.actors.events import DeadLetter, DeadLetterWhy, EventStream
from ringfence.actors.mailbox import Mailbox, MailboxSpec
from ringfence.actors.pace import Pace
from ringfence.actors.timers import Timers

if TYPE_CHECKING:
    from ringfence.actors.address import Name

DEAD_LETTERS_KEPT_MAX: Final = 1000
HINTS_KEPT_MAX: Final = 1000

Kept = tuple[float, str, object, DeadLetterWhy, BaseException | None, str | None]


class Kernel:
    """The shared services of one running tree."""

    __slots__ = (
        "_buried",
        "_hints",
        "_subscriptions",
        "_topic_cache",
        "_topics",
        "_vacant",
        "boxes",
        "controls",
        "dead_letter_count",
        "ending",
        "events",
        "forced_stops",
        "incarnations",
        "pace",
        "timers",
    )

    def __init__(self, pace: Pace | None = None) -> None:
        self.events = EventStream()
        self.timers = Timers()
        self.pace = pace if pace is not None else Pace()
        self.boxes: dict[str, Mailbox] = {}
        self._vacant: weakref.WeakValueDictionary[str, Mailbox] = weakref.WeakValueDictionary()
        self.incarnations: dict[str, int] = {}
        self.controls: dict[str, object] = {}  # path of a supervisor -> its handle
        self._hints: dict[str, str | None] = {}  # finding one takes milliseconds: not per message
        self._buried: deque[Kept] = deque(maxlen=DEAD_LETTERS_KEPT_MAX)
        self.dead_letter_count = 0
        self.ending = False  # the whole tree stops: who has ended will not be back
        self.forced_stops = 0  # children that were cancelled because their grace was over
        self._topics: dict[type, dict[Mailbox, int]] = {}
        self._subscriptions = 0
        self._topic_cache: dict[type, tuple[Ref[object], ...]] = {}

    # -- addresses -----------------------------------------------------------------------------

    def box(self, path: str, spec: MailboxSpec | None = None) -> Mailbox:
        """Return the mailbox of ``path``, made if need be.

        Without ``spec`` a new one is a dead-letter slot until an actor of that name starts; it is
        kept only as long as somebody has a handle on it.
        """
        box = self.boxes.get(path) or self._vacant.get(path)
        if box is None:
            box = Mailbox(self, path, spec or MailboxSpec())
        if spec is None:
            if path not in self.boxes:
                self._vacant[path] = box
        elif path not in self.boxes or box.spec is not spec:
            box.spec = spec
            self.boxes[path] = box
            self._hints.clear()
        return box

    def retire(self, path: str, *, count_too: bool = True) -> None:
        """Forget an address that may never be used again, and all below it.

        A mailbox stays as long as somebody has a handle on it. ``count_too``: of incarnations.
        """
        self._hints.clear()
        for box in self._below(path):
            self._vacant[box.path] = self.boxes.pop(box.path)
        if count_too:
            self.incarnations.pop(path, None)
        if path in self.controls:
            inside = f"{path}/"
            for name in [name for name in self.controls if name.startswith(inside)]:
                del self.controls[name]
            del self.controls[path]

    def ref(self, name: Name[object] | str) -> Ref[object]:
        """Return the handle on an address."""
        return Ref(self.box(name if isinstance(name, str) else name.path))

    def next_incarnation(self, path: str) -> int:
        """Count one more incarnation of ``path``, from 1."""
        number = self.incarnations.get(path, 0) + 1
        self.incarnations[path] = number
        return number

    def close_below(self, path: str, why: DeadLetterWhy, cause: BaseException | None) -> None:
        """Close the mailbox of ``path`` and, if it is a supervisor, all below it."""
        for box in self._below(path):
            box.close(why, cause)

    def refuse_below(self, path: str, cause: BaseException | None) -> None:
        """Refuse questions to ``path`` and all below it until they are started again."""
        for box in self._below(path):
            box.refuse_now(cause)

    def _below(self, path: str) -> list[Mailbox]:
        if path not in self.controls:  # an actor: no need to look through all addresses
            box = self.boxes.get(path)
            return [] if box is None else [box]
        inside = f"{path}/"
        return [box for box in self.boxes.values() if box.path.startswith(inside)]

    def nearest(self, path: str) -> str | None:
        """Return the known address most like ``path``, for an error a person can act on."""
        if path in self._hints:
            return self._hints[path]
        known = [
            box.path
            for box in self.boxes.values()
            if box.closed_why is not DeadLetterWhy.UNKNOWN_NAME
        ]
        close = difflib.get_close_matches(path, known, n=1)
        if len(self._hints) >= HINTS_KEPT_MAX:
            self._hints.clear()
        hint = self._hints[path] = close[0] if close else None
        return hint

    def bury(
        self, path: str, message: object, why: DeadLetterWhy, cause: BaseException | None
    ) -> None:
        """Keep a message nobody handled, count it, and tell who listens."""
        self.dead_letter_count += 1
        hint = self.nearest(path) if why is DeadLetterWhy.UNKNOWN_NAME else None
        kept = (trio.current_time(), path, message, why, cause, hint)
        self._buried.append(kept)
        if self.events.listeners:
            self.events.emit(_letter(kept))

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The last thousand messages nobody handled, the oldest first."""
        return [_letter(kept) for kept in self._buried]

    # -- topics --------------------------------------------------------------------------------

    def subscribe(self, box: Mailbox, topic: type) -> None:
        """Let ``box`` get every published message of class ``topic`` or below."""
        self._subscriptions += 1
        self._topics.setdefault(topic, {}).setdefault(box, self._subscriptions)
        self._topic_cache.clear()

    def unsubscribe(self, box: Mailbox, topic: type) -> None:
        """Undo `subscribe`."""
        self._topics.get(topic, {}).pop(box, None)
        self._topic_cache.clear()

    def publish(self, message: object) -> None:
        """Tell ``message`` to all subscribers, in the order they subscribed.

        A subscriber whose mailbox is full loses it (a dead letter); the others and the publisher
        do not notice.
        """
        for ref in self._topic_cache.get(message.__class__) or self._subscribers(message.__class__):
            try:
                ref.tell(message)
            except Exception as error:  # noqa: BLE001 - full, or its `key` failed: not our publisher's
                self.box(ref.path).bury(message, DeadLetterWhy.FULL, error)

    def _subscribers(self, cls: type) -> tuple[Ref[object], ...]:
        since: dict[Mailbox, int] = {}
        for base in cls.__mro__:
            for box, number in self._topics.get(base, {}).items():
                since[box] = min(number, since.get(box, number))
        refs = tuple(Ref[object](box) for box in sorted(since, key=since.__getitem__))
        self._topic_cache[cls] = refs
        return refs


def _letter(kept: Kept) -> DeadLetter:
    at_s, path, message, why, cause, hint = kept
    return DeadLetter(at_s=at_s, path=path, message=message, why=why, cause=cause, hint=hint)
