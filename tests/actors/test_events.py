"""The stream of events: everybody in order, nobody harmed."""

import pytest
from attrs import define, field

from ringfence.actors.events import Event, EventStream, ListenerDropped, SystemStarted


def event(number: int) -> Event:
    return SystemStarted(at_s=float(number), path="t")


@define(eq=False)
class Listener:
    fails_on: tuple[type[Event], ...] = ()
    seen: list[Event] = field(factory=list)

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        if isinstance(event, self.fails_on):
            raise LookupError("broken listener")  # noqa: TRY004 - the class is not the point

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.seen]


def test_every_listener_gets_every_event_in_order_until_it_stops() -> None:
    stream, one, two = EventStream(), Listener(), Listener()
    stop = stream.listen(one)
    stream.listen(two)
    stream.emit(event(1))
    stop()
    stop()
    stream.emit(event(2))
    assert [event(1)] == one.seen
    assert [event(1), event(2)] == two.seen
    assert 1 == len(stream.listeners)


def test_a_listener_that_raises_is_dropped_and_the_others_are_told_after_the_event() -> None:
    stream, before, bad, after = EventStream(), Listener(), Listener((SystemStarted,)), Listener()
    for listener in (before, bad, after):
        stream.listen(listener)
    stream.emit(event(1))
    stream.emit(event(2))
    assert ["SystemStarted"] == bad.kinds()
    for good in (before, after):
        assert ["SystemStarted", "ListenerDropped", "SystemStarted"] == good.kinds()
        dropped = good.seen[1]
        assert isinstance(dropped, ListenerDropped)
        assert isinstance(dropped.error, LookupError)
        assert (1.0, "t") == (dropped.at_s, dropped.path)


def test_listeners_that_fail_on_the_news_of_each_other_are_dropped_once_each() -> None:
    stream, good = EventStream(), Listener()
    bad = [Listener((Event,)), Listener((ListenerDropped,)), Listener((ListenerDropped,))]
    for listener in (*bad, good):
        stream.listen(listener)
    stream.emit(event(1))
    assert [1, 2, 2] == [len(listener.seen) for listener in bad]
    assert ["SystemStarted", *["ListenerDropped"] * 3] == good.kinds()
    assert (good,) == stream.listeners


def test_a_listener_may_interrupt_the_program() -> None:
    def interrupts(_event: Event) -> None:
        raise KeyboardInterrupt

    stream = EventStream()
    stream.listen(interrupts)
    with pytest.raises(KeyboardInterrupt):
        stream.emit(event(1))


def test_nobody_listening_is_visible() -> None:
    assert not EventStream().listeners
