"""What an actor can do through its context, and that all of it ends with the incarnation."""

import gc
import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from attrs import define, field, frozen

from ringfence.actors import (
    Actor,
    Context,
    Exit,
    Failed,
    MailboxSpec,
    Name,
    Normal,
    Ref,
    Shutdown,
    Terminated,
)
from ringfence.actors.errors import ActorDown, MailboxFull, NetworkError
from ringfence.actors.events import ActorEnded, DeadLetterWhy, Event
from ringfence.actors.kernel import Kernel
from ringfence.actors.timers import Timer
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, Intensity, Restart, Start, Supervisor
from ringfence.supervisors.policy import OTP

Step = Callable[["Puppet"], Awaitable[object]]


@frozen
class Do:
    step: Step = field(eq=False)


@frozen
class Event1:
    number: int = 0


@frozen
class Event2(Event1):
    pass


@frozen
class Tick:
    pass


Message = Do | Event1 | Tick | Terminated


async def nothing(_puppet: "Puppet") -> None:
    """Do nothing."""


@define(eq=False)
class Log:
    """What the puppets saw: (seconds since the start, what)."""

    began_s: float = field(factory=trio.current_time)
    seen: list[tuple[float, object]] = field(factory=list)

    def add(self, what: object) -> None:
        self.seen.append((trio.current_time() - self.began_s, what))

    def times_s(self, what: object) -> list[float]:
        return [at_s for at_s, seen in self.seen if seen == what]

    def whats(self) -> list[object]:
        return [what for _, what in self.seen]

    def terminated(self) -> list[tuple[str, int, type[Exit]]]:
        return [
            (what.path, what.incarnation, type(what.exit))
            for what in self.whats()
            if isinstance(what, Terminated)
        ]


@define(eq=False)
class Puppet(Actor[Message]):
    log: Log
    on_start: Step = nothing
    on_stop: Step = nothing

    async def started(self) -> None:
        await self.on_start(self)

    async def receive(self, message: Message) -> None:
        if isinstance(message, Do):
            await message.step(self)
        else:
            self.log.add(message)

    async def stopping(self, reason: Exit) -> None:
        await self.on_stop(self)


PUPPET, OTHER, THIRD = (Name[Message](f"t/{key}") for key in ("puppet", "other", "third"))


def child(key: str, log: Log, *steps: Step, **fields: object) -> Child:
    return Child(key, Start(Puppet, log, *steps), **fields)  # type: ignore[arg-type]


def tree(*children: Child) -> Supervisor:
    return Supervisor(
        "t",
        children=[*children, Child("keeper", Start(Puppet, Log(0.0)))],
        policy=OTP,
        intensity=Intensity(restarts_max=50, period_s=1.0),
    )


def raising(error: BaseException) -> Step:
    async def step(_puppet: Puppet) -> None:
        raise error

    return step


async def settle() -> None:
    """Let everybody run without letting the virtual clock jump."""
    for _ in range(30):
        await trio.lowlevel.checkpoint()


async def do(system: System, name: Name[Message], step: Step) -> None:
    system.ref(name).tell(Do(step))
    await settle()


async def leave(puppet: Puppet) -> None:
    puppet.context.stop()


crash = raising(NetworkError("crash"))


def failures(system: System) -> list[BaseException]:
    found: list[BaseException] = []

    def keep(event: Event) -> None:
        if isinstance(event, ActorEnded) and isinstance(event.exit, Failed):
            found.append(event.exit.error)

    system.events.listen(keep)
    return found


# -- who am I --------------------------------------------------------------------------------------


async def test_an_actor_knows_its_path_its_number_its_ref_and_its_log() -> None:
    log = Log()

    async def tells_itself(puppet: Puppet) -> None:
        context = puppet.context
        log.add((context.path, context.incarnation))
        context.ref.tell(Tick())
        assert context.log is context.log
        assert context.ref == context.ref_of(PUPPET)

    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, tells_itself)
        await do(system, PUPPET, crash)
        await do(system, PUPPET, tells_itself)
    assert [("t/puppet", 1), Tick(), ("t/puppet", 2), Tick()] == log.whats()


# -- timers ----------------------------------------------------------------------------------------


async def test_after_tells_once_in_time_and_can_be_cancelled() -> None:
    log = Log()

    async def sets(puppet: Puppet) -> None:
        puppet.context.after(2.5, Tick())
        puppet.context.after(3.0, Event1(3)).cancel()
        puppet.context.after(0, Event1(0))

    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, sets)
        await trio.sleep(100)
        assert 0 == system.kernel.timers.pending_count()
    assert [(0.0, Event1(0)), (2.5, Tick())] == log.seen


async def test_every_tells_without_drift_after_one_period_until_cancelled() -> None:
    log = Log()

    async def sets(puppet: Puppet) -> None:
        timer = puppet.context.every(0.1, Tick())

        async def cancels() -> None:
            await trio.sleep(50.05)
            timer.cancel()

        puppet.context.start_soon(cancels)

    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, sets)
        await trio.sleep(1000)
    first_s = log.times_s(Tick())[0]
    assert [first_s + 0.1 * turn for turn in range(500)] == log.times_s(Tick())


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
async def test_a_delay_is_zero_or_more(seconds: float) -> None:
    async def sets(puppet: Puppet) -> None:
        with pytest.raises(ValueError):
            puppet.context.after(seconds, Tick())
        puppet.log.add("refused")

    log = Log()
    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, sets)
    assert ["refused"] == log.whats()


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
async def test_a_period_is_finite_and_above_zero(seconds: float) -> None:
    async def sets(puppet: Puppet) -> None:
        with pytest.raises(ValueError):
            puppet.context.every(seconds, Tick())
        puppet.log.add("refused")

    log = Log()
    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, sets)
    assert ["refused"] == log.whats()


@pytest.mark.parametrize("step", [leave, crash], ids=["normal", "crash"])
async def test_timers_die_with_the_incarnation(step: Step) -> None:
    log = Log()

    async def sets(puppet: Puppet) -> None:
        puppet.context.after(5, Tick())
        puppet.context.every(5, Tick())

    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, sets)
        await do(system, PUPPET, step)
        await trio.sleep(100)
        assert 2 == system.kernel.incarnations["t/puppet"]
    assert [] == log.whats()


async def test_a_timer_that_finds_the_mailbox_full_makes_a_dead_letter() -> None:
    async def is_stuck(puppet: Puppet) -> None:
        puppet.context.every(1, Tick())
        await trio.sleep(3.5)

    log = Log()
    one = child("puppet", log, mailbox=MailboxSpec(capacity=1))
    async with open_system(tree(one)) as system:
        await do(system, PUPPET, is_stuck)
        await trio.sleep(3.75)
        letters = system.kernel.dead_letters
        assert [(Tick(), DeadLetterWhy.FULL)] * 2 == [(one.message, one.why) for one in letters]
        assert isinstance(letters[0].cause, MailboxFull)


async def test_thousands_of_timers_that_fired_or_were_cancelled_are_forgotten() -> None:
    log = Log()

    async def sets_many(puppet: Puppet) -> None:
        for number in range(1000):
            puppet.context.after(number / 1000, Event1(number))
        for _ in range(10_000):
            puppet.context.every(1.0, Tick()).cancel()

    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, sets_many)
        gc.collect()
        assert 5000 > sum(isinstance(thing, Timer) for thing in gc.get_objects())
        await trio.sleep(2)
        assert 0 == system.kernel.timers.pending_count()
    assert 1000 == len(log.seen)


# -- watching --------------------------------------------------------------------------------------


async def watches_other(puppet: Puppet) -> None:
    puppet.context.watch(puppet.context.ref_of(OTHER))


async def unwatches_other(puppet: Puppet) -> None:
    puppet.context.unwatch(puppet.context.ref_of(OTHER))


async def test_a_watcher_is_told_of_each_end_until_it_unwatches() -> None:
    log = Log()
    async with open_system(tree(child("puppet", log), child("other", log))) as system:
        await do(system, PUPPET, watches_other)
        await do(system, PUPPET, watches_other)  # twice is once
        await do(system, OTHER, crash)
        await do(system, OTHER, leave)
        await do(system, PUPPET, unwatches_other)
        await do(system, OTHER, crash)
        assert 4 == system.kernel.incarnations["t/other"]
    assert [("t/other", 1, Failed), ("t/other", 2, Normal)] == log.terminated()
    (first, _) = (what for what in log.whats() if isinstance(what, Terminated))
    assert isinstance(first.exit, Failed)
    assert isinstance(first.exit.error, NetworkError)


async def test_watching_an_actor_that_is_gone_tells_at_once() -> None:
    log = Log()
    other = child("other", log, restart=Restart.TEMPORARY)
    async with open_system(tree(child("puppet", log), other)) as system:
        await do(system, OTHER, leave)
        await do(system, PUPPET, watches_other)
    assert [("t/other", 0, Failed)] == log.terminated()


async def test_watching_a_name_that_nobody_has_tells_at_once() -> None:
    log = Log()
    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, watches_other)
        await do(system, PUPPET, unwatches_other)
    (what,) = log.whats()
    assert isinstance(what, Terminated)
    assert isinstance(what.exit, Failed)
    assert isinstance(what.exit.error, ActorDown)


async def test_the_news_of_an_end_overtakes_ordinary_messages() -> None:
    log = Log()

    async def waits(_puppet: Puppet) -> None:
        await trio.sleep(1)

    async with open_system(tree(child("puppet", log), child("other", log))) as system:
        await do(system, PUPPET, watches_other)
        await do(system, PUPPET, waits)
        system.ref(PUPPET).tell(Tick())
        await do(system, OTHER, crash)
        await trio.sleep(2)
    assert [Terminated, Tick] == [type(what) for what in log.whats()[:2]]


async def test_watches_die_with_the_watcher_even_those_already_on_their_way() -> None:
    log = Log()

    async def crashes_later(_puppet: Puppet) -> None:
        await trio.sleep(1)
        msg = "crash with news waiting"
        raise NetworkError(msg)

    async with open_system(tree(child("puppet", log), child("other", log))) as system:
        await do(system, PUPPET, watches_other)
        await do(system, PUPPET, crashes_later)
        await do(system, OTHER, crash)  # this news waits behind the handler that will fail
        await trio.sleep(2)
        await do(system, OTHER, crash)
        assert 2 == system.kernel.incarnations["t/puppet"]
        assert 0 == len(system.kernel.boxes["t/other"].watchers or ())
    assert [] == log.terminated()


async def test_watching_needs_terminated_in_the_union() -> None:
    refused: list[str] = []

    class Blind(Actor[int]):
        async def receive(self, message: int) -> None:
            for begin in (self.context.watch, self.subscribes):
                with pytest.raises(TypeError) as caught:
                    begin(self.context.ref)
                refused.append(str(caught.value))

        def subscribes(self, _ref: Ref[int]) -> None:
            self.context.subscribe(str)  # type: ignore[arg-type]

    async with open_system(tree(Child("blind", Start(Blind)))) as system:
        system.ref(Name[int]("t/blind")).tell(1)
        await settle()
    assert ["Terminated" in refused[0], "str" in refused[1]] == [True, True]
    assert all("int" in text for text in refused)


async def test_an_actor_that_takes_anything_may_watch() -> None:
    seen: list[object] = []

    class Anything(Actor[object]):
        async def receive(self, message: object) -> None:
            if message == "watch":
                self.context.watch(self.context.ref_of(OTHER))
            seen.append(message)

    async with open_system(tree(Child("any", Start(Anything)), child("other", Log()))) as system:
        system.ref(Name[object]("t/any")).tell("watch")
        await settle()
        await do(system, OTHER, crash)
    assert ["watch", Terminated] == [seen[0], type(seen[1])]


async def test_unwatching_what_was_never_watched_does_nothing() -> None:
    log = Log()
    async with open_system(tree(child("puppet", log), child("other", log))) as system:
        await do(system, PUPPET, unwatches_other)
        await do(system, PUPPET, watches_other)
        await do(system, PUPPET, unwatches_other)
        await do(system, OTHER, crash)
        assert 2 == system.kernel.incarnations["t/other"]
    assert [] == log.terminated()


# -- topics ----------------------------------------------------------------------------------------


def subscribing(*topics: type[Event1]) -> Step:
    async def step(puppet: Puppet) -> None:
        for topic in topics:
            puppet.context.subscribe(topic)

    return step


def publishing(message: object) -> Step:
    async def step(puppet: Puppet) -> None:
        puppet.context.publish(message)

    return step


async def test_subscribers_get_what_is_published_of_the_class_or_below_once_each() -> None:
    logs = [Log() for _ in range(3)]
    children = [
        child("puppet", logs[0], subscribing(Event1, Event2)),
        child("other", logs[1], subscribing(Event2)),
        child("third", logs[2]),
    ]
    async with open_system(tree(*children)) as system:
        await do(system, THIRD, publishing(Event1(1)))
        await do(system, THIRD, publishing(Event2(2)))
        await do(system, THIRD, publishing("of no interest to anybody"))
    assert [[Event1(1), Event2(2)], [Event2(2)], []] == [log.whats() for log in logs]


async def test_unsubscribed_means_no_more() -> None:
    log = Log()

    async def unsubscribes(puppet: Puppet) -> None:
        puppet.context.unsubscribe(Event1)
        puppet.context.unsubscribe(Event2)  # never subscribed to: nothing happens

    async with open_system(tree(child("puppet", log, subscribing(Event1)))) as system:
        await do(system, PUPPET, publishing(Event1(1)))
        await do(system, PUPPET, unsubscribes)
        await do(system, PUPPET, publishing(Event1(2)))
    assert [Event1(1)] == log.whats()


async def test_subscriptions_die_with_the_incarnation() -> None:
    log = Log()
    async with open_system(tree(child("puppet", log), child("other", Log()))) as system:
        await do(system, PUPPET, subscribing(Event1))
        await do(system, PUPPET, crash)
        await do(system, OTHER, publishing(Event1(1)))
        assert 1 == system.kernel.dead_letter_count  # only the one it crashed on
    assert [] == log.whats()


async def test_a_full_subscriber_harms_neither_the_publisher_nor_the_others() -> None:
    logs = [Log(), Log()]

    async def waits(_puppet: Puppet) -> None:
        await trio.sleep(10)

    spec = MailboxSpec(capacity=1)
    children = [
        child("puppet", logs[0], subscribing(Event1), mailbox=spec),
        child("other", logs[1], subscribing(Event1)),
    ]
    async with open_system(tree(*children)) as system:
        await do(system, PUPPET, waits)
        for number in range(3):
            system.kernel.publish(Event1(number))
        letters = system.kernel.dead_letters
        assert [(Event1(1), DeadLetterWhy.FULL), (Event1(2), DeadLetterWhy.FULL)] == [
            (letter.message, letter.why) for letter in letters
        ]
        await trio.sleep(11)
    assert [[Event1(0)], [Event1(0), Event1(1), Event1(2)]] == [log.whats() for log in logs]


async def test_subscribers_are_told_in_the_order_they_subscribed_to_whatever_class() -> None:
    kernel = Kernel()
    keys = ["base", "derived", "again", "late"]
    boxes = {key: kernel.box(key) for key in keys}
    kernel.subscribe(boxes["base"], Event1)
    kernel.subscribe(boxes["derived"], Event2)
    kernel.subscribe(boxes["again"], Event1)
    kernel.subscribe(boxes["late"], Event2)
    kernel.subscribe(boxes["base"], Event2)
    kernel.subscribe(boxes["base"], Event1)
    kernel.publish(Event2(1))
    assert keys == [letter.path for letter in kernel.dead_letters]
    kernel.publish(Event1(1))
    assert ["base", "again"] == [letter.path for letter in kernel.dead_letters][4:]


# -- background tasks ------------------------------------------------------------------------------


def starting(*fns: Callable[[], Awaitable[object]]) -> Step:
    async def step(puppet: Puppet) -> None:
        for fn in fns:
            puppet.context.start_soon(fn)

    return step


def failing_after(delay_s: float, error: BaseException) -> Callable[[], Awaitable[None]]:
    async def fails() -> None:
        await trio.sleep(delay_s)
        raise error

    return fails


async def test_background_tasks_run_beside_the_handlers_and_get_their_arguments() -> None:
    log = Log()

    async def counts(label: str, turns: int) -> None:
        for turn in range(turns):
            log.add(f"{label} {turn}")
            await trio.sleep(1)

    async def starts(puppet: Puppet) -> None:
        puppet.context.start_soon(counts, "a", 3)

    async with open_system(tree(child("puppet", log, starts))) as system:
        await trio.sleep(0.5)
        system.ref(PUPPET).tell(Tick())
        await trio.sleep(5)
        assert 1 == system.kernel.incarnations["t/puppet"]  # a task that ends is no failure
    assert ["a 0", Tick(), "a 1", "a 2"] == log.whats()


async def test_the_failure_of_a_background_task_is_the_actors_failure() -> None:
    log = Log()
    error = NetworkError("background")
    one = child("puppet", log, starting(failing_after(1, error)), restart=Restart.TEMPORARY)
    async with open_system(tree(one)) as system:
        found = failures(system)
        await trio.sleep(2)
        assert [error] == found


async def test_a_background_failure_ends_the_actor_now_not_when_the_other_tasks_are_done() -> None:
    log = Log()

    async def cleans_up_slowly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(50)
            log.add("cleaned up")

    async def notes_end(puppet: Puppet) -> None:
        puppet.log.add("stopping")

    one = Child(
        "puppet",
        Start(
            Puppet, log, starting(failing_after(1, NetworkError("x")), cleans_up_slowly), notes_end
        ),
        restart=Restart.TEMPORARY,
    )
    async with open_system(tree(one)) as system:
        found = failures(system)
        await trio.sleep(2)
        system.ref(PUPPET).tell(Tick())
        await trio.sleep(100)
        assert [NetworkError] == [type(error) for error in found]
    assert [(1.0, "stopping"), (51.0, "cleaned up")] == log.seen


async def test_tasks_and_a_handler_that_fail_together_are_one_group() -> None:
    errors = [NetworkError("a"), LookupError("b"), ValueError("c")]
    together = trio.Event()

    async def fails(error: Exception) -> None:
        await together.wait()
        raise error

    async def fails_in_one_pass(puppet: Puppet) -> None:
        for error in errors[:2]:
            puppet.context.start_soon(fails, error)
        await fails(errors[2])

    log = Log()
    async with open_system(tree(child("puppet", log, restart=Restart.TEMPORARY))) as system:
        found = failures(system)
        await do(system, PUPPET, fails_in_one_pass)
        together.set()
        await settle()
        (error,) = found
    assert isinstance(error, ExceptionGroup)
    assert set(errors) == set(error.exceptions)


async def test_a_task_that_fails_while_it_is_cancelled_for_another_is_not_lost() -> None:
    async def fails_in_clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("in clean-up")

    steps = starting(failing_after(1, NetworkError("first")), fails_in_clean_up)
    one = child("puppet", Log(), steps, restart=Restart.TEMPORARY)
    async with open_system(tree(one)) as system:
        found = failures(system)
        await trio.sleep(2)
        (error,) = found
    assert isinstance(error, ExceptionGroup)
    assert [NetworkError, LookupError] == [type(part) for part in error.exceptions]


async def test_a_task_started_inside_open_scopes_of_a_handler_outlives_them() -> None:
    log = Log()

    async def later() -> None:
        await trio.sleep(5)
        log.add("later")

    async def starts_inside(puppet: Puppet) -> None:
        with trio.move_on_after(1):
            async with trio.open_nursery():
                puppet.context.start_soon(later)
                await trio.sleep(100)

    async with open_system(tree(child("puppet", log))) as system:
        await do(system, PUPPET, starts_inside)
        await trio.sleep(10)
    assert [(5.0, "later")] == log.seen


async def test_background_tasks_run_during_stopping_and_are_cancelled_after_it() -> None:
    log = Log()

    async def ticks() -> None:
        try:
            while True:
                await trio.sleep(1)
                log.add("tick")
        finally:
            log.add("cancelled")

    async def stops_slowly(puppet: Puppet) -> None:
        await trio.sleep(2.5)
        puppet.log.add("stopped")

    async with open_system(
        tree(Child("puppet", Start(Puppet, log, starting(ticks), stops_slowly)))
    ):
        await trio.sleep(0.25)
    assert ["tick", "tick", "stopped", "cancelled"] == log.whats()


async def test_a_task_may_be_started_in_stopping_and_in_an_actor_that_ends_at_once() -> None:
    log = Log()

    async def notes() -> None:
        log.add("ran")
        await trio.sleep_forever()

    async def starts_and_waits(puppet: Puppet) -> None:
        puppet.context.start_soon(notes)
        await trio.sleep(1)

    async def starts_and_leaves(puppet: Puppet) -> None:
        puppet.context.start_soon(notes)
        puppet.context.stop()

    for steps in ((nothing, starts_and_waits), (starts_and_leaves, nothing)):
        one = Child("puppet", Start(Puppet, log, *steps), restart=Restart.TEMPORARY)
        async with open_system(tree(one)):
            await trio.sleep(1)
    assert ["ran"] * len(log.seen) == log.whats()
    assert log.seen


async def test_a_task_that_fails_during_stopping_is_reported() -> None:
    async def waits(_puppet: Puppet) -> None:
        await trio.sleep(3)

    error = NetworkError("late")
    one = Child("puppet", Start(Puppet, Log(), starting(failing_after(2, error)), waits))
    async with open_system(tree(one)) as system:
        found = failures(system)
        await trio.sleep(1)
    assert [error] == found


async def test_cancelling_the_whole_tree_ends_background_tasks_too() -> None:
    log = Log()

    async def notes_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.add("cancelled")

    async with open_system(tree(child("puppet", log, starting(notes_end)))) as system:
        await settle()
        system.cancel()
        await settle()
    assert ["cancelled"] == log.whats()


# -- stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [Normal(), Shutdown("flat")])
async def test_stop_ends_with_the_reason_that_was_given(reason: Exit) -> None:
    async def stops(puppet: Puppet) -> None:
        puppet.context.stop(reason)

    log = Log()
    other = child("other", log, restart=Restart.TEMPORARY)
    async with open_system(tree(child("puppet", log), other)) as system:
        await do(system, PUPPET, watches_other)
        await do(system, OTHER, stops)
    (what,) = log.whats()
    assert Terminated("t/other", 1, reason) == what


def test_a_context_belongs_to_an_actor() -> None:
    assert not hasattr(Actor[int](), "context")
    assert Context.__slots__
