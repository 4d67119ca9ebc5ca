"""The mailbox of an address: lanes, policies, numbers, and what a restart or an end does to it."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from attrs import define, field, frozen

from ringfence.actors import Actor, Ask, MailboxSpec, Name, OnRestart, Overflow, Ref, Urgent
from ringfence.actors.errors import ActorCrashed, ActorDown, MailboxFull, NetworkError
from ringfence.actors.events import DeadLetterWhy
from ringfence.actors.kernel import Kernel
from ringfence.actors.mailbox import Mailbox
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, Intensity, Restart, Start, Supervisor
from ringfence.supervisors.policy import OTP


@frozen
class Quote:
    symbol: str
    price: int


@frozen
class Trade:
    number: int


@frozen
class Cancel(Urgent):
    number: int


@frozen
class Depth(Ask[int]):
    number: int = 0


@frozen
class UrgentDepth(Ask[int], Urgent):
    pass


@frozen
class Boom:
    pass


Message = Quote | Trade | Cancel | Depth | UrgentDepth | Boom | None


@define(eq=False)
class Sink(Actor[Message]):
    """Handles nothing until the gate is open."""

    seen: list[Message]
    gate: trio.Event
    on_message: Callable[["Sink", Message], Awaitable[None]] | None = None

    async def receive(self, message: Message) -> None:
        await self.gate.wait()
        if self.on_message is not None:
            await self.on_message(self, message)
        if isinstance(message, Boom):
            raise NetworkError("boom")
        self.seen.append(message)
        if isinstance(message, Ask):
            message.reply(len(self.seen))


SINK = Name[Message]("t/sink")
STOPPER = Trade(-1)
KEYS = {Overflow.REJECT: None, Overflow.DROP_OLDEST: None, Overflow.CONFLATE: "number"}


@define
class Bench:
    """A sink that is stuck on its first message, `STOPPER`, so that the mailbox can be filled."""

    seen: list[Message] = field(factory=list)
    gate: trio.Event = field(factory=trio.Event)

    def tree(self, spec: MailboxSpec, restart: Restart = Restart.PERMANENT) -> Supervisor:
        sink = Child("sink", Start(Sink, self.seen, self.gate), mailbox=spec, restart=restart)
        other = Child("other", Start(Sink, [], trio.Event()))
        return Supervisor(
            "t",
            children=[sink, other],
            policy=OTP,
            intensity=Intensity(restarts_max=50, period_s=1.0),
        )

    async def stuck(self, system: System) -> Ref[Message]:
        ref = system.ref(SINK)
        ref.tell(STOPPER)
        await settle()
        return ref

    async def finish(self) -> list[Message]:
        self.gate.set()
        await settle()
        return [message for message in self.seen if message != STOPPER]


settle = trio.testing.wait_all_tasks_blocked


def whys(system: System) -> list[tuple[object, DeadLetterWhy]]:
    return [(letter.message, letter.why) for letter in system.kernel.dead_letters]


def trades(*numbers: int) -> list[Message]:
    return [Trade(number) for number in numbers]


# -- lanes -----------------------------------------------------------------------------------------


async def test_urgent_messages_overtake_ordinary_ones_and_keep_their_order() -> None:
    bench = Bench()
    async with open_system(bench.tree(MailboxSpec())) as system:
        ref = await bench.stuck(system)
        for number in range(3):
            ref.tell(Trade(number))
            ref.tell(Cancel(number))
        assert (3, 3) == (ref.statistics().depth, ref.statistics().urgent_depth)
        assert [*map(Cancel, range(3)), *trades(0, 1, 2)] == await bench.finish()


async def test_a_stop_overtakes_urgent_messages() -> None:
    bench = Bench()
    async with open_system(bench.tree(MailboxSpec(), Restart.TEMPORARY)) as system:
        ref = await bench.stuck(system)
        ref.tell(Trade(1))
        ref.tell(Cancel(1))
        system.stop()
        await settle()
        bench.gate.set()
    assert [STOPPER] == bench.seen
    assert {(Cancel(1), DeadLetterWhy.STOPPED), (Trade(1), DeadLetterWhy.STOPPED)} == set(
        whys(system)
    )


async def test_urgent_questions_overtake_too() -> None:
    bench = Bench()
    answers: list[int] = []

    async def ask(ref: Ref[Message]) -> None:
        answers.append(await ref.ask(UrgentDepth(), within_s=60.0))

    async with open_system(bench.tree(MailboxSpec())) as system, trio.open_nursery() as nursery:
        ref = await bench.stuck(system)
        ref.tell(Trade(1))
        nursery.start_soon(ask, ref)
        await settle()
        assert [UrgentDepth(), Trade(1)] == await bench.finish()
    assert [2] == answers


async def test_the_urgent_lane_has_a_bound_of_its_own() -> None:
    bench = Bench()
    async with open_system(bench.tree(MailboxSpec(capacity=2))) as system:
        ref = await bench.stuck(system)
        for number in range(2):
            ref.tell(Trade(number))
            ref.tell(Cancel(number))
        with pytest.raises(MailboxFull) as caught:
            ref.tell(Cancel(99))
        assert (Cancel(99), 2, "t/sink") == (
            caught.value.message,
            caught.value.capacity,
            caught.value.path,
        )
        assert 1 == ref.statistics().rejected
        assert [Cancel(0), Cancel(1), *trades(0, 1)] == await bench.finish()


async def test_urgent_messages_are_seen_between_two_of_a_batch() -> None:
    bench = Bench()

    async def cancels(sink: Sink, message: Message) -> None:
        if message == Trade(10):
            sink.context.ref.tell(Cancel(10))

    spec = bench.tree(MailboxSpec())
    child = Child("sink", Start(Sink, bench.seen, bench.gate, cancels))
    async with open_system(Supervisor("t", children=[child], policy=spec.policy)) as system:
        ref = await bench.stuck(system)
        for number in range(50):
            ref.tell(Trade(number))
        seen = await bench.finish()
    assert 11 == seen.index(Cancel(10))


# -- policies --------------------------------------------------------------------------------------


async def test_reject_raises_and_carries_the_message() -> None:
    bench = Bench()
    async with open_system(bench.tree(MailboxSpec(capacity=2))) as system:
        ref = await bench.stuck(system)
        ref.tell(Trade(0))
        ref.tell(Trade(1))
        with pytest.raises(MailboxFull) as caught:
            ref.tell(Trade(2))
        assert (Trade(2), 2) == (caught.value.message, caught.value.capacity)
        assert (1, 0) == (ref.statistics().rejected, ref.statistics().dead_letters)
        assert trades(0, 1) == await bench.finish()
        ref.tell(Trade(3))  # there is room again


async def test_drop_oldest_keeps_the_newest_and_buries_the_oldest() -> None:
    bench = Bench()
    spec = MailboxSpec(capacity=2, overflow=Overflow.DROP_OLDEST)
    async with open_system(bench.tree(spec)) as system:
        ref = await bench.stuck(system)
        for number in range(5):
            ref.tell(Trade(number))
        numbers = ref.statistics()
        assert (2, 3, 0, 3) == (
            numbers.depth,
            numbers.dropped,
            numbers.rejected,
            numbers.dead_letters,
        )
        assert [(Trade(n), DeadLetterWhy.DROPPED) for n in range(3)] == whys(system)
        assert trades(3, 4) == await bench.finish()


async def test_a_dropped_question_fails_at_once_and_says_why() -> None:
    bench = Bench()
    spec = MailboxSpec(capacity=1, overflow=Overflow.DROP_OLDEST)
    caught: list[ActorDown] = []

    async def ask(ref: Ref[Message]) -> None:
        with pytest.raises(ActorDown) as info:
            await ref.ask(Depth(), within_s=60.0)
        caught.append(info.value)

    async with open_system(bench.tree(spec)) as system, trio.open_nursery() as nursery:
        ref = await bench.stuck(system)
        nursery.start_soon(ask, ref)
        await settle()
        ref.tell(Trade(1))
        await settle()
        assert isinstance(caught[0].__cause__, MailboxFull)
        assert Depth() == caught[0].__cause__.message
        assert (1, 0) == (ref.statistics().dropped, ref.statistics().asks_pending)
        assert [] == whys(system)  # the asker knows: it is nobody's dead letter
        assert [Trade(1)] == await bench.finish()


async def test_a_question_drops_the_oldest_message_too() -> None:
    bench = Bench()
    spec = MailboxSpec(capacity=1, overflow=Overflow.DROP_OLDEST)
    async with open_system(bench.tree(spec)) as system, trio.open_nursery() as nursery:
        ref = await bench.stuck(system)
        ref.tell(Trade(1))

        async def ask() -> None:
            assert 2 == await ref.ask(Depth(), within_s=60.0)

        nursery.start_soon(ask)
        await settle()
        assert [(Trade(1), DeadLetterWhy.DROPPED)] == whys(system)
        assert [Depth()] == await bench.finish()


@pytest.mark.parametrize("key", ["symbol", lambda message: getattr(message, "symbol", None)])
async def test_conflation_keeps_the_newest_of_a_key_at_the_place_of_the_oldest(
    key: str | Callable[[object], object],
) -> None:
    bench = Bench()
    spec = MailboxSpec(capacity=3, overflow=Overflow.CONFLATE, key=key)
    async with open_system(bench.tree(spec)) as system:
        ref = await bench.stuck(system)
        for message in (Quote("A", 1), Quote("B", 1), Trade(1), Quote("A", 2), Trade(2)):
            ref.tell(message)
        ref.tell(Quote("A", 3))
        assert (3, 3) == (ref.statistics().depth, ref.statistics().conflated)
        with pytest.raises(MailboxFull) as caught:
            ref.tell(Quote("C", 1))  # distinct keys fill the mailbox as usual
        assert Quote("C", 1) == caught.value.message
        assert [Quote("A", 3), Quote("B", 1), Trade(2)] == await bench.finish()
        ref.tell(Quote("A", 4))
        await settle()
        assert Quote("A", 4) == bench.seen[-1]
        assert [] == whys(system)


async def test_without_a_key_each_class_conflates_to_one() -> None:
    bench = Bench()
    spec = MailboxSpec(overflow=Overflow.CONFLATE)
    async with open_system(bench.tree(spec)) as system:
        ref = await bench.stuck(system)
        for message in (Quote("A", 1), Trade(1), Quote("B", 2), Trade(2), Cancel(1), Cancel(2)):
            ref.tell(message)
        assert [Cancel(1), Cancel(2), Quote("B", 2), Trade(2)] == await bench.finish()


async def test_a_conflating_mailbox_handles_questions_one_by_one() -> None:
    bench = Bench()
    answers: list[int] = []

    async def ask(ref: Ref[Message]) -> None:
        answers.append(await ref.ask(Depth(), within_s=60.0))

    spec = MailboxSpec(overflow=Overflow.CONFLATE, capacity=3)
    async with open_system(bench.tree(spec)) as system, trio.open_nursery() as nursery:
        ref = await bench.stuck(system)
        for _ in range(3):
            nursery.start_soon(ask, ref)
        await settle()
        with pytest.raises(MailboxFull):
            await ref.ask(Depth(), within_s=1.0)
        bench.gate.set()
    assert [2, 3, 4] == sorted(answers)


async def test_a_sender_into_a_full_conflating_mailbox_waits_only_for_a_new_key() -> None:
    bench = Bench()
    spec = MailboxSpec(capacity=1, overflow=Overflow.CONFLATE, key="symbol")
    async with open_system(bench.tree(spec)) as system, trio.open_nursery() as nursery:
        ref = await bench.stuck(system)
        await ref.send(Quote("A", 1))
        await ref.send(Quote("A", 2))
        nursery.start_soon(ref.send, Quote("B", 1))
        await settle()
        assert 1 == ref.statistics().senders_waiting
        assert [Quote("A", 2), Quote("B", 1)] == await bench.finish()


async def test_the_message_a_handler_works_on_is_not_replaced_by_conflation() -> None:
    bench = Bench()
    spec = MailboxSpec(overflow=Overflow.CONFLATE, key="symbol")
    async with open_system(bench.tree(spec)) as system:
        system.ref(SINK).tell(Quote("A", 1))
        await settle()
        system.ref(SINK).tell(Quote("A", 2))
        assert 0 == system.ref(SINK).statistics().conflated
        assert [Quote("A", 1), Quote("A", 2)] == await bench.finish()


async def test_a_poison_message_of_a_conflating_mailbox_is_buried_as_itself() -> None:
    bench = Bench()
    bench.gate.set()
    async with open_system(bench.tree(MailboxSpec(overflow=Overflow.CONFLATE))) as system:
        system.ref(SINK).tell(Boom())
        await settle()
        assert [(Boom(), DeadLetterWhy.CRASHED_ON)] == whys(system)


# -- numbers ---------------------------------------------------------------------------------------


async def test_statistics_are_exact() -> None:
    bench = Bench()
    async with open_system(bench.tree(MailboxSpec(capacity=7))) as system:
        ref = await bench.stuck(system)
        for number in range(5):
            ref.tell(Trade(number))
        ref.tell(Cancel(1))
        before = ref.statistics()
        assert ("t/sink", 7, 5, 5, 1) == (
            before.path,
            before.capacity,
            before.depth,
            before.depth_max,
            before.urgent_depth,
        )
        await bench.finish()
        ref.tell(Boom())
        await settle()
        ref.tell(Trade(9))
        await settle()
        after = ref.statistics()
        assert (0, 0, 5) == (after.depth, after.urgent_depth, after.depth_max)
        assert 9 == after.handled  # the one that crashed it was handled too, badly
        assert 1 == after.dead_letters == system.kernel.dead_letter_count
        assert (0, 0, 0, 0, 0) == (
            after.dropped,
            after.conflated,
            after.rejected,
            after.asks_pending,
            after.senders_waiting,
        )


# -- before the start, restarts, the end -----------------------------------------------------------


async def test_a_message_told_before_the_start_waits_for_it() -> None:
    seen: list[Message] = []
    gate = trio.Event()
    gate.set()

    @define(eq=False)
    class Early(Actor[int]):
        async def started(self) -> None:
            self.context.ref_of(SINK).tell(Trade(1))

        async def receive(self, message: int) -> None: ...

    children = [Child("early", Start(Early)), Child("sink", Start(Sink, seen, gate))]
    async with open_system(Supervisor("t", children=children)) as system:
        await settle()
        assert 0 == system.kernel.dead_letter_count
    assert trades(1) == seen


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_waiting_messages_survive_a_restart_and_the_poison_is_not_redelivered(
    overflow: Overflow,
) -> None:
    bench = Bench()
    spec = MailboxSpec(overflow=overflow, key=KEYS[overflow])
    async with open_system(bench.tree(spec)) as system:
        ref = await bench.stuck(system)
        for message in (Boom(), Trade(1), Trade(2), Cancel(1)):
            ref.tell(message)
        assert [Cancel(1), *trades(1, 2)] == await bench.finish()
        assert 2 == system.kernel.incarnations["t/sink"]
        (letter,) = system.kernel.dead_letters
        assert (Boom(), DeadLetterWhy.CRASHED_ON) == (letter.message, letter.why)
        assert isinstance(letter.cause, NetworkError)


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_the_policy_drop_empties_the_mailbox_on_restart(overflow: Overflow) -> None:
    bench = Bench()
    spec = MailboxSpec(overflow=overflow, key=KEYS[overflow], on_restart=OnRestart.DROP)
    async with open_system(bench.tree(spec)) as system:
        ref = await bench.stuck(system)
        for message in (Boom(), Trade(1), Cancel(1), Trade(2)):
            ref.tell(message)
        bench.gate.set()
        await settle()
        ref.tell(Trade(2))
        assert [Cancel(1), Trade(2)] == await bench.finish()
        assert [
            (Boom(), DeadLetterWhy.CRASHED_ON),
            (Trade(1), DeadLetterWhy.RESTART),
            (Trade(2), DeadLetterWhy.RESTART),
        ] == whys(system)


async def test_what_waits_at_the_end_becomes_a_dead_letter_with_the_cause() -> None:
    bench = Bench()
    async with open_system(bench.tree(MailboxSpec(), Restart.TEMPORARY)) as system:
        ref = await bench.stuck(system)
        for message in (Boom(), Trade(1), None):
            ref.tell(message)
        bench.gate.set()
        await settle()
        ref.tell(Trade(2))
        letters = list(system.kernel.dead_letters)
        assert [
            (Boom(), DeadLetterWhy.CRASHED_ON),
            (Trade(1), DeadLetterWhy.STOPPED),
            (None, DeadLetterWhy.STOPPED),
            (Trade(2), DeadLetterWhy.STOPPED),
        ] == whys(system)
        assert all(isinstance(letter.cause, NetworkError) for letter in letters)
        assert 4 == ref.statistics().dead_letters


async def test_a_question_that_crashes_its_actor_fails_and_is_buried() -> None:
    bench = Bench()
    bench.gate.set()

    async def raises(_sink: Sink, message: Message) -> None:
        raise NetworkError("boom")

    child = Child("sink", Start(Sink, bench.seen, bench.gate, raises))
    async with open_system(Supervisor("t", children=[child], policy=OTP)) as system:
        with pytest.raises(ActorCrashed):
            await system.ref(SINK).ask(Depth(3), within_s=1.0)
        assert [(Depth(3), DeadLetterWhy.CRASHED_ON)] == whys(system)


# -- below the runtime -----------------------------------------------------------------------------


def made(spec: MailboxSpec) -> Mailbox:
    box = Kernel().box("box", spec)
    box.open(None)
    return box


async def test_a_closed_mailbox_takes_nothing_and_may_be_closed_again() -> None:
    box = made(MailboxSpec())
    cause = NetworkError("first")
    box.close(DeadLetterWhy.STOPPED, cause)
    box.close(DeadLetterWhy.DROPPED, NetworkError("second"))
    box.put(1)
    box.put_system(2)
    assert [(1, DeadLetterWhy.STOPPED, cause), (2, DeadLetterWhy.STOPPED, cause)] == [
        (letter.message, letter.why, letter.cause) for letter in box.kernel.dead_letters
    ]


async def test_a_mailbox_opened_again_follows_its_new_spec_and_forgets_the_old_end() -> None:
    box = made(MailboxSpec(capacity=1, overflow=Overflow.CONFLATE))
    box.close(DeadLetterWhy.STOPPED, NetworkError("gone"))
    box.kernel.box("box", MailboxSpec(capacity=2))
    box.open((int,))
    box.put(1)
    box.put(2)
    with pytest.raises(MailboxFull):
        box.put(3)
    assert [1, 2] == list(box.normal)
    assert None is box.down_because
    assert 0 == box.statistics().conflated


async def test_the_policy_drop_fails_the_questions_that_came_between_two_incarnations() -> None:
    box = made(MailboxSpec())
    outcomes: list[BaseException] = []

    async def ask() -> None:
        try:
            await Ref[Depth](box).ask(Depth(), within_s=60.0)
        except ActorDown as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        box.bury_all(DeadLetterWhy.RESTART, None)
    assert 1 == len(outcomes)
    assert 0 == box.statistics().asks_pending
    assert 0 == box.kernel.dead_letter_count


async def test_room_belongs_to_the_sender_that_waits_not_to_the_one_that_comes() -> None:
    """In the middle of a batch there is room that nobody was let into yet."""
    box = made(MailboxSpec(capacity=1))
    async with trio.open_nursery() as nursery:
        box.put(1)
        nursery.start_soon(Ref[int](box).send, 2)
        await settle()
        taken = [box.normal.popleft()]
        nursery.start_soon(Ref[int](box).send, 3)
        await settle()
        assert 2 == box.statistics().senders_waiting
        for _ in range(2):
            box.let_senders_in()
            taken.append(box.normal.popleft())
    assert [1, 2, 3] == taken
