"""Questions: one outcome each, whatever the handler and the clock do."""

import copy
import dataclasses
import pickle
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from attrs import define, frozen

from ringfence.actors import Actor, Ask, MailboxSpec, Name, Overflow, Ref
from ringfence.actors.errors import AskTimeout, NetworkError, NoReply, ReplyTwice
from ringfence.actors.message import port_of
from ringfence.runtime import open_system
from ringfence.supervisors import Child, Intensity, Start, Supervisor
from ringfence.supervisors.policy import OTP


@frozen
class Double(Ask[int]):
    number: int


@frozen(slots=False)
class OpenDouble(Ask[int]):
    number: int


@dataclasses.dataclass(frozen=True)
class DataDouble(Ask[int]):
    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class SlottedDouble(Ask[int]):
    number: int


class PlainDouble(Ask[int]):
    def __init__(self, number: int) -> None:
        self.number = number


QUESTIONS = (Double, OpenDouble, DataDouble, SlottedDouble, PlainDouble)

Handler = Callable[["Oracle", Ask[int]], Awaitable[None]]


@define(eq=False)
class Oracle(Actor[Ask[int]]):
    handler: Handler
    kept: list[Ask[int]] = attrs.field(factory=list)

    async def receive(self, message: Ask[int]) -> None:
        await self.handler(self, message)


ORACLE = Name[Ask[int]]("t/oracle")


def tree(handler: Handler) -> Supervisor:
    return Supervisor(
        "t",
        children=[Child("oracle", Start(Oracle, handler))],
        policy=OTP,
        intensity=Intensity(restarts_max=5, period_s=1.0),
    )


async def doubles(_oracle: Oracle, question: Ask[int]) -> None:
    question.reply(2 * question.number)  # type: ignore[attr-defined]


async def keeps(oracle: Oracle, question: Ask[int]) -> None:
    question.defer()
    oracle.kept.append(question)


async def ask(ref: Ref[Ask[int]], question: Ask[int], answers: list[int]) -> None:
    answers.append(await ref.ask(question, within_s=60.0))


@pytest.mark.parametrize("cls", QUESTIONS)
async def test_every_kind_of_question_class_can_be_asked(cls: type[Ask[int]]) -> None:
    async with open_system(tree(doubles)) as system:
        assert 14 == await system.ref(ORACLE).ask(cls(7), within_s=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", QUESTIONS)
async def test_one_question_object_may_be_asked_by_two_at_once(cls: type[Ask[int]]) -> None:
    seen: list[Ask[int]] = []

    async def counts(_oracle: Oracle, question: Ask[int]) -> None:
        seen.append(question)
        await trio.sleep(1)
        question.reply(len(seen))

    answers: list[int] = []
    async with open_system(tree(counts)) as system, trio.open_nursery() as nursery:
        question = cls(7)  # type: ignore[call-arg]
        for _ in range(3):
            nursery.start_soon(ask, system.ref(ORACLE), question, answers)
    assert [1, 2, 3] == sorted(answers)
    assert 3 == len({id(question) for question in seen})
    assert [7, 7, 7] == [question.number for question in seen]  # type: ignore[attr-defined]


async def test_an_answered_question_object_may_be_asked_again() -> None:
    async with open_system(tree(doubles)) as system:
        question = Double(4)
        for _ in range(3):
            assert 8 == await system.ref(ORACLE).ask(question, within_s=1.0)


async def test_the_second_reply_is_a_failure_of_the_actor_and_the_first_stands() -> None:
    raised: list[ReplyTwice] = []

    async def replies_twice(_oracle: Oracle, question: Ask[int]) -> None:
        question.reply(1)
        try:
            question.reply(2)
        except ReplyTwice as error:
            raised.append(error)
        try:
            question.fail(ValueError("no"))
        except ReplyTwice as error:
            raised.append(error)

    async with open_system(tree(replies_twice)) as system:
        assert 1 == await system.ref(ORACLE).ask(Double(1), within_s=1.0)
    assert [("t/oracle", "Double")] * 2 == [(error.path, error.question) for error in raised]


async def test_fail_raises_the_error_at_the_asker_and_the_actor_lives_on() -> None:
    async def fails(_oracle: Oracle, question: Ask[int]) -> None:
        question.fail(LookupError("unknown symbol"))

    async with open_system(tree(fails)) as system:
        with pytest.raises(LookupError, match="unknown symbol"):
            await system.ref(ORACLE).ask(Double(1), within_s=1.0)
        assert 1 == system.kernel.incarnations["t/oracle"]


@pytest.mark.parametrize("late", ["reply", "fail"])
async def test_an_answer_after_the_deadline_goes_nowhere(late: str) -> None:
    async def slow(_oracle: Oracle, question: Ask[int]) -> None:
        await trio.sleep(2)
        if late == "reply":
            question.reply(1)
        else:
            question.fail(ValueError("too late"))

    async with open_system(tree(slow)) as system:
        with pytest.raises(AskTimeout):
            await system.ref(ORACLE).ask(Double(1), within_s=1.0)
        await trio.sleep(5)
        assert 1 == system.kernel.incarnations["t/oracle"]  # a late answer is no failure
        assert 0 == system.kernel.dead_letter_count


async def test_an_answer_to_a_cancelled_asker_goes_nowhere() -> None:
    async def slow(_oracle: Oracle, question: Ask[int]) -> None:
        await trio.sleep(2)
        question.reply(1)

    async with open_system(tree(slow)) as system:
        with trio.move_on_after(1) as scope:
            await system.ref(ORACLE).ask(Double(1), within_s=60.0)
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert 1 == system.kernel.incarnations["t/oracle"]


async def test_a_late_answer_never_reaches_the_next_asker_of_the_same_object() -> None:
    kept: list[Ask[int]] = []

    async def keeps_first(_oracle: Oracle, question: Ask[int]) -> None:
        question.defer()
        kept.append(question)

    async with open_system(tree(keeps_first)) as system:
        ref, question, answers = system.ref(ORACLE), Double(1), list[int]()
        with pytest.raises(AskTimeout):
            await ref.ask(question, within_s=1.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, ref, question, answers)
            await trio.testing.wait_all_tasks_blocked()
            kept[0].reply(111)  # the answer to the first asker, who is gone
            await trio.testing.wait_all_tasks_blocked()
            assert [] == answers
            kept[1].reply(222)
        assert [222] == answers


async def test_a_deferred_question_is_answered_by_a_later_task() -> None:
    async def defers(oracle: Oracle, question: Ask[int]) -> None:
        async def later() -> None:
            await trio.sleep(3)
            question.reply(33)

        question.defer()
        oracle.context.start_soon(later)

    async with open_system(tree(defers)) as system:
        assert 33 == await system.ref(ORACLE).ask(Double(1), within_s=10.0)


async def test_a_forgotten_question_fails_at_once_and_its_late_answer_goes_nowhere() -> None:
    kept: list[Ask[int]] = []

    async def forgets(_oracle: Oracle, question: Ask[int]) -> None:
        kept.append(question)

    async with open_system(tree(forgets)) as system:
        began_s = trio.current_time()
        with pytest.raises(NoReply) as caught:
            await system.ref(ORACLE).ask(Double(1), within_s=10.0)
        assert 0 == trio.current_time() - began_s
        assert ("t/oracle", "Double") == (caught.value.path, caught.value.question)
        kept[0].reply(1)


async def test_a_told_question_has_nobody_to_answer() -> None:
    async def uses_all(oracle: Oracle, question: Ask[int]) -> None:
        question.defer()
        question.reply(1)
        question.reply(2)
        question.fail(ValueError("unheard"))
        oracle.kept.append(question)

    async with open_system(tree(uses_all)) as system:
        system.ref(ORACLE).tell(Double(1))
        await trio.testing.wait_all_tasks_blocked()
        assert 1 == system.ref(ORACLE).statistics().handled
        assert 1 == system.kernel.incarnations["t/oracle"]


async def test_a_question_that_is_told_on_can_be_answered_by_another_actor() -> None:
    async def passes_on(oracle: Oracle, question: Ask[int]) -> None:
        question.defer()
        oracle.context.ref_of(Name[Ask[int]]("t/second")).tell(question)

    spec = attrs.evolve(
        tree(passes_on),
        children=[
            Child("oracle", Start(Oracle, passes_on)),
            Child("second", Start(Oracle, doubles)),
        ],
    )
    async with open_system(spec) as system:
        assert 10 == await system.ref(ORACLE).ask(Double(5), within_s=1.0)


@pytest.mark.parametrize("cls", QUESTIONS)
async def test_copies_and_pickles_of_an_asked_question_have_no_asker(cls: type[Ask[int]]) -> None:
    async with open_system(tree(doubles)) as system:
        question = cls(7)  # type: ignore[call-arg]
        await system.ref(ORACLE).ask(question, within_s=1.0)
        assert port_of(question) is not None
        sent = pickle.loads(pickle.dumps(question))  # noqa: S301 - made on this line
        for twin in (copy.copy(question), sent):
            assert port_of(twin) is None
            assert 7 == getattr(twin, "number", None)


@pytest.mark.parametrize("cls", QUESTIONS)
def test_a_question_that_was_never_asked_can_be_copied_too(cls: type[Ask[int]]) -> None:
    twin = copy.copy(cls(7))  # type: ignore[call-arg]
    assert port_of(twin) is None
    assert 7 == twin.number  # type: ignore[attr-defined]


async def test_a_handler_that_fails_after_it_replied_has_replied() -> None:
    async def replies_and_fails(_oracle: Oracle, question: Ask[int]) -> None:
        question.reply(1)
        raise NetworkError("after the reply")

    async with open_system(tree(replies_and_fails)) as system:
        assert 1 == await system.ref(ORACLE).ask(Double(1), within_s=1.0)
        assert 1 == system.kernel.dead_letter_count


async def test_a_plain_handler_may_answer_and_may_take_from_a_conflating_mailbox() -> None:
    seen: list[str] = []

    class Plain(Actor[Double | str]):
        def receive(self, message: Double | str) -> None:
            if isinstance(message, Double):
                message.reply(2 * message.number)
            else:
                seen.append(message)

    box = MailboxSpec(overflow=Overflow.CONFLATE)
    spec = Supervisor("t", children=[Child("plain", Start(Plain), mailbox=box)])
    async with open_system(spec) as system:
        ref = system.ref(Name[Double | str]("t/plain"))
        ref.tell("a")
        ref.tell("b")
        assert 8 == await ref.ask(Double(4), within_s=1.0)
    assert ["b"] == seen
