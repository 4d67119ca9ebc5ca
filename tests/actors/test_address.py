"""tell, send and ask: what the sender sees, for every state of the target."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from attrs import define, field, frozen

from ringfence.actors import Actor, Ask, MailboxSpec, Name, OnRestart, Overflow, Ref, Urgent
from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    AskTimeout,
    MailboxFull,
    MessageRefused,
    NetworkError,
    Severity,
    UnknownName,
)
from ringfence.actors.events import DeadLetter, DeadLetterWhy, Event
from ringfence.actors.kernel import Kernel
from ringfence.actors.message import PortState, port_of
from ringfence.actors.pace import Pace
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, Intensity, Restart, Start, Supervisor
from ringfence.supervisors.policy import DEFAULT, OTP, Policy


@frozen
class Work:
    number: int


@frozen
class Boom:
    pass


@frozen
class Halt(Urgent):
    number: int = 0


@frozen
class Total(Ask[int]):
    pass


Message = Work | Boom | Halt | Total
Handler = Callable[["Worker", Message], Awaitable[None]]


async def collects(worker: "Worker", message: Message) -> None:
    match message:
        case Boom():
            raise NetworkError("boom", severity=Severity.MEDIUM)
        case Total():
            message.reply(len(worker.seen))
        case _:
            worker.seen.append(message)


@define(eq=False)
class Worker(Actor[Message]):
    seen: list[Message]
    handler: Handler = collects

    async def receive(self, message: Message) -> None:
        await self.handler(self, message)


@define
class Gate:
    """A handler that is stuck on each message until the gate is opened."""

    event: trio.Event = field(factory=trio.Event)

    async def __call__(self, worker: Worker, message: Message) -> None:
        await self.event.wait()
        await collects(worker, message)


WORKER = Name[Message]("t/worker")
DELAY_S = 1.0


def tree(
    seen: list[Message],
    handler: Handler = collects,
    *,
    policy: Policy = OTP,
    restart: Restart = Restart.PERMANENT,
    capacity: int = 1000,
    overflow: Overflow = Overflow.REJECT,
) -> Supervisor:
    child = Child(
        "worker",
        Start(Worker, seen, handler),
        restart=restart,
        mailbox=MailboxSpec(capacity=capacity, overflow=overflow),
    )
    keeper = Child("keeper", Start(Worker, []))  # keeps the tree alive when the worker is gone
    return Supervisor(
        "t",
        children=[child, keeper],
        policy=policy,
        intensity=Intensity(restarts_max=50, period_s=1.0),
    )


def letters(system: System) -> list[DeadLetter]:
    found: list[DeadLetter] = []

    def keep(event: Event) -> None:
        if isinstance(event, DeadLetter):
            found.append(event)

    system.events.listen(keep)
    return found


settle = trio.testing.wait_all_tasks_blocked


# -- tell ------------------------------------------------------------------------------------------


async def test_messages_of_one_sender_arrive_in_the_order_they_were_told() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen)) as system:
        for number in range(500):
            system.ref(WORKER).tell(Work(number))
        await settle()
    assert [Work(number) for number in range(500)] == seen


async def test_tell_to_a_stopped_actor_makes_a_dead_letter_and_never_raises() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen, restart=Restart.TEMPORARY)) as system:
        found = letters(system)
        ref = system.ref(WORKER)
        ref.tell(Boom())
        await settle()
        for number in range(3):
            ref.tell(Work(number))
        ref.tell("not even its type")  # type: ignore[arg-type]
        assert [DeadLetterWhy.CRASHED_ON] + [DeadLetterWhy.STOPPED] * 4 == [
            letter.why for letter in found
        ]
        assert Work(2) is not found[3].message
        assert Work(2) == found[3].message
        assert isinstance(found[1].cause, NetworkError)
        assert 5 == ref.statistics().dead_letters == system.kernel.dead_letter_count
    assert [] == seen


async def test_tell_to_an_unknown_name_makes_a_dead_letter_that_names_the_nearest() -> None:
    async with open_system(tree([])) as system:
        found = letters(system)
        system.ref(Name[Message]("t/wroker")).tell(Work(1))
        system.ref(Name[Message]("zzz")).tell(Work(2))
    assert [("t/worker", DeadLetterWhy.UNKNOWN_NAME), (None, DeadLetterWhy.UNKNOWN_NAME)] == [
        (letter.hint, letter.why) for letter in found
    ]


async def test_a_message_of_a_foreign_type_is_refused_at_the_sender() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen)) as system:
        ref = system.ref(WORKER)
        with pytest.raises(MessageRefused) as told:
            ref.tell("text")  # type: ignore[arg-type]
        with pytest.raises(MessageRefused):
            await ref.send("text")  # type: ignore[arg-type]
        with pytest.raises(MessageRefused):
            await ref.ask(OtherAsk(), within_s=1.0)  # type: ignore[arg-type]
        await settle()
        assert {Work, Boom, Halt, Total} == set(told.value.accepted)
        assert "text" == told.value.message
        assert 0 == system.kernel.dead_letter_count
        assert 0 == ref.statistics().asks_pending
    assert [] == seen


@frozen
class OtherAsk(Ask[int]):
    pass


@frozen
class MoreWork(Work):
    pass


async def test_a_subclass_of_a_declared_message_is_taken() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen)) as system:
        for _ in range(2):  # the second one takes the fast lane
            system.ref(WORKER).tell(MoreWork(1))
        await settle()
    assert [MoreWork(1), MoreWork(1)] == seen


async def test_a_bound_tell_stays_valid_over_restarts() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen)) as system:
        tell = system.ref(WORKER).tell
        for number in range(5):
            tell(Work(number))
            tell(Boom())
            await settle()
        assert 6 == system.kernel.incarnations["t/worker"]
    assert [Work(number) for number in range(5)] == seen


async def test_messages_told_during_a_backoff_wait_for_the_next_incarnation() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen, policy=DEFAULT)) as system:
        system.ref(WORKER).tell(Boom())
        await settle_now()
        system.ref(WORKER).tell(Work(1))
        assert 1 == system.ref(WORKER).statistics().depth
        await trio.sleep(10)
    assert [Work(1)] == seen


async def settle_now() -> None:
    """Let everybody run without letting the virtual clock jump."""
    for _ in range(20):
        await trio.lowlevel.checkpoint()


# -- Ref -------------------------------------------------------------------------------------------


async def test_refs_are_equal_if_their_addresses_are() -> None:
    async with open_system(tree([])) as system:
        one, same, other = (
            system.ref(WORKER),
            system.ref(WORKER),
            system.ref(Name[Message]("t/keeper")),
        )
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert one != "t/worker"
        assert 2 == len({one, same, other})
        assert "Ref('t/worker')" == repr(one)
        assert "t/worker" == one.path == WORKER.path


# -- send ------------------------------------------------------------------------------------------


async def send_and_note(ref: Ref[Message], message: Message, sent: list[Message]) -> None:
    await ref.send(message)
    sent.append(message)


async def send_in_order(nursery: trio.Nursery, ref: Ref[Message], numbers: range) -> list[Message]:
    sent: list[Message] = []
    for number in numbers:
        nursery.start_soon(send_and_note, ref, Work(number), sent)
        await settle()  # so that they wait in this order
    return sent


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_waiting_senders_get_room_in_the_order_they_came(capacity: int) -> None:
    for _ in range(10):  # the scheduler shuffles: once is not enough
        seen: list[Message] = []
        gate = Gate()
        async with open_system(tree(seen, gate, capacity=capacity)) as system:
            async with trio.open_nursery() as nursery:
                sent = await send_in_order(nursery, system.ref(WORKER), range(20))
                assert capacity + 1 == len(sent)  # one is being handled
                assert 19 - capacity == system.ref(WORKER).statistics().senders_waiting
                gate.event.set()
            await settle()
        assert [Work(number) for number in range(20)] == seen
        assert 20 == len(sent)


async def test_send_behind_a_tell_that_took_the_room_loses_nothing() -> None:
    seen: list[Message] = []
    gate = Gate()
    async with open_system(tree(seen, gate, capacity=1)) as system:
        ref = system.ref(WORKER)
        async with trio.open_nursery() as nursery:
            await send_in_order(nursery, ref, range(4))
            with pytest.raises(MailboxFull):
                ref.tell(Work(99))
            gate.event.set()
        await settle()
    assert [Work(number) for number in range(4)] == seen


async def test_a_sender_cancelled_while_it_waits_has_not_sent() -> None:
    seen: list[Message] = []
    gate = Gate()
    async with open_system(tree(seen, gate, capacity=1)) as system:
        ref = system.ref(WORKER)
        async with trio.open_nursery() as nursery:
            await send_in_order(nursery, ref, range(2))
            with trio.move_on_after(1) as scope:
                await ref.send(Work(77))
            assert scope.cancelled_caught
            assert 0 == ref.statistics().senders_waiting
            await send_in_order(nursery, ref, range(2, 4))
            gate.event.set()
        await settle()
    assert [Work(number) for number in range(4)] == seen


async def test_a_target_that_ends_while_a_sender_waits_makes_a_dead_letter() -> None:
    seen: list[Message] = []

    async def dies(worker: Worker, message: Message) -> None:
        await trio.sleep(1)
        raise NetworkError("gone")

    spec = tree(seen, dies, capacity=1, restart=Restart.TEMPORARY)
    async with open_system(spec) as system:
        found = letters(system)
        async with trio.open_nursery() as nursery:
            sent: list[Message] = []
            for number in range(4):
                nursery.start_soon(send_and_note, system.ref(WORKER), Work(number), sent)
                await settle_now()
        assert 4 == len(sent)
        assert [
            (Work(0), DeadLetterWhy.CRASHED_ON),
            (Work(1), DeadLetterWhy.STOPPED),
            (Work(2), DeadLetterWhy.STOPPED),
            (Work(3), DeadLetterWhy.STOPPED),
        ] == [(letter.message, letter.why) for letter in found]


async def test_senders_wait_through_a_restart() -> None:
    seen: list[Message] = []

    async def dies_on_zero(worker: Worker, message: Message) -> None:
        await trio.sleep(1)
        if message == Work(0):
            raise NetworkError("gone")
        worker.seen.append(message)

    async with open_system(tree(seen, dies_on_zero, capacity=1)) as system:
        async with trio.open_nursery() as nursery:
            sent: list[Message] = []
            for number in range(4):
                nursery.start_soon(send_and_note, system.ref(WORKER), Work(number), sent)
                await settle_now()
        await trio.sleep(10)
    assert [Work(1), Work(2), Work(3)] == seen


async def test_senders_get_the_room_that_a_restart_made() -> None:
    seen: list[Message] = []

    async def dies_on_zero(worker: Worker, message: Message) -> None:
        await trio.sleep(1)
        if message == Work(0):
            raise NetworkError("gone")
        worker.seen.append(message)

    child = Child(
        "worker",
        Start(Worker, seen, dies_on_zero),
        mailbox=MailboxSpec(capacity=1, on_restart=OnRestart.DROP),
    )
    async with open_system(Supervisor("t", children=[child], policy=OTP)) as system:
        async with trio.open_nursery() as nursery:
            sent: list[Message] = []
            for number in range(4):
                nursery.start_soon(send_and_note, system.ref(WORKER), Work(number), sent)
                await settle_now()
        await trio.sleep(10)
        assert [(Work(0), DeadLetterWhy.CRASHED_ON), (Work(1), DeadLetterWhy.RESTART)] == [
            (letter.message, letter.why) for letter in system.kernel.dead_letters
        ]
    assert [Work(2), Work(3)] == seen


async def test_a_foreign_message_is_refused_even_if_the_mailbox_is_full() -> None:
    gate = Gate()
    async with open_system(tree([], gate, capacity=1)) as system:
        ref = system.ref(WORKER)
        ref.tell(Work(0))
        await settle()
        ref.tell(Work(1))
        with pytest.raises(MessageRefused):
            await ref.send("text")  # type: ignore[arg-type]
        gate.event.set()


async def test_urgent_sends_do_not_wait_behind_ordinary_ones() -> None:
    seen: list[Message] = []
    gate = Gate()
    async with open_system(tree(seen, gate, capacity=1)) as system:
        async with trio.open_nursery() as nursery:
            await send_in_order(nursery, system.ref(WORKER), range(3))
            await system.ref(WORKER).send(Halt())
            gate.event.set()
        await settle()
    assert [Work(0), Halt(), Work(1), Work(2)] == seen


async def test_send_into_a_mailbox_that_drops_never_waits() -> None:
    gate = Gate()
    async with open_system(tree([], gate, capacity=1, overflow=Overflow.DROP_OLDEST)) as system:
        for number in range(10):
            await system.ref(WORKER).send(Work(number))
        assert 8 == system.ref(WORKER).statistics().dropped
        gate.event.set()


# -- ask -------------------------------------------------------------------------------------------


async def test_an_ask_is_answered() -> None:
    async with open_system(tree([])) as system:
        system.ref(WORKER).tell(Work(1))
        assert 1 == await system.ref(WORKER).ask(Total(), within_s=1.0)
        assert 0 == system.ref(WORKER).statistics().asks_pending
        assert 0 == system.kernel.timers.pending_count()


@pytest.mark.parametrize("within_s", [0.001, 1.0, 12.5])
async def test_an_ask_times_out_exactly_at_its_deadline(within_s: float) -> None:
    async with open_system(tree([], Gate())) as system:
        began_s = trio.current_time()
        with pytest.raises(AskTimeout) as caught:
            await system.ref(WORKER).ask(Total(), within_s=within_s)
        assert began_s + within_s == trio.current_time()
        assert (within_s, "t/worker") == (caught.value.limit, caught.value.scope)
        system.cancel()


@pytest.mark.parametrize("within_s", [0, -1.0, math.nan])
async def test_an_ask_needs_a_deadline_above_zero(within_s: float) -> None:
    async with open_system(tree([])) as system:
        with pytest.raises(ValueError):
            await system.ref(WORKER).ask(Total(), within_s=within_s)


async def test_an_expired_question_is_not_worked_on() -> None:
    asked: list[Message] = []

    async def slow(worker: Worker, message: Message) -> None:
        asked.append(message)
        if isinstance(message, Work):
            await trio.sleep(10)

    async with open_system(tree([], slow)) as system:
        system.ref(WORKER).tell(Work(1))
        with pytest.raises(AskTimeout):
            await system.ref(WORKER).ask(Total(), within_s=5.0)
        await trio.sleep(10)
        assert 0 == system.ref(WORKER).statistics().depth
    assert [Work(1)] == asked


async def test_a_question_whose_deadline_is_this_instant_is_not_worked_on() -> None:
    asked: list[Message] = []

    async def slow(worker: Worker, message: Message) -> None:
        asked.append(message)
        if isinstance(message, Work):
            await trio.sleep(5)

    for _ in range(10):  # whoever the scheduler lets run first
        asked.clear()
        async with open_system(tree([], slow)) as system:
            system.ref(WORKER).tell(Work(1))
            await settle_now()
            with pytest.raises(AskTimeout):
                await system.ref(WORKER).ask(Total(), within_s=5.0)
            await trio.sleep(1)
        assert [Work(1)] == asked


async def test_a_question_is_not_worked_on_if_the_loop_was_too_late_for_its_timer(
    mock_clock: trio.testing.MockClock,
) -> None:
    asked: list[Message] = []

    async def takes_long(worker: Worker, message: Message) -> None:
        asked.append(message)
        if isinstance(message, Work):
            mock_clock.jump(10.0)  # without a checkpoint: no timer can fire

    never_used_up = Pace(clock=lambda: -1.0)
    system = System(tree([], takes_long), Kernel(never_used_up))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await system.wait_started()
        system.ref(WORKER).tell(Work(1))
        with pytest.raises(AskTimeout):
            await system.ref(WORKER).ask(Total(), within_s=5.0)
        system.stop()
    assert [Work(1)] == asked


async def test_a_crash_fails_the_question_at_once_with_its_cause() -> None:
    async def crashes(worker: Worker, message: Message) -> None:
        await trio.sleep(1)
        raise NetworkError("no venue")

    async with open_system(tree([], crashes)) as system:
        began_s = trio.current_time()
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(WORKER).ask(Total(), within_s=60.0)
        assert began_s + 1 == trio.current_time()
        assert isinstance(caught.value.__cause__, NetworkError)


async def test_a_crash_fails_the_questions_that_wait_too_each_with_its_own_error() -> None:
    async def crashes(worker: Worker, message: Message) -> None:
        await trio.sleep(1)
        raise NetworkError("no venue")

    errors: list[ActorCrashed] = []

    async def ask(ref: Ref[Message]) -> None:
        try:
            await ref.ask(Total(), within_s=60.0)
        except ActorCrashed as error:
            errors.append(error)

    async with open_system(tree([], crashes)) as system:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, system.ref(WORKER))
        await trio.sleep(5)
        assert 2 == system.kernel.incarnations["t/worker"]  # the others were not worked on
    assert 4 == len({id(error) for error in errors})


async def test_an_ask_of_an_actor_that_ended_fails_at_once_with_why() -> None:
    async with open_system(tree([], restart=Restart.TEMPORARY)) as system:
        system.ref(WORKER).tell(Boom())
        await settle()
        with pytest.raises(ActorDown) as caught:
            await system.ref(WORKER).ask(Total(), within_s=60.0)
        assert isinstance(caught.value.__cause__, NetworkError)


async def test_an_ask_of_an_actor_in_backoff_fails_at_once_with_why() -> None:
    async with open_system(tree([], policy=DEFAULT)) as system:
        system.ref(WORKER).tell(Boom())
        await settle_now()
        began_s = trio.current_time()
        with pytest.raises(ActorDown) as caught:
            await system.ref(WORKER).ask(Total(), within_s=60.0)
        assert began_s == trio.current_time()
        assert isinstance(caught.value.__cause__, NetworkError)
        await trio.sleep(10)
        assert 0 == await system.ref(WORKER).ask(Total(), within_s=60.0)


async def test_an_ask_of_an_unknown_name_fails_at_once_and_names_the_nearest() -> None:
    async with open_system(tree([])) as system:
        with pytest.raises(ActorDown) as caught:
            await system.ref(Name[Message]("t/wroker")).ask(Total(), within_s=60.0)
        assert isinstance(caught.value.__cause__, UnknownName)
        assert ("t/worker",) == caught.value.__cause__.nearest
        with pytest.raises(ActorDown) as strange:
            await system.ref(Name[Message]("zzz")).ask(Total(), within_s=60.0)
        assert isinstance(strange.value.__cause__, UnknownName)
        assert () == strange.value.__cause__.nearest


async def test_an_orderly_stop_fails_the_questions_that_wait() -> None:
    async def stops(worker: Worker, message: Message) -> None:
        await trio.sleep(1)
        worker.context.stop()

    async with open_system(tree([], stops, restart=Restart.TEMPORARY)) as system:
        system.ref(WORKER).tell(Work(1))
        with pytest.raises(ActorDown):
            await system.ref(WORKER).ask(Total(), within_s=60.0)


async def test_an_asker_cancelled_before_it_asks_has_not_asked() -> None:
    seen: list[Message] = []
    async with open_system(tree(seen)) as system:
        with trio.CancelScope() as scope:
            scope.cancel()
            await system.ref(WORKER).ask(Total(), within_s=1.0)
        assert scope.cancelled_caught
        await settle()
        assert 0 == system.ref(WORKER).statistics().handled


async def test_the_question_of_an_asker_cancelled_while_it_waits_is_not_worked_on() -> None:
    gate = Gate()
    asked: list[Message] = []

    async def notes(worker: Worker, message: Message) -> None:
        asked.append(message)
        await gate(worker, message)

    async with open_system(tree([], notes)) as system:
        system.ref(WORKER).tell(Work(1))
        with trio.move_on_after(1):
            await system.ref(WORKER).ask(Total(), within_s=60.0)
        assert 0 == system.ref(WORKER).statistics().asks_pending
        gate.event.set()
        await settle()
        assert 0 == system.kernel.timers.pending_count()
    assert [Work(1)] == asked


async def test_a_cancellation_in_the_pass_of_the_reply_leaves_exactly_one_outcome() -> None:
    scope = trio.CancelScope()
    outcomes: list[str] = []

    async def replies_and_cancels(worker: Worker, message: Message) -> None:
        assert isinstance(message, Total)
        message.reply(5)
        scope.cancel()

    async with open_system(tree([], replies_and_cancels)) as system:
        with scope:
            outcomes.append(f"reply {await system.ref(WORKER).ask(Total(), within_s=1.0)}")
        assert ["reply 5"] == outcomes
        assert 0 == system.ref(WORKER).statistics().asks_pending


@pytest.mark.parametrize("lane", ["normal", "urgent"])
async def test_a_full_mailbox_refuses_a_question_and_remembers_no_asker(lane: str) -> None:
    gate = Gate()
    async with open_system(tree([], gate, capacity=1)) as system:
        ref = system.ref(WORKER)
        ref.tell(Work(0))
        await settle()
        ref.tell(Work(1))
        question = Total()
        with pytest.raises(MailboxFull) as caught:
            await ref.ask(question, within_s=1.0)
        assert question is caught.value.message
        assert 0 == ref.statistics().asks_pending
        assert 1 == ref.statistics().rejected
        port = port_of(question)
        assert port is not None
        assert PortState.VOID is port.state  # an answer would wake a task that does not wait for it
        question.reply(1)
        gate.event.set()
        await settle()
