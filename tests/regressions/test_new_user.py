"""What a new user ran into: each mistake gets an error that says what to write instead."""

from __future__ import annotations

import contextlib
import gc

import pytest
import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from ringfence.actors import Actor, Ask, Name, Normal, Terminated
from ringfence.actors.errors import (
    ActorCrashed,
    ActorDown,
    ChildRefused,
    MessageRefused,
    StartFailed,
)
from ringfence.runtime import System, open_system
from ringfence.supervisors import Child, DynamicSupervisor, Start, Supervisor
from ringfence.supervisors.tree import check


@define
class Counter(Actor[int | str]):
    seen: list[int | str] = field(factory=list)

    async def receive(self, message: int | str) -> None:
        if message == "late":
            self.context.after(1.0, 2.5)  # type: ignore[arg-type]
        self.seen.append(message)


COUNTER = Name[int | str]("desk/counter")
DESK = Supervisor("desk", children=[Child("counter", Start(Counter))])


async def test_what_is_no_question_cannot_be_asked() -> None:
    async with open_system(DESK) as system:
        with pytest.raises(TypeError, match="is no question"):
            await system.ref(COUNTER).ask("how many?", within_s=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("within_s", [0, -1, float("nan"), None, "1"])
async def test_a_question_needs_a_deadline(within_s: float) -> None:
    async with open_system(DESK) as system:
        with pytest.raises(ValueError, match=r"within_s=.* needs a deadline"):
            await system.ref(COUNTER).ask(1, within_s=within_s)  # type: ignore[arg-type]


async def test_a_timer_refuses_at_once_a_message_the_actor_does_not_take() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        async with open_system(DESK) as system:
            system.ref(COUNTER).tell("late")
            await trio.sleep(0.5)  # half of what the timer would take
    assert failed.group_contains(MessageRefused)


async def test_a_text_is_no_name() -> None:
    async with open_system(DESK) as system:
        with pytest.raises(TypeError, match="is no Name"):
            system.ref("desk/counter")  # type: ignore[arg-type]


async def test_one_listener_is_no_sequence_of_listeners() -> None:
    with pytest.raises(TypeError, match="a sequence"):
        async with open_system(DESK, listen=print):  # type: ignore[arg-type]
            pass


async def test_an_actor_is_no_supervisor() -> None:
    async with open_system(DESK) as system:
        with pytest.raises(TypeError, match="is an actor, not a supervisor"):
            system.supervisor("desk/counter").which_children()
        with pytest.raises(ActorDown):
            system.supervisor("desk/nobody").which_children()


async def test_a_supervisor_without_a_template_needs_a_spec() -> None:
    async with open_system(DESK) as system:
        with pytest.raises(TypeError, match="has no template for 'BTC'"):
            await system.supervisor().start_child("BTC", "BTC")


async def test_a_refusal_says_what_to_do() -> None:
    books = DynamicSupervisor("books", template=Child("book", Start(Counter)))
    async with open_system(Supervisor("desk", children=[books])) as system:
        supervisor = system.supervisor("desk/books")
        await supervisor.start_child("BTC")
        with pytest.raises(ChildRefused, match="already_started, it runs: use its handle"):
            await supervisor.start_child("BTC")


def gives_no_actor() -> None:
    return None


async def test_a_start_that_builds_no_actor_says_so() -> None:
    async with open_system(Supervisor("desk")) as system:
        with pytest.raises(StartFailed, match="gave NoneType, which is not an Actor"):
            await system.supervisor().start_child(Child("x", Start(gives_no_actor)))  # type: ignore[arg-type]


class Answers(Actor[int]):
    async def started(self) -> Normal:  # type: ignore[override]
        return Normal()

    async def receive(self, message: int) -> None: ...


async def test_an_answer_of_started_that_means_nothing_is_a_failed_start() -> None:
    async with open_system(Supervisor("desk")) as system:
        with pytest.raises(StartFailed, match="return IGNORE, Info"):
            await system.supervisor().start_child(Child("x", Start(Answers)))


class PlainStarted(Actor[int]):
    def started(self) -> None:  # type: ignore[override]
        return None

    async def receive(self, message: int) -> None: ...


class TakesNothing(Actor[int]):
    async def receive(self) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (PlainStarted, "its `started` is awaited; write `async def started`"),
        (TakesNothing, "its `receive` does not take exactly one message"),
    ],
)
def test_hooks_that_cannot_be_called_are_found_before_the_start(
    cls: type[Actor[int]], says: str
) -> None:
    (problem,) = check(Supervisor("desk", children=[Child("x", Start(cls))]))
    assert says in str(problem)


@define
class Watcher(Actor[str | Terminated]):
    told: list[str] = field(factory=list)

    async def receive(self, message: str | Terminated) -> None:
        if isinstance(message, Terminated):
            TOLD.append(message.path)
        else:
            self.context.watch(self.context.ref_of(Name[int | str](f"desk/books/{message}")))


TOLD: list[str] = []


async def test_watching_what_has_ended_for_good_keeps_no_address() -> None:
    books = DynamicSupervisor("books", template=Child("book", Start(Counter)))
    tree = Supervisor("desk", children=[books, Child("watcher", Start(Watcher))])
    TOLD.clear()
    async with open_system(tree) as system:
        supervisor = system.supervisor("desk/books")
        for number in range(50):
            await supervisor.start_child(f"k{number}")
            system.ref(Name[str | Terminated]("desk/watcher")).tell(f"k{number}")
            await wait_all_tasks_blocked()
            await supervisor.terminate_child(f"k{number}")
        await wait_all_tasks_blocked()
        gc.collect()
        assert 50 == len(TOLD)
        assert len(system.kernel._vacant) < 5


class HowMany(Ask[int]):
    """Never answered: the actor below ends first."""


@define
class Quits(Actor[HowMany]):
    """Deferred its answer when a task of its own wishes to exit."""

    async def receive(self, message: HowMany) -> None:
        message.defer()
        self.context.start_soon(self._quit)

    async def _quit(self) -> None:
        raise KeyboardInterrupt


async def test_a_wish_to_exit_from_a_task_is_no_error_of_who_asked() -> None:
    began_s = trio.current_time()

    async def ask(system: System) -> None:
        with contextlib.suppress(ActorDown):  # it is gone, whatever it wished
            await system.ref(Name[HowMany]("desk/quits")).ask(HowMany(), within_s=60.0)

    tree = Supervisor("desk", children=[Child("quits", Start(Quits))])
    with pytest.raises(BaseExceptionGroup) as failed:
        async with open_system(tree) as system, trio.open_nursery() as nursery:
            nursery.start_soon(ask, system)
    assert failed.group_contains(KeyboardInterrupt)
    assert not failed.group_contains(ActorCrashed)
    assert began_s == trio.current_time()
