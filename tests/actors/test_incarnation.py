"""One life of an actor: hooks, failures, cancellation, the watchdog, and that nothing is left."""

import contextvars
import gc
import math
import signal
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from attrs import define, evolve, field, frozen

from ringfence.actors import (
    IGNORE,
    Actor,
    Ask,
    Context,
    Exit,
    Failed,
    Ignore,
    Info,
    Killed,
    MailboxSpec,
    Name,
    Normal,
    Overflow,
    Shutdown,
    Urgent,
)
from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    Hung,
    NetworkError,
    StartTimeout,
    StrayCancellation,
)
from ringfence.actors.events import (
    ActorEnded,
    ActorIgnored,
    ActorResumed,
    ActorStarted,
    ActorStartFailed,
    DeadLetterWhy,
    Event,
)
from ringfence.actors.kernel import Kernel
from ringfence.actors.lifecycle import KILLED, NORMAL
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, Intensity, Restart, Start, Supervisor
from ringfence.supervisors.policy import OTP, Directive, Policy
from ringfence.supervisors.spec import BRUTAL_KILL

Step = Callable[["Puppet"], Awaitable[object]]


@frozen
class Do:
    """Tells a puppet what to do."""

    step: Step = field(eq=False)


@frozen
class Note:
    text: str


@frozen
class Question(Ask[str]):
    step: Step | None = field(default=None, eq=False)


async def nothing(_puppet: "Puppet") -> None:
    """Do nothing."""


@define(eq=False)
class Log:
    """What the puppets of a test did, over all incarnations."""

    lines: list[str] = field(factory=list)
    actors: list["weakref.ref[Puppet]"] = field(factory=list)


@define(eq=False, slots=False)
class Puppet(Actor[Do | Note | Question]):
    log: Log
    on_start: Step = nothing
    on_stop: Step = nothing

    async def started(self) -> Ignore | Info | None:
        self.log.actors.append(weakref.ref(self))
        self.log.lines.append(f"started {self.context.incarnation}")
        answer = await self.on_start(self)
        return answer if isinstance(answer, Ignore | Info) else None

    async def receive(self, message: Do | Note | Question) -> None:
        match message:
            case Do(step):
                await step(self)
            case Note(text):
                self.log.lines.append(text)
            case Question(step):
                if step is not None:
                    await step(self)
                message.reply("answer")

    async def stopping(self, reason: Exit) -> Normal | Shutdown | None:
        self.log.lines.append(f"stopping {self.context.incarnation}: {type(reason).__name__}")
        answer = await self.on_stop(self)
        return answer if isinstance(answer, Normal | Shutdown) else None


PUPPET = Name[Do | Note | Question]("t/puppet")
OTHER = Name[Do | Note | Question]("t/other")


def child(log: Log, *steps: Step, **fields: object) -> Child:
    return Child("puppet", Start(Puppet, log, *steps), **fields)  # type: ignore[arg-type]


def tree(one: Child, policy: Policy = OTP) -> Supervisor:
    return Supervisor(
        "t",
        children=[one, Child("other", Start(Puppet, Log()))],
        policy=policy,
        intensity=Intensity(restarts_max=50, period_s=1.0),
    )


def listened(system: System) -> list[Event]:
    found: list[Event] = []
    system.events.listen(found.append)
    return found


def exits(events: list[Event]) -> list[Exit]:
    return [
        event.exit for event in events if isinstance(event, ActorEnded) and event.path == "t/puppet"
    ]


def ended_at_s(events: list[Event]) -> list[float]:
    return [
        event.at_s for event in events if isinstance(event, ActorEnded) and event.path == "t/puppet"
    ]


def failure(events: list[Event]) -> BaseException:
    (exit_,) = exits(events)
    assert isinstance(exit_, Failed)
    return exit_.error


async def settle() -> None:
    """Let everybody run without letting the virtual clock jump."""
    for _ in range(30):
        await trio.lowlevel.checkpoint()


def raising(error: BaseException) -> Step:
    async def step(_puppet: Puppet) -> None:
        raise error

    return step


def sleeping(seconds: float) -> Step:
    async def step(_puppet: Puppet) -> None:
        await trio.sleep(seconds)

    return step


# -- hooks -----------------------------------------------------------------------------------------


async def test_hooks_run_in_order_and_the_tree_is_up_when_all_have_started() -> None:
    log = Log()
    async with open_system(tree(child(log, sleeping(3)))) as system:
        assert ["started 1"] == log.lines
        system.ref(PUPPET).tell(Note("handled"))
        await settle()
    assert ["started 1", "handled", "stopping 1: Shutdown"] == log.lines


async def test_all_hooks_are_optional_and_receive_may_be_plain() -> None:
    seen: list[int] = []

    class Plain(Actor[int]):
        def receive(self, message: int) -> None:
            seen.append(message)

    spec = Supervisor("t", children=[Child("plain", Start(Plain))])
    async with open_system(spec) as system:
        for number in range(100):
            system.ref(Name[int]("t/plain")).tell(number)
        await settle()
        assert list(range(100)) == seen
    assert list(range(100)) == seen


def test_an_actor_without_receive_cannot_handle_anything() -> None:
    with pytest.raises(NotImplementedError):
        Actor[int]().receive(1)


async def test_each_incarnation_is_a_new_object_that_starts_after_the_old_one_has_closed() -> None:
    log = Log()

    async def lingers(puppet: Puppet) -> None:
        await trio.sleep(2)
        puppet.log.lines.append("closed")

    async with open_system(tree(child(log, nothing, lingers))) as system:
        system.ref(PUPPET).tell(Do(raising(NetworkError("x"))))
        system.ref(PUPPET).tell(Note("kept"))
        await trio.sleep(5)
        assert ["started 1", "stopping 1: Failed", "closed", "started 2", "kept"] == log.lines
        assert log.actors[0]() is not log.actors[1]()


async def test_an_ignored_actor_is_neither_running_nor_retried() -> None:
    log = Log()

    async def ignores(_puppet: Puppet) -> Ignore:
        return IGNORE

    spec = tree(child(log, ignores))
    seen: list[Event] = []
    system = System(spec, _kernel(seen))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await system.wait_started()
        await trio.sleep(100)
        system.stop()
    assert ["started 1"] == log.lines
    assert ["t/puppet"] == [event.path for event in seen if isinstance(event, ActorIgnored)]
    assert "t/puppet" not in [event.path for event in seen if isinstance(event, ActorStarted)]


def _kernel(seen: list[Event]) -> Kernel:
    kernel = Kernel()
    kernel.events.listen(seen.append)
    return kernel


async def test_a_start_that_raises_is_a_failed_start_without_stopping() -> None:
    log = Log()
    seen: list[Event] = []
    system = System(tree(child(log, raising(NetworkError("no route")))), _kernel(seen))
    with pytest.raises(ExceptionGroup):
        await system.run()
    assert ["started 1"] == log.lines
    (failed,) = [event for event in seen if isinstance(event, ActorStartFailed)]
    assert isinstance(failed.error, NetworkError)


async def test_a_start_has_a_deadline() -> None:
    log = Log()
    seen: list[Event] = []
    system = System(tree(child(log, sleeping(100), start_s=7.0)), _kernel(seen))
    began_s = trio.current_time()
    with pytest.raises(ExceptionGroup):
        await system.run()
    assert began_s + 7 == trio.current_time()
    (failed,) = [event for event in seen if isinstance(event, ActorStartFailed)]
    assert isinstance(failed.error, StartTimeout)
    assert 7.0 == failed.error.start_s
    assert ["started 1"] == log.lines


async def test_a_start_that_returns_after_its_deadline_has_failed_all_the_same() -> None:
    async def too_late(_puppet: Puppet) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    log = Log()
    seen: list[Event] = []
    system = System(tree(child(log, too_late, start_s=7.0)), _kernel(seen))
    with pytest.raises(ExceptionGroup):
        await system.run()
    assert "t/puppet" not in [event.path for event in seen if isinstance(event, ActorStarted)]
    (failed,) = [event for event in seen if isinstance(event, ActorStartFailed)]
    assert isinstance(failed.error, StartTimeout)


async def test_a_start_in_time_leaves_no_timer() -> None:
    async with open_system(tree(child(Log(), sleeping(5), start_s=7.0))) as system:
        assert 0 == system.kernel.timers.pending_count()
        await trio.sleep(10)
        assert 1 == system.kernel.incarnations["t/puppet"]


async def test_stop_from_inside_ends_after_the_current_message_with_the_reason() -> None:
    log = Log()

    async def stops(puppet: Puppet) -> None:
        puppet.context.stop(Shutdown("no more work"))
        puppet.context.stop(NORMAL)  # the first reason stands
        await trio.sleep(1)
        puppet.log.lines.append("finished the message")

    async with open_system(tree(child(log, restart=Restart.TEMPORARY))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(stops))
        system.ref(PUPPET).tell(Note("never"))
        await trio.sleep(2)
        assert [Shutdown("no more work")] == exits(events)
    assert ["started 1", "finished the message", "stopping 1: Shutdown"] == log.lines


async def test_stop_in_started_runs_nothing_but_stopping() -> None:
    log = Log()

    async def stops(puppet: Puppet) -> None:
        puppet.context.stop()

    async with open_system(tree(child(log, stops, restart=Restart.TEMPORARY))) as system:
        await settle()
        system.ref(PUPPET).tell(Note("never"))
    assert ["started 1", "stopping 1: Normal"] == log.lines


async def test_stopping_may_change_the_reason_but_not_a_failure() -> None:
    async def all_done(_puppet: Puppet) -> Normal:
        return NORMAL

    spec = tree(child(Log(), nothing, all_done, restart=Restart.TEMPORARY))
    for step, kind in ((_leave, Normal), (raising(NetworkError("x")), Failed)):
        async with open_system(spec) as system:
            events = listened(system)
            system.ref(PUPPET).tell(Do(step))
            await settle()
            assert [kind] == [type(exit_) for exit_ in exits(events)]


async def _leave(puppet: Puppet) -> None:
    puppet.context.stop(Shutdown("asked"))


@pytest.mark.parametrize("step", [_leave, raising(NetworkError("x"))])
async def test_stopping_is_bounded_whoever_asked_for_the_end(step: Step) -> None:
    spec = tree(child(Log(), nothing, sleeping(1000), restart=Restart.TEMPORARY, shutdown_s=3.0))
    async with open_system(spec) as system:
        events = listened(system)
        began_s = trio.current_time()
        system.ref(PUPPET).tell(Do(step))
        await trio.sleep(100)
        assert [began_s + 3.0] == ended_at_s(events)


async def test_a_failure_and_a_failing_clean_up_come_out_as_one_group() -> None:
    one, two = NetworkError("one"), LookupError("two")
    spec = tree(child(Log(), nothing, raising(two), restart=Restart.TEMPORARY))
    async with open_system(spec) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(raising(one)))
        await settle()
        error = failure(events)
        assert isinstance(error, ExceptionGroup)
        assert (one, two) == error.exceptions


async def test_a_brutal_kill_leaves_out_stopping_and_begins_no_other_message() -> None:
    log = Log()

    async def works(puppet: Puppet) -> None:
        await trio.sleep(1)
        puppet.log.lines.append("worked")

    async with open_system(tree(child(log, shutdown_s=BRUTAL_KILL))) as system:
        events = listened(system)
        for _ in range(5):
            system.ref(PUPPET).tell(Do(works))
        await trio.sleep(1.5)
    assert ["started 1", "worked"] == log.lines
    assert [Killed] == [type(exit_) for exit_ in exits(events)]


async def test_an_actor_killed_while_its_handler_was_about_to_return_begins_no_other() -> None:
    """The cancellation comes when the handler no longer waits for anything."""
    for _ in range(20):
        log = Log()

        async def works(puppet: Puppet) -> None:
            await trio.sleep(1)
            puppet.log.lines.append("worked")

        async with open_system(tree(child(log, shutdown_s=1.0))) as system:
            system.ref(PUPPET).tell(Do(works))
            system.ref(PUPPET).tell(Note("not this one"))
            await settle()
            system.stop()
        assert "not this one" not in log.lines


async def test_an_actor_that_overstays_its_grace_is_killed() -> None:
    log = Log()
    async with open_system(tree(child(log, shutdown_s=4.0))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(sleeping(1000)))
        await settle()
        began_s = trio.current_time()
        system.stop()
    assert began_s + 4 == trio.current_time()
    assert [Killed] == [type(exit_) for exit_ in exits(events)]


async def test_a_handler_that_outlives_the_stop_still_gets_its_clean_up() -> None:
    log = Log()
    async with open_system(tree(child(log, shutdown_s=4.0))) as system:
        system.ref(PUPPET).tell(Do(sleeping(3)))
        await settle()
    assert ["started 1", "stopping 1: Shutdown"] == log.lines


async def test_a_clean_up_is_cancelled_when_the_grace_of_the_whole_stop_is_over() -> None:
    log = Log()
    async with open_system(tree(child(log, nothing, sleeping(1000), shutdown_s=4.0))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(sleeping(3)))
        await settle()
        began_s = trio.current_time()
        system.stop()
    assert [began_s + 4] == ended_at_s(events)
    assert [Killed] == [type(exit_) for exit_ in exits(events)]


async def test_a_stop_during_the_start_calls_it_off_without_stopping_or_failure() -> None:
    log = Log()
    system = System(tree(child(log, sleeping(1000), start_s=math.inf)), Kernel())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(system.run)
        await trio.sleep(1)
        system.stop()
        system.ref(PUPPET).tell(Note("never"))
    assert ["started 1"] == log.lines


async def test_an_actor_killed_before_its_first_step_handles_nothing() -> None:
    seen: list[int] = []

    class Quick(Actor[int]):
        async def receive(self, message: int) -> None:
            seen.append(message)

    class Unbuildable(Actor[int]):
        def __init__(self, system: list[System]) -> None:
            system[0].ref(Name[int]("t/quick")).tell(1)
            msg = "cannot be built"
            raise NetworkError(msg)

        async def receive(self, message: int) -> None: ...

    running: list[System] = []
    children = [
        Child("quick", Start(Quick), shutdown_s=BRUTAL_KILL),
        Child("second", Start(Unbuildable, running)),
    ]
    running.append(System(Supervisor("t", children=children), Kernel()))
    with pytest.raises(ExceptionGroup):
        await running[0].run()
    assert [] == seen
    assert 1 in [letter.message for letter in running[0].kernel.dead_letters]


async def test_started_may_hand_information_to_its_supervisor() -> None:
    async def informs(_puppet: Puppet) -> Info:
        return Info("port 8080")

    async with open_system(tree(child(Log(), informs, start_s=math.inf))) as system:
        life = system._root.slots["puppet"].life
        assert life is not None
        assert "port 8080" == life.info


# -- what a cancellation loses ---------------------------------------------------------------------


async def test_a_cancel_in_the_middle_of_a_batch_loses_only_the_message_in_progress() -> None:
    log = Log()

    async with open_system(tree(child(log, hang_s=2.0))) as system:
        ref = system.ref(PUPPET)
        for number in range(20):
            ref.tell(Note(str(number)))
        stuck = Do(sleeping(1000))
        ref.tell(stuck)
        for number in range(20, 60):
            ref.tell(Note(str(number)))
        await trio.sleep(10)
        (letter,) = system.kernel.dead_letters
        assert (stuck, DeadLetterWhy.CRASHED_ON) == (letter.message, letter.why)
        assert isinstance(letter.cause, Hung)
    numbers = [int(line) for line in log.lines if line.isdigit()]
    assert list(range(60)) == numbers


async def test_the_message_in_progress_of_a_killed_actor_is_a_dead_letter() -> None:
    async with open_system(tree(child(Log(), shutdown_s=BRUTAL_KILL))) as system:
        stuck = Do(sleeping(1000))
        system.ref(PUPPET).tell(stuck)
        system.ref(PUPPET).tell(Note("waits"))
        await settle()
    assert [(stuck, DeadLetterWhy.STOPPED), (Note("waits"), DeadLetterWhy.STOPPED)] == [
        (letter.message, letter.why) for letter in system.kernel.dead_letters
    ]


async def test_a_question_cut_off_by_a_kill_fails_at_once() -> None:
    one = child(Log(), shutdown_s=BRUTAL_KILL)
    async with open_system(tree(one)) as system, trio.open_nursery() as nursery:
        nursery.start_soon(_stop_after, system, 2.0)
        with pytest.raises(ActorDown):
            await system.ref(PUPPET).ask(Question(sleeping(1000)), within_s=60.0)


async def _stop_after(system: System, delay_s: float) -> None:
    await trio.sleep(delay_s)
    system.stop()


# -- stray cancellations ---------------------------------------------------------------------------


class LeakyClient:
    """Does what trio-websocket does: fails its callers with a `Cancelled` of a closed scope."""

    async def get_message(self) -> str:
        leaked: BaseException | None = None
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                leaked = cancelled
                raise
        assert leaked is not None
        raise leaked


async def leaks(_puppet: Puppet) -> None:
    await LeakyClient().get_message()


async def leaks_in_background(puppet: Puppet) -> None:
    puppet.context.start_soon(LeakyClient().get_message)
    await trio.sleep(1)


async def leaks_while_stopping(puppet: Puppet) -> None:
    puppet.context.stop()


@pytest.mark.parametrize(
    ("step", "on_stop"),
    [(leaks, nothing), (leaks_in_background, nothing), (leaks_while_stopping, leaks)],
    ids=["handler", "background", "stopping"],
)
async def test_a_stray_cancellation_fails_that_child_alone(step: Step, on_stop: Step) -> None:
    log = Log()
    async with open_system(tree(child(log, nothing, on_stop))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(step))
        await trio.sleep(5)
        error = failure(events)
        assert isinstance(error, StrayCancellation)
        assert isinstance(error.__cause__, trio.Cancelled)
        assert 2 == system.kernel.incarnations["t/puppet"]
        assert 1 == system.kernel.incarnations["t/other"]
        assert "answer" == await system.ref(PUPPET).ask(Question(), within_s=1.0)
        assert "answer" == await system.ref(OTHER).ask(Question(), within_s=1.0)


async def test_a_stray_cancellation_in_started_is_a_failed_start() -> None:
    seen: list[Event] = []
    system = System(tree(child(Log(), leaks)), _kernel(seen))
    with pytest.raises(ExceptionGroup):
        await system.run()
    (failed,) = [event for event in seen if isinstance(event, ActorStartFailed)]
    assert isinstance(failed.error, StrayCancellation)


async def test_an_error_beside_a_stray_cancellation_is_not_lost() -> None:
    async def both(_puppet: Puppet) -> None:
        try:
            await LeakyClient().get_message()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("both", [cancelled, NetworkError("real")]) from None

    one = child(Log(), restart=Restart.TEMPORARY)
    for step in (both, _in_background(both)):
        async with open_system(tree(one)) as system:
            events = listened(system)
            system.ref(PUPPET).tell(Do(step))
            await trio.sleep(5)
            error = failure(events)
            assert isinstance(error, ExceptionGroup)
            assert error.subgroup(NetworkError) is not None
            assert error.subgroup(StrayCancellation) is not None


def _in_background(step: Step) -> Step:
    async def starts(puppet: Puppet) -> None:
        puppet.context.start_soon(step, puppet)

    return starts


async def test_a_question_whose_handler_leaks_a_cancellation_crashes_with_it_as_cause() -> None:
    async with open_system(tree(child(Log()))) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(PUPPET).ask(Question(leaks), within_s=60.0)
        assert isinstance(caught.value.__cause__, StrayCancellation)


async def test_a_failure_is_not_lost_when_the_whole_tree_is_cancelled_in_the_same_pass() -> None:
    async with open_system(tree(child(Log(), hang_s=2.0))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(sleeping(1000)))
        await settle()
        system.kernel.timers.call_at(trio.current_time() + 2.0, system.cancel)
        await trio.sleep(3)
    (exit_,) = exits(events)
    assert isinstance(exit_, Failed)
    assert isinstance(exit_.error, Hung)


# -- the watchdog ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hang_s", [0.5, 3.0])
async def test_a_handler_hangs_at_exactly_its_limit_and_the_stack_says_where(hang_s: float) -> None:
    log = Log()

    async def stuck_right_here(_puppet: Puppet) -> None:
        await trio.sleep_forever()

    async with open_system(tree(child(log, hang_s=hang_s, restart=Restart.TEMPORARY))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Note("quick"))
        await trio.sleep(0.25)
        began_s = trio.current_time()
        system.ref(PUPPET).tell(Do(stuck_right_here))
        await trio.sleep(100)
        assert [began_s + hang_s] == ended_at_s(events)
        error = failure(events)
        assert isinstance(error, Hung)
        assert hang_s == error.hang_s
        assert "stuck_right_here" in error.stack
    assert "stopping 1: Failed" in log.lines


async def test_handlers_that_finish_in_time_are_left_alone_however_many() -> None:
    log = Log()
    async with open_system(tree(child(log, hang_s=2.0))) as system:
        for _ in range(50):
            system.ref(PUPPET).tell(Do(sleeping(1.9)))
        await trio.sleep(100)
        system.ref(PUPPET).tell(Note("alive"))
        await trio.sleep(1000)
        assert 1 == system.kernel.incarnations["t/puppet"]
        assert 0 == system.kernel.timers.pending_count()
    assert ["started 1", "alive", "stopping 1: Shutdown"] == log.lines


@frozen
class Hurry(Urgent):
    step: Step = field(eq=False)


class HastyOne(Actor[Hurry]):
    async def receive(self, message: Hurry) -> None:
        await message.step(self)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "error"), [(sleeping(1000), Hung), (raising(NetworkError("x")), NetworkError)]
)
async def test_urgent_messages_are_watched_and_buried_like_others(
    step: Step, error: type[Exception]
) -> None:
    hasty = Child("puppet", Start(HastyOne), hang_s=2.0, restart=Restart.TEMPORARY)
    async with open_system(tree(hasty)) as system:
        events = listened(system)
        poison = Hurry(step)
        system.ref(Name[Hurry]("t/puppet")).tell(poison)
        system.ref(Name[Hurry]("t/puppet")).tell(Hurry(step))
        await trio.sleep(10)
        assert isinstance(failure(events), error)
        assert [DeadLetterWhy.CRASHED_ON, DeadLetterWhy.STOPPED] == [
            letter.why for letter in system.kernel.dead_letters
        ]
        assert poison is system.kernel.dead_letters[0].message


async def test_a_handler_that_shields_itself_from_a_kill_is_not_called_hung_as_well() -> None:
    async def shields(_puppet: Puppet) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    async with open_system(tree(child(Log(), hang_s=5.0, shutdown_s=1.0))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(shields))
        await settle()
        system.stop()
    assert [Killed] == [type(exit_) for exit_ in exits(events)]


async def test_a_hung_question_fails_with_its_cause() -> None:
    async with open_system(tree(child(Log(), hang_s=2.0))) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(PUPPET).ask(Question(sleeping(1000)), within_s=60.0)
        assert isinstance(caught.value.__cause__, Hung)


# -- failures --------------------------------------------------------------------------------------


async def test_a_nursery_of_a_handler_fails_as_the_group_it_is() -> None:
    async def both_fail(_puppet: Puppet) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raising(NetworkError("a")), _puppet)
            nursery.start_soon(raising(LookupError("b")), _puppet)

    async with open_system(tree(child(Log(), restart=Restart.TEMPORARY))) as system:
        events = listened(system)
        system.ref(PUPPET).tell(Do(both_fail))
        await settle()
        error = failure(events)
        assert isinstance(error, ExceptionGroup)
        assert {NetworkError, LookupError} == {type(part) for part in error.exceptions}
        (letter,) = system.kernel.dead_letters
        assert error is letter.cause


async def test_a_child_that_may_resume_drops_the_message_and_keeps_its_state() -> None:
    log = Log()
    resumes = Policy(
        directives={**OTP.directives, **dict.fromkeys(OTP.directives, Directive.RESUME)}
    )
    async with open_system(tree(child(log), resumes)) as system:
        events = listened(system)
        poison = Do(raising(NetworkError("x")))
        system.ref(PUPPET).tell(Note("before"))
        system.ref(PUPPET).tell(poison)
        system.ref(PUPPET).tell(Note("after"))
        with pytest.raises(ActorCrashed):
            await system.ref(PUPPET).ask(Question(raising(NetworkError("y"))), within_s=1.0)
        assert "answer" == await system.ref(PUPPET).ask(Question(), within_s=1.0)
        assert 1 == system.kernel.incarnations["t/puppet"]
        assert [DeadLetterWhy.RESUMED_PAST] * 2 == [
            letter.why for letter in system.kernel.dead_letters
        ]
        assert 2 == len([event for event in events if isinstance(event, ActorResumed)])
    assert ["started 1", "before", "after", "stopping 1: Shutdown"] == log.lines


async def test_a_child_resumes_with_nobody_listening() -> None:
    resumes = Policy(directives=dict.fromkeys(OTP.directives, Directive.RESUME))
    async with open_system(tree(child(Log()), resumes)) as system:
        system.ref(PUPPET).tell(Do(raising(NetworkError("x"))))
        assert "answer" == await system.ref(PUPPET).ask(Question(), within_s=1.0)
        assert 1 == system.kernel.incarnations["t/puppet"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["handler", "background", "stopping"])
async def test_an_interrupt_is_never_supervised(interrupt: type[BaseException], where: str) -> None:
    log = Log()
    step = raising(interrupt())
    on_stop = step if where == "stopping" else nothing
    first = {"handler": step, "background": _in_background(step), "stopping": _leave}[where]
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_system(tree(child(log, nothing, on_stop))) as system:
            system.ref(PUPPET).tell(Do(first))
            await trio.sleep(100)
    found, rest = caught.value.split(interrupt)
    assert found is not None
    assert rest is None
    assert 1 == system.kernel.incarnations["t/puppet"]


@pytest.mark.real_time
async def test_a_handler_that_spins_can_be_interrupted_from_the_keyboard() -> None:
    log = Log()

    async def spins(puppet: Puppet) -> None:
        puppet.log.lines.append("spinning")
        signal.raise_signal(signal.SIGINT)
        puppet.log.lines.append("not interrupted")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_system(tree(child(log))) as system:
            system.ref(PUPPET).tell(Do(spins))
            await trio.sleep(5)
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert "spinning" in log.lines
    assert "not interrupted" not in log.lines


class Spinner:
    """A receive that comes from a class that is no actor."""

    async def receive(self, message: int) -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not interrupted")


class Mixed(Spinner, Actor[int]):
    pass


@pytest.mark.real_time
async def test_an_inherited_handler_can_be_interrupted_too() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_system(tree(Child("puppet", Start(Mixed)))) as system:
            system.ref(Name[int]("t/puppet")).tell(1)
            await trio.sleep(5)
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert caught.value.split(KeyboardInterrupt)[1] is None


def test_an_interrupt_never_splits_the_runtimes_own_steps() -> None:
    """In the key function of a mailbox the runtime is in the middle of a `tell`."""
    log = Log()
    reached: list[str] = []

    def interrupts(_message: object) -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append("the end of the key function")

    conflating = MailboxSpec(overflow=Overflow.CONFLATE, key=interrupts)

    async def main() -> None:
        async with open_system(tree(child(log, mailbox=conflating))) as system:
            system.ref(PUPPET).tell(Note("in one piece"))
            reached.append("the end of tell")
            await trio.sleep(5)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert ["the end of the key function", "the end of tell"] == reached
    assert "in one piece" in log.lines


# -- context variables -----------------------------------------------------------------------------

TRACE: contextvars.ContextVar[str] = contextvars.ContextVar("TRACE", default="clean")


async def marks(puppet: Puppet) -> None:
    puppet.log.lines.append(f"found {TRACE.get()}")
    TRACE.set("marked")


async def test_context_variables_leak_neither_to_others_nor_to_the_next_incarnation() -> None:
    log, other = Log(), Log()
    spec = evolve(tree(child(log)), children=[child(log), Child("other", Start(Puppet, other))])
    async with open_system(spec) as system:
        system.ref(PUPPET).tell(Do(marks))
        system.ref(PUPPET).tell(Do(marks))  # the same incarnation keeps its own
        system.ref(PUPPET).tell(Do(raising(NetworkError("x"))))
        await settle()
        system.ref(PUPPET).tell(Do(marks))
        system.ref(OTHER).tell(Do(marks))
        await settle()
        assert "clean" == TRACE.get()
    assert ["found clean", "found marked", "found clean"] == [
        line for line in log.lines if line.startswith("found")
    ]
    assert ["started 1", "found clean", "stopping 1: Shutdown"] == other.lines


# -- nothing is left -------------------------------------------------------------------------------


async def _uses_everything(puppet: Puppet) -> None:
    context = puppet.context
    context.after(1000, Note("later"))
    context.every(1, Note("often"))
    context.start_soon(trio.sleep_forever)
    context.publish("nobody listens")
    context.subscribe(Note)


@pytest.mark.parametrize("step", [_leave, raising(NetworkError("x"))], ids=["normal", "crash"])
async def test_no_task_timer_or_subscription_is_left_after_the_end(step: Step) -> None:
    log = Log()
    one = child(log, _uses_everything, restart=Restart.TEMPORARY, hang_s=50.0, start_s=50.0)
    async with open_system(tree(one)) as system:
        system.ref(PUPPET).tell(Do(step))
        await settle()
        assert 0 == system.kernel.timers.pending_count()
        count = system.kernel.dead_letter_count
        system.kernel.publish(Note("to nobody"))
        await trio.sleep(5)
        assert count == system.kernel.dead_letter_count
        names = {task.name for task in _tasks()}
        assert not [name for name in names if name.startswith("t/puppet")]
        assert [name for name in names if name.startswith("t/other")]
    assert "often" not in log.lines


def _tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found = [root]
    for task in found:
        for nursery in task.child_nurseries:
            found += nursery.child_tasks
    return found


async def test_an_ended_actor_is_freed_without_the_garbage_collector() -> None:
    log = Log()
    gc.collect()
    gc.disable()
    try:
        async with open_system(tree(child(log, restart=Restart.TEMPORARY))) as system:
            system.ref(PUPPET).tell(Do(_leave))
            await settle()
            assert log.actors[0]() is None
    finally:
        gc.enable()


async def test_a_crashed_actor_is_freed_once_nobody_keeps_the_error() -> None:
    log = Log()
    async with open_system(tree(child(log))) as system:
        system.ref(PUPPET).tell(Do(raising(NetworkError("x"))))
        await settle()
    system.kernel.dead_letters.clear()
    del system
    gc.collect()
    assert log.actors[0]() is None


async def test_whoever_keeps_the_context_of_an_ended_actor_can_begin_nothing_with_it() -> None:
    contexts: list[Context[Do | Note | Question]] = []

    async def gives_away(puppet: Puppet) -> None:
        contexts.append(puppet.context)
        puppet.context.stop()

    async with open_system(tree(child(Log(), restart=Restart.TEMPORARY))) as system:
        system.ref(PUPPET).tell(Do(gives_away))
        await settle()
        (context,) = contexts
        context.stop()
        context._life.condemn(KILLED)  # as a late timer would
        for begin in (
            lambda: context.after(1, Note("x")),
            lambda: context.every(1, Note("x")),
            lambda: context.subscribe(Note),
            lambda: context.watch(system.ref(OTHER)),
            lambda: context.start_soon(trio.sleep_forever),
        ):
            with pytest.raises(ActorDown):
                begin()
        assert 0 == system.kernel.timers.pending_count()
