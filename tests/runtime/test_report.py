"""Reports made from real endings: the first lines, the story, no secrets."""

import pytest
from attrs import define

from ringfence.actors import Actor, Exit, Killed
from ringfence.actors.errors import GaveUpWhy, Severity, StartFailed, SupervisorFailed
from ringfence.runtime.exits import Ending, ExitCode, leaves, severity_of
from ringfence.runtime.report import report, root_cause
from ringfence.runtime.system import run_async
from ringfence.supervisors import Child, Directive, Intensity, Policy, Start, Supervisor
from ringfence.supervisors.incident import StopProof


class Quiet(Actor[str]):
    async def receive(self, message: str) -> None: ...


@define
class Fails(Actor[str]):
    error: Exception

    async def started(self) -> None:
        self.context.after(1.0, "go")

    async def receive(self, message: str) -> None:
        hidden = "s3cret"
        raise self.error from (ValueError("first") if hidden else None)


@define
class FailsAtStart(Quiet):
    async def started(self) -> None:
        raise LookupError("no such symbol")


@define
class FailsAtStop(Quiet):
    async def stopping(self, reason: Exit) -> None:
        raise OSError("socket is gone")


STRICT = Policy(directives=dict.fromkeys(Severity, Directive.ESCALATE))


async def failure_of(tree: Supervisor) -> BaseException:
    try:
        await run_async(tree)
    except Exception as error:  # noqa: BLE001 - the ending is what is looked at
        return error
    raise AssertionError("it did not fail")


def told(error: BaseException, tree: Supervisor) -> list[str]:
    return report(Ending(path=tree.id, error=error), tree).splitlines()


async def test_the_story_goes_from_the_root_cause_over_each_supervisor_to_the_last_action() -> None:
    orders = Supervisor("orders", children=[Child("gate", Start(Fails, OSError("boom")))])
    tree = Supervisor(
        "desk",
        policy=STRICT,
        children=[Child("feed", Start(FailsAtStop)), Supervisor("risk", children=[orders])],
    )
    lines = told(await failure_of(tree), tree)
    assert [
        "desk gave up: a failure that is for its parent to decide",
        "  path      desk",
        "  severity  LOW",
        "  budget    3 restarts in 5 s, 0 used",
        (
            "  action    all actors stopped; exit code 1: "
            "a failure ended it, or a child did not stop cleanly"
        ),
        "  cause     desk/risk/orders/gate: OSError: boom",
    ] == lines[:6]
    story = lines[lines.index("how it came to this") :]
    assert "  1. desk/risk/orders/gate, incarnation 1: OSError: boom" in story[1]
    steps = [line.strip().split(":")[0] for line in story if line.startswith("     ")]
    assert ["desk/risk/orders", "desk/risk", "desk"] == steps
    text = "\n".join(lines)
    assert "1 x OSError: socket is gone" in text
    assert "ValueError: first" in text
    assert "s3cret" not in text.replace('hidden = "s3cret"', "")


async def test_a_failed_start_is_followed_down_to_what_was_raised() -> None:
    tree = Supervisor(
        "desk", children=[Supervisor("risk", children=[Child("gate", Start(FailsAtStart))])]
    )
    path, cause = root_cause(await failure_of(tree))
    assert ("desk/risk/gate", "no such symbol") == (path, str(cause.args[0]))


async def test_failures_while_stopping_alone_are_told_too() -> None:
    tree = Supervisor(
        "desk",
        children=[Child("feed", Start(FailsAtStop)), Child("bad", Start(Fails, OSError("x")))],
        intensity=Intensity(restarts_max=0),
    )
    error = await failure_of(tree)
    assert {"x", "socket is gone"} <= {str(leaf) for leaf in leaves(error)}


def test_a_loop_of_causes_ends() -> None:
    looped = StartFailed("desk/a", ValueError())
    looped.__cause__ = looped
    assert ("desk/a", looped) == root_cause(looped)


def test_many_failures_are_counted_and_few_tracebacks_are_shown() -> None:
    errors = [ValueError(str(number)) for number in range(100)]
    tree = Supervisor("desk")
    error = SupervisorFailed("desk", GaveUpWhy.INTENSITY, errors)
    text = "\n".join(told(error, tree))
    assert "92 more failures are not shown" in text
    assert 8 == text.count("\ntraceback")


PROOF = StopProof(
    path="desk/feed", asked=True, answered=False, took_s=5.0, cancelled=True, exit=Killed()
)


def ending(**fields: object) -> Ending:
    return Ending(path="desk", **fields)  # type: ignore[arg-type]


def test_the_exit_code_tells_the_worst_that_is_true() -> None:
    critical = SupervisorFailed("desk", GaveUpWhy.SHUTDOWN, [ValueError()], Severity.CRITICAL)
    assert ExitCode.CLEAN is ending().code
    assert ExitCode.FAILED is ending(error=ValueError()).code
    assert ExitCode.FAILED is ending(unclean=(PROOF,)).code
    assert ExitCode.FORCED is ending(forced=True, error=ValueError()).code
    interrupted = BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()])
    assert ExitCode.FORCED is ending(error=interrupted).code
    assert ExitCode.FLAT is ending(halted=critical, flat=True, error=critical).code
    assert ExitCode.NOT_FLAT is ending(halted=critical, forced=True).code
    assert [0, 1, 2, 3, 4, 130] == list(ExitCode)
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


def test_an_interrupt_has_no_severity() -> None:
    assert severity_of(KeyboardInterrupt()) is None
    assert severity_of(ValueError()) is not None


async def test_what_run_async_raises_can_be_taken_apart() -> None:
    tree = Supervisor(
        "desk",
        children=[Child("feed", Start(FailsAtStop)), Child("bad", Start(Fails, LookupError("x")))],
        policy=STRICT,
    )
    found: list[str] = []
    try:
        await run_async(tree)
    except* LookupError as group:
        found += [str(leaf) for leaf in leaves(group)]
    except* OSError as group:
        found += [str(leaf) for leaf in leaves(group)]
    assert ["x", "socket is gone"] == found


async def test_what_run_async_raises_keeps_the_path_in_each_part() -> None:
    tree = Supervisor(
        "desk", children=[Child("bad", Start(Fails, LookupError("x")))], policy=STRICT
    )
    with pytest.RaisesGroup(LookupError) as caught:
        await run_async(tree)
    assert isinstance(caught.value, SupervisorFailed)
    part = caught.value.subgroup(LookupError)
    assert isinstance(part, SupervisorFailed)
    assert "desk" == part.path
