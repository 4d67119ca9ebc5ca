"""The log as data: which events, at which level, without secrets; and the thread that writes it."""

import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import trio
from attrs import define, evolve, frozen

from ringfence.actors import Actor, Name
from ringfence.actors.errors import GaveUpWhy, Severity
from ringfence.actors.events import (
    ActorStarted,
    DeadLetter,
    DeadLetterWhy,
    LoopBlocked,
    RestartScheduled,
    SupervisorGaveUp,
    SystemStarted,
)
from ringfence.actors.lifecycle import Failed, Shutdown
from ringfence.runtime.observe.log import EventLog, LogOptions, fields_of, level_of
from ringfence.runtime.observe.writer import LineWriter
from ringfence.runtime.system import open_system
from ringfence.supervisors import Child, Start, Supervisor
from ringfence.supervisors.incident import ChildStopped, StopProof


@frozen
class Order:
    secret: str


@define
class Trader(Actor[Order]):
    async def receive(self, message: Order) -> None:
        self.context.log.info("order", size=1)
        raise ConnectionError("reset")


@pytest.fixture(autouse=True)
def _own_set_up() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_failure_is_logged_with_its_severity_outcome_and_traceback() -> None:
    stream = io.StringIO()
    with EventLog(stream=stream) as log:
        async with open_system(Supervisor("desk", children=[Child("t", Start(Trader))])) as system:
            system.events.listen(log)
            system.ref(Name[Order]("desk/t")).tell(Order("s3cret"))
            await trio.sleep(1)
    lines = lines_of(stream)
    (incident,) = (line for line in lines if line["event"] == "incident_recorded")
    assert ("info", "LOW", "restarted", ["desk/t: ConnectionError: reset"]) == (
        incident["level"],
        incident["severity"],
        incident["outcome"],
        incident["causes"],
    )
    assert incident["traceback"].endswith("ConnectionError: reset")
    (order,) = (line for line in lines if line["event"] == "order")
    assert ("desk/t", 1) == (order["actor"], order["incarnation"])
    (letter,) = (line for line in lines if line["event"] == "dead_letter")
    assert ("Order", "CRASHED_ON") == (letter["message"], letter["why"])
    assert "s3cret" not in stream.getvalue()
    assert not structlog.is_configured()


def letter(at_s: float) -> DeadLetter:
    return DeadLetter(at_s=at_s, path="desk/x", message=1, why=DeadLetterWhy.STOPPED)


def test_a_flood_of_dead_letters_is_one_line_a_second_and_a_count() -> None:
    stream = io.StringIO()
    with EventLog(stream=stream) as log:
        for number in range(1000):
            log(letter(number / 500))
    lines = lines_of(stream)
    assert ["dead_letter", "dead_letters", "dead_letter", "dead_letters"] == [
        line["event"] for line in lines
    ]
    assert [499, 499] == [line["more"] for line in lines if line["event"] == "dead_letters"]


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = io.StringIO()
    with EventLog(LogOptions(level="warning"), stream) as log:
        log(SystemStarted(at_s=0, path="desk"))
        log(LoopBlocked(at_s=0, path="desk/x", blocked_s=2.0, stack=""))
    assert ["loop_blocked"] == [line["event"] for line in lines_of(stream)]


def test_a_person_gets_text() -> None:
    stream = io.StringIO()
    with EventLog(LogOptions(json=False), stream) as log:
        log(SystemStarted(at_s=0, path="desk"))
    assert "system_started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_set_up_of_the_program_itself_is_left_alone() -> None:
    seen: list[object] = []

    def keep(_logger: object, _method: str, event: Any) -> Any:
        seen.append(event["event"])
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    with EventLog(stream=io.StringIO()) as log:
        log(SystemStarted(at_s=0, path="desk"))
    assert ["system_started"] == seen
    assert structlog.is_configured()


@pytest.mark.parametrize(
    ("severity", "level"),
    [(Severity.LOW, "warning"), (Severity.HIGH, "error"), (Severity.CRITICAL, "critical")],
)
def test_giving_up_is_at_least_a_warning(severity: Severity, level: str) -> None:
    event = SupervisorGaveUp(at_s=0, path="desk", child="x", why="y", severity=severity)
    assert level == level_of(event)
    assert {"child": "x", "why": "y", "severity": severity.name} == fields_of(event)


def test_at_the_root_giving_up_is_not_left_to_a_parent() -> None:
    why = GaveUpWhy.ESCALATED.value
    root = SupervisorGaveUp(at_s=0, path="desk", child="x", why=why, severity=Severity.MEDIUM)
    inner = SupervisorGaveUp(at_s=0, path="desk/a", child="x", why=why, severity=Severity.MEDIUM)
    told = "a failure that a restart cannot cure, and nobody is above"
    assert [told, why] == [fields_of(root)["why"], fields_of(inner)["why"]]


def test_seconds_are_told_to_the_millisecond_and_what_holds_nothing_is_left_out() -> None:
    waits = RestartScheduled(at_s=0, path="desk", child="x", delay_s=1.23456789, attempt=2)
    assert {"child": "x", "delay_s": 1.235, "attempt": 2} == fields_of(waits)
    assert {"message", "why"} == set(fields_of(letter(0.0)))


def test_a_child_that_failed_while_stopping_is_a_warning() -> None:
    proof = StopProof(
        path="desk/x",
        asked=True,
        answered=True,
        took_s=0.0,
        cancelled=False,
        exit=Failed(OSError("x")),
    )
    assert "warning" == level_of(ChildStopped(at_s=0, path="desk", proof=proof))
    well = evolve(proof, exit=Shutdown())
    assert "debug" == level_of(ChildStopped(at_s=0, path="desk", proof=well))


def test_ordinary_life_is_for_debugging() -> None:
    assert "debug" == level_of(ActorStarted(at_s=0, path="desk/x", incarnation=1))


class Stuck(io.StringIO):
    """A terminal that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.go.wait()
        return super().write(text)


def test_a_stuck_stream_blocks_nobody_and_what_is_dropped_is_counted() -> None:
    stream = Stuck()
    writer = LineWriter(stream, lines_max=2)
    writer.write("1\n")
    stream.reached.wait()
    for text in ("2\n", "3\n", "4\n", "5\n"):
        writer.write(text)
    assert 2 == writer.dropped
    stream.go.set()
    writer.close()
    assert "1\n2\n3\n(2 log lines were dropped: nobody read them in time)\n" == stream.getvalue()


def test_a_closed_stream_raises_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    writer = LineWriter(stream)
    writer.write("lost\n")
    writer.close()
    writer.write("lost too\n")
