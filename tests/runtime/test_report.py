"""Reports made from real endings: the first lines, the story, no secrets."""

import pytest
import trio
from attrs import define

from ringfence.actors import Actor, Exit, Failed, Killed, Normal, Shutdown
from ringfence.actors.errors import GaveUpWhy, Hung, Severity, StartFailed, SupervisorFailed
from ringfence.runtime.exits import Ending, ExitCode, leaves, not_clean, severity_of
from ringfence.runtime.report import report, root_cause
from ringfence.runtime.system import run_async
from ringfence.runtime.tracebacks import described, traceback_text
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
        "desk gave up: a failure that may not be restarted (LOW), and nobody is above",
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
    assert isinstance(cause, LookupError)
    assert ("desk/risk/gate", "no such symbol") == (path, cause.args[0])


async def test_a_failure_while_stopping_is_not_taken_for_the_start_that_failed() -> None:
    tree = Supervisor(
        "desk",
        children=[Child("feed", Start(FailsAtStop)), Child("gate", Start(FailsAtStart))],
    )
    path, cause = root_cause(await failure_of(tree))
    assert isinstance(cause, LookupError)
    assert "desk/gate" == path


async def test_failures_while_stopping_alone_are_told_too() -> None:
    tree = Supervisor(
        "desk",
        children=[Child("feed", Start(FailsAtStop)), Child("bad", Start(Fails, OSError("x")))],
        intensity=Intensity(restarts_max=0),
    )
    error = await failure_of(tree)
    assert {"x", "socket is gone"} <= {str(leaf) for leaf in leaves(error)}


async def test_at_the_root_nobody_is_told_to_decide() -> None:
    orders = Supervisor("orders", children=[Child("gate", Start(Fails, LookupError("x")))])
    tree = Supervisor("desk", intensity=Intensity(restarts_max=0), children=[orders])
    text = "\n".join(told(await failure_of(tree), tree))
    assert "desk/orders: gave up: a failure that is for its parent to decide" in text
    alone = Supervisor("desk", children=[Child("gate", Start(Fails, LookupError("x")))])
    text = "\n".join(told(await failure_of(alone), alone))
    expected = "desk gave up: a failure that a restart cannot cure (HIGH), and nobody is above\n"
    assert text.startswith(expected)
    assert "for its parent" not in text


@define
class Ends(Actor[str]):
    async def started(self) -> None:
        self.context.after(0.01, "go")

    async def receive(self, message: str) -> None:
        self.context.stop(Normal())


async def test_a_permanent_child_that_ends_well_is_told_what_it_should_be() -> None:
    tree = Supervisor("desk", children=[Child("slow", Start(Ends))])
    text = "\n".join(told(await failure_of(tree), tree))
    assert "  severity  none: nothing failed\n" in text
    assert (
        "  cause     desk/slow ended as normal, and is permanent: "
        "make it Restart.TRANSIENT or TEMPORARY if it may end\n"
    ) in text
    assert "interrupt" not in text
    assert "cause     desk/slow: SupervisorFailed" not in text


@define
class Hangs(Actor[str]):
    async def started(self) -> None:
        self.context.after(0.01, "go")

    async def receive(self, message: str) -> None:
        await trio.sleep_forever()


async def test_where_a_child_hung_is_told_in_one_line_without_frames_of_others() -> None:
    tree = Supervisor(
        "desk",
        children=[Child("slow", Start(Hangs), hang_s=1.0)],
        intensity=Intensity(restarts_max=0),
    )
    lines = told(await failure_of(tree), tree)
    (cause,) = (line for line in lines if line.startswith("  cause"))
    code = Hangs.receive.__code__
    assert cause.endswith(f"it was at {code.co_filename}:{code.co_firstlineno + 1} in receive")
    assert any(line.endswith("; it was at:") for line in lines)
    frames = [line for line in lines if line.lstrip().startswith("File ")]
    assert [True] == [__file__ in frame for frame in frames]


def test_a_stack_of_nothing_but_frames_of_ours_is_kept() -> None:
    hung = Hung("desk/a", 1.0, f'  File "{trio.__file__}", line 1, in sleep\n    pass\n')
    assert described(hung).endswith(f"it was at {trio.__file__}:1 in sleep")
    assert f'File "{trio.__file__}", line 1, in sleep' in traceback_text(hung)


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


def proof(path: str, *, took_s: float = 1.0, cancelled: bool = False, exit_: Exit) -> StopProof:
    return StopProof(
        path=path,
        asked=True,
        answered=not cancelled,
        took_s=took_s,
        cancelled=cancelled,
        exit=exit_,
    )


def test_a_child_that_failed_while_stopping_is_not_clean() -> None:
    assert not_clean(proof("desk/a", exit_=Failed(OSError("x"))))
    assert not_clean(proof("desk/a", exit_=Killed(), cancelled=True))
    assert not not_clean(proof("desk/a", exit_=Shutdown()))


def test_who_did_not_stop_cleanly_is_told_with_what_happened_and_supervisors_only_once() -> None:
    error = OSError("socket is gone")
    group = ExceptionGroup("desk/sub stopped, but clean-up failed", [error])
    unclean = (
        proof("desk/sub/feed", exit_=Failed(error)),
        proof("desk/sub", exit_=Failed(group)),
        proof("desk/slow", took_s=7.1, cancelled=True, exit_=Killed()),
    )
    tree = Supervisor("desk")
    whole = ExceptionGroup("desk stopped, but clean-up failed", [group])
    text = report(ending(error=whole, unclean=unclean), tree)
    assert text.startswith("desk/sub/feed failed while stopping: OSError: socket is gone\n")
    assert "  cause     desk/sub/feed: OSError: socket is gone\n" in text
    assert (
        "did not stop cleanly\n"
        "  desk/sub/feed failed while stopping: OSError: socket is gone\n"
        "  desk/slow was cancelled after its grace and ended 7.1 s after it was asked\n"
    ) in text


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
