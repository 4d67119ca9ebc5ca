"""What odd but possible user code did to the core: each test is an attack that once got through."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import trio
from attrs import evolve, frozen
from trio.testing import wait_all_tasks_blocked

from ringfence.actors import IGNORE, Actor, Ask, MailboxSpec, Name, Overflow
from ringfence.actors.actor import Ignore
from ringfence.actors.address import Ref
from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    AskTimeout,
    EmergencyShutdown,
    NetworkError,
    Severity,
    StartFailed,
    SupervisorFailed,
)
from ringfence.actors.events import ActorEnded, DeadLetter, DeadLetterWhy, Event
from ringfence.actors.lifecycle import NORMAL, Exit, Failed, Normal, Shutdown
from ringfence.runtime.system import System, open_system
from ringfence.supervisors import (
    Child,
    DynamicSupervisor,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.decide import Status
from ringfence.supervisors.incident import ChildStopped
from ringfence.supervisors.policy import DEFAULT, Directive
from ringfence.supervisors.severity import DEFAULT_RULES, Kind, Rule, Span

RESTARTING = DEFAULT.with_directives(dict.fromkeys(Severity, Directive.RESTART))


@frozen
class Which(Ask[int]):
    """Answered, or not."""


class Script(Actor[object]):
    """Runs the functions it is sent."""

    async def receive(self, message: object) -> None:
        if callable(message):
            answer = message(self)
            if answer is not None:
                await answer


def script_of(message: Callable[[Script], object]) -> object:
    return message


class Answering(Actor[object]):
    """Does with a question what ``do`` says."""

    def __init__(self, do: Callable[[Which], None]) -> None:
        self.do = do

    def receive(self, message: object) -> None:
        if isinstance(message, Which):
            self.do(message)


@asynccontextmanager
async def running(*children: Child) -> AsyncIterator[tuple[System, list[Event]]]:
    seen: list[Event] = []
    tree = Supervisor("r", policy=RESTARTING, children=children)
    async with open_system(tree, listen=[seen.append]) as system:
        yield system, seen


def ref(system: System, name: str) -> Ref[object]:
    return system.ref(Name[object](f"r/{name}"))


def raise_it(error: BaseException) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise error

    return fail


def parts_of(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [part for each in error.exceptions for part in parts_of(each)]
    return [error]


# -- errors --------------------------------------------------------------------------------------


class ExitsWhenBuiltAgain(Script):
    built: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.built.append(1)
        if len(self.built) > 1:
            raise SystemExit(3)


async def test_a_constructor_that_exits_the_process_on_a_restart_ends_the_tree() -> None:
    ExitsWhenBuiltAgain.built.clear()
    beside: list[Exit] = []

    class Beside(Script):
        async def stopping(self, reason: Exit) -> None:
            beside.append(reason)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(Child("b", Start(Beside)), Child("a", Start(ExitsWhenBuiltAgain))) as (
            system,
            _,
        ):
            ref(system, "a").tell(raise_it(NetworkError("once")))
            await trio.sleep(100)
            pytest.fail("the supervisor never heard that its child could not be built")

    assert [type(part) for part in parts_of(caught.value)] == [SystemExit]
    assert len(beside) == 1, "the sibling was stopped in order, not cancelled"


class Speechless(Exception):  # noqa: N818 - what it lacks is the point
    def __str__(self) -> str:
        raise RuntimeError


async def test_an_error_that_cannot_be_printed_reaches_its_asker_and_its_supervisor() -> None:
    error = Speechless()
    async with running(Child("a", Start(Answering, raise_it(error)))) as (system, seen):
        with pytest.raises(ActorCrashed) as caught:
            await ref(system, "a").ask(Which(), within_s=1)
        await wait_all_tasks_blocked()
    assert caught.value.__cause__ is error
    ends = [event.exit for event in seen if isinstance(event, ActorEnded)]
    assert isinstance(ends[0], Failed)
    assert ends[0].error is error
    assert "Speechless" in str(ends[0])


class SpeechlessAtTheEnd(Script):
    async def stopping(self, reason: Exit) -> None:
        raise Speechless


async def test_clean_up_errors_that_cannot_be_printed_are_all_kept() -> None:
    tree = DynamicSupervisor("r", policy=RESTARTING, template=Child("a", Start(SpeechlessAtTheEnd)))
    with pytest.raises(ExceptionGroup) as caught:
        async with open_system(tree) as system:
            await system.supervisor().start_child("x")
            await system.supervisor().start_child("y")
    assert [type(part) for part in parts_of(caught.value)] == [Speechless, Speechless]


async def test_a_start_that_fails_with_an_error_that_cannot_be_printed_is_a_failed_start() -> None:
    def build() -> Script:
        raise Speechless

    with pytest.raises(ExceptionGroup) as caught:
        async with running(Child("a", Start(build))):
            pytest.fail("it cannot have started")
    failed = caught.value
    while not isinstance(failed, SupervisorFailed):
        (failed,) = failed.exceptions
    assert [type(part) for part in failed.exceptions] == [StartFailed]


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


async def test_an_error_that_refuses_assignment_is_the_failure_itself() -> None:
    error = FrozenError(7)
    async with running(Child("a", Start(Answering, raise_it(error)))) as (system, seen):
        with pytest.raises(ActorCrashed) as caught:
            await ref(system, "a").ask(Which(), within_s=1)
        await wait_all_tasks_blocked()
    assert caught.value.__cause__ is error
    letters = [event for event in seen if isinstance(event, DeadLetter)]
    assert [(letter.why, letter.cause) for letter in letters] == [(DeadLetterWhy.CRASHED_ON, error)]


# -- mailboxes -----------------------------------------------------------------------------------

KEYED = MailboxSpec(overflow=Overflow.CONFLATE, key=lambda message: message)


class Remembering(Actor[object]):
    seen: ClassVar[list[object]] = []

    async def started(self) -> None:
        self.context.after(1.0, ["no key can be made of a list"])
        self.context.subscribe(list)

    def receive(self, message: object) -> None:
        self.seen.append(message)


async def test_a_timer_whose_message_has_no_usable_key_harms_nobody() -> None:
    Remembering.seen.clear()
    async with running(Child("a", Start(Remembering), mailbox=KEYED)) as (system, seen):
        await trio.sleep(2)
        ref(system, "a").tell("later")
        await wait_all_tasks_blocked()
        assert Remembering.seen == ["later"]
        letters = [event for event in seen if isinstance(event, DeadLetter)]
    assert [type(letter.cause) for letter in letters] == [TypeError]


async def test_a_publisher_does_not_fail_because_a_subscriber_has_no_usable_key() -> None:
    async with running(
        Child("a", Start(Remembering), mailbox=KEYED), Child("b", Start(Script))
    ) as (system, seen):
        ref(system, "b").tell(script_of(lambda actor: actor.context.publish([1])))
        await wait_all_tasks_blocked()
        letters = [event for event in seen if isinstance(event, DeadLetter)]
        assert not [event for event in seen if isinstance(event, ActorEnded)]
    assert [(letter.path, letter.message) for letter in letters] == [("r/a", [1])]


def in_a_thread(call: Callable[[], None]) -> list[Exception]:
    """Run ``call`` in a thread of its own, to its end; return what it raised."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            call()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


async def test_a_tell_from_a_foreign_thread_raises_there_and_loses_no_wake_up() -> None:
    Remembering.seen.clear()
    async with running(Child("a", Start(Remembering))) as (system, _):
        await wait_all_tasks_blocked()
        raised = in_a_thread(lambda: ref(system, "a").tell("from a thread"))
        assert [type(error) for error in raised] == [RuntimeError]
        ref(system, "a").tell("later")
        await wait_all_tasks_blocked()
        assert Remembering.seen[-1] == "later"


async def test_a_reply_from_a_foreign_thread_raises_there_and_the_question_still_ends() -> None:
    raised: list[Exception] = []

    def answer(question: Which) -> None:
        question.defer()
        raised.extend(in_a_thread(lambda: question.reply(1)))

    async with running(Child("a", Start(Answering, answer))) as (system, _):
        with pytest.raises(AskTimeout), trio.fail_after(10):
            await ref(system, "a").ask(Which(), within_s=1)
    assert [type(error) for error in raised] == [RuntimeError]


# -- who is not there ----------------------------------------------------------------------------


class Choosing(Actor[object]):
    """Starts as the first of ``plan`` says."""

    plan: ClassVar[list[str]] = []

    async def started(self) -> Ignore | None:
        match self.plan.pop(0):
            case "ignore":
                return IGNORE
            case "fail":
                raise NetworkError("no")
            case _:
                return None

    def receive(self, message: object) -> None:
        if isinstance(message, Which):
            message.reply(1)


async def test_a_question_to_a_child_that_did_not_come_up_fails_at_once() -> None:
    Choosing.plan[:] = ["ignore", "fail", "ignore", "run"]
    async with running(Child("a", Start(Choosing))) as (system, _):
        for step in ("ignored at boot", "failed", "ignored"):
            if step == "failed":
                with pytest.raises(StartFailed):
                    await system.supervisor().restart_child("a")
            elif step == "ignored":
                await system.supervisor().restart_child("a")
            began_s = trio.current_time()
            with pytest.raises(ActorDown):
                await ref(system, "a").ask(Which(), within_s=5)
            assert trio.current_time() == began_s, step
        await system.supervisor().restart_child("a")
        assert await ref(system, "a").ask(Which(), within_s=5) == 1


async def test_a_temporary_child_that_just_ended_can_be_looked_at_in_each_pass() -> None:
    seen: set[Status] = set()
    async with running(Child("keep", Start(Script))) as (system, _):
        sup = system.supervisor()
        for _number in range(50):  # who runs first in a pass is left to chance
            await sup.start_child(Child("a", Start(Script), restart=Restart.TEMPORARY))
            ref(system, "a").tell(raise_it(NetworkError("gone")))
            while [info.id for info in sup.which_children()] != ["keep"]:
                seen.add(sup.which_children()[0].status)
                sup.count_children()
                await trio.lowlevel.checkpoint()
    assert seen == set(Status)


async def test_a_sender_does_not_wait_for_a_sibling_that_has_stopped_for_good() -> None:
    async def feed(actor: Script) -> None:
        for number in range(10):
            await actor.context.ref_of(Name[object]("r/slow")).send(number)

    class Slow(Actor[object]):
        async def receive(self, message: object) -> None:
            del message
            await trio.sleep(1)

    small = MailboxSpec(capacity=2)
    async with running(
        Child("feed", Start(Script), shutdown_s=5.0), Child("slow", Start(Slow), mailbox=small)
    ) as (system, seen):
        ref(system, "feed").tell(feed)
        await wait_all_tasks_blocked()
        began_s = trio.current_time()
    assert trio.current_time() == began_s + 1
    proofs = [event.proof for event in seen if isinstance(event, ChildStopped)]
    assert [(proof.path, proof.cancelled) for proof in proofs] == [
        ("r/slow", False),
        ("r/feed", False),
    ]


async def test_a_question_to_a_sibling_that_has_stopped_for_good_fails_at_once() -> None:
    took_s: list[float] = []

    class AsksWhenStopping(Script):
        async def stopping(self, reason: Exit) -> None:
            del reason
            began_s = trio.current_time()
            with pytest.raises(ActorDown):
                await self.context.ref_of(Name[object]("r/b")).ask(Which(), within_s=3)
            took_s.append(trio.current_time() - began_s)

    async with running(Child("a", Start(AsksWhenStopping)), Child("b", Start(Script))):
        pass
    assert took_s == [0.0]


# -- misuse --------------------------------------------------------------------------------------


async def test_one_object_for_two_children_is_a_failed_start_and_hangs_nothing() -> None:
    shared = Script()
    with trio.fail_after(100), pytest.raises(ExceptionGroup) as caught:
        async with running(Child("a", Start(lambda: shared)), Child("b", Start(lambda: shared))):
            pytest.fail("they cannot both have started")
    (part,) = parts_of(caught.value)
    assert "r/b got an object that r/a uses" in str(part)


async def test_an_actor_that_deletes_its_context_ends_as_any_other() -> None:
    def delete(actor: Script) -> None:
        del actor.context

    with trio.fail_after(100):
        async with running(Child("a", Start(Script))) as (system, seen):
            ref(system, "a").tell(delete)
            await wait_all_tasks_blocked()
    assert [event.exit for event in seen if isinstance(event, ActorEnded)] == [Shutdown()]


@pytest.mark.parametrize("reason", [None, "done", 0, ValueError("no exit")])
async def test_to_stop_with_what_is_no_exit_is_an_error_of_the_caller(reason: object) -> None:
    raised: list[Exception] = []

    def stop(actor: Script) -> None:
        with pytest.raises(TypeError, match="an actor ends with") as caught:
            actor.context.stop(reason)  # type: ignore[arg-type]
        raised.append(caught.value)
        actor.context.stop(NORMAL)

    async with running(Child("a", Start(Script), restart=Restart.TRANSIENT)) as (system, seen):
        ref(system, "a").tell(stop)
        await wait_all_tasks_blocked()
    assert len(raised) == 1
    assert [event.exit for event in seen if isinstance(event, ActorEnded)] == [Normal()]


async def test_a_clean_up_that_answers_what_is_no_exit_has_failed() -> None:
    class AnswersTrue(Script):
        async def stopping(self, reason: Exit) -> None:
            del reason
            return True  # type: ignore[return-value]

    with pytest.raises(ExceptionGroup) as caught:
        async with running(Child("a", Start(AnswersTrue))):
            pass
    (part,) = parts_of(caught.value)
    assert isinstance(part, TypeError)
    assert "stopping() returned True" in str(part)


async def test_a_watcher_forgets_whom_it_no_longer_watches() -> None:
    paths = [f"r/gone/{number}" for number in range(100)]

    async def watch_and_unwatch(actor: Script) -> None:
        for path in paths:
            other = actor.context.ref_of(Name[object](path))
            actor.context.watch(other)
            actor.context.unwatch(other)

    children = [Child(f"c{number}", Start(Script)) for number in range(3)]
    async with running(*children) as (system, _):
        box = system.kernel.boxes["r/c1"]

        def visit(actor: Script) -> None:
            other = actor.context.ref_of(Name[object]("r/c1"))
            actor.context.watch(other)
            actor.context.unwatch(other)
            kept = actor.context._life.own()._watching
            assert box not in kept
            raise NetworkError("seen")

        ref(system, "c0").tell(visit)
        ref(system, "c0").tell(watch_and_unwatch)
        await wait_all_tasks_blocked()
        letters = system.kernel.dead_letters
    assert [type(letter.cause) for letter in letters] == [NetworkError]


# -- what grows, and what must not come back -----------------------------------------------------


async def test_children_whose_ids_are_never_used_again_leave_nothing_behind() -> None:
    async with running(Child("keep", Start(Script))) as (system, _):
        sup, kernel = system.supervisor(), system.kernel
        sizes: set[tuple[int, int]] = set()
        for number in range(10):
            name = f"t{number}"
            await sup.start_child(Child(name, Start(Script), restart=Restart.TEMPORARY))
            await sup.terminate_child(name)
            await sup.start_child(Supervisor(f"s{number}", children=[Child("a", Start(Script))]))
            held = ref(system, f"s{number}/a")
            await sup.terminate_child(f"s{number}")
            await sup.delete_child(f"s{number}")
            with pytest.raises(ActorDown):
                await held.ask(Which(), within_s=1)
            sizes.add((len(kernel.boxes), len(kernel.controls)))
        await sup.terminate_child("keep")
        await sup.restart_child("keep")
        (keep,) = sup.which_children()
        assert keep.incarnation == 2, "an address of the tree itself is never forgotten"
    assert len(sizes) == 1


async def test_a_critical_failure_is_not_restarted_with_its_group_while_the_bot_goes_flat() -> None:
    starts: list[float] = []

    class Counted(Script):
        async def started(self) -> None:
            starts.append(trio.current_time())

    policy = RESTARTING.with_directives({Severity.CRITICAL: Directive.SHUTDOWN})
    inner = Supervisor("s", children=[Child("c", Start(Counted))])
    tree = Supervisor(
        "r",
        policy=policy,
        strategy=RestartStrategy.ONE_FOR_ALL,
        children=[inner, Child("b", Start(Script))],
    )
    with pytest.raises(ExceptionGroup) as caught:
        async with open_system(tree) as system:

            async def go_flat(_: SupervisorFailed) -> None:
                ref(system, "b").tell(raise_it(NetworkError("meanwhile")))
                await trio.sleep(5)

            system.emergency = go_flat
            ref(system, "s/c").tell(raise_it(EmergencyShutdown("money")))
            await trio.sleep(20)
    assert starts == [0.0]
    assert {type(part) for part in parts_of(caught.value)} >= {EmergencyShutdown}


class Statusless(Exception):  # noqa: N818 - what it lacks is the point
    @property
    def status_code(self) -> int:
        raise RuntimeError


async def test_an_error_with_a_broken_property_is_classified_without_it() -> None:
    rule = Rule("odd", Statusless, Severity.LOW, Kind.SERVER, status_code=Span(500, 600))
    policy = evolve(RESTARTING, rules=DEFAULT_RULES.extended(rule))
    seen: list[Event] = []
    tree = Supervisor("r", policy=policy, children=[Child("a", Start(Script))])
    async with open_system(tree, listen=[seen.append]) as system:
        ref(system, "a").tell(raise_it(Statusless()))
        await wait_all_tasks_blocked()
        (info,) = system.supervisor().which_children()
        assert info.incarnation == 2
    ends = [event.exit for event in seen if isinstance(event, ActorEnded)]
    assert [type(end) for end in ends] == [Failed, Shutdown]


@pytest.mark.parametrize("question", ["text", None, Which])
async def test_to_ask_what_is_no_question_says_so(question: object) -> None:
    async with running(Child("a", Start(Script))) as (system, _):
        with pytest.raises(TypeError, match="is no question"):
            await ref(system, "a").ask(question, within_s=1)  # type: ignore[arg-type]


async def test_to_subscribe_to_what_is_no_class_says_so() -> None:
    raised: list[BaseException] = []

    def subscribe(actor: Script) -> None:
        with pytest.raises(TypeError, match="a topic is a class") as caught:
            actor.context.subscribe(5)  # type: ignore[arg-type]
        raised.append(caught.value)

    async with running(Child("a", Start(Script))) as (system, _):
        ref(system, "a").tell(subscribe)
        await wait_all_tasks_blocked()
    assert len(raised) == 1
