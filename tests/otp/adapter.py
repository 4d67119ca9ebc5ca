"""Run supervision scenarios on Ringfence and write down what happened, in Erlang's words.

    python tests/otp/adapter.py scenarios.jsonl > ours.jsonl

A scenario is a tree, the outcomes of its starts, and a script of deaths and calls; README.md in
this folder describes both formats. The tree is real: real actors below real supervisors with the
policy `OTP`, on a virtual clock. This file translates names and reasons. It never reorders, adds
or drops an event, so a trace that equals Erlang's says something about the supervisors.
"""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from ringfence.actors import Exit, Failed, Name, Shutdown
from ringfence.actors.errors import ActorDown, ChildRefused, GaveUpWhy, StartFailed
from ringfence.actors.errors import SupervisorFailed as GaveUp
from ringfence.actors.events import (
    ActorEnded,
    ActorIgnored,
    ActorStarted,
    ActorStartFailed,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildTerminated,
    Event,
    SupervisorEnded,
    SupervisorGaveUp,
    SupervisorStarted,
    SupervisorStarting,
)
from ringfence.actors.kernel import Kernel
from ringfence.runtime.system import System
from ringfence.supervisors.control import SupervisorRef
from ringfence.supervisors.decide import Status

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for when this file is the program

from tests.otp.workers import (
    Built,
    Die,
    Json,
    Plan,
    Scripted,
    Starting,
    Worker,
    child_of,
    supervisor_of,
    templates_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from ringfence.supervisors.child import Call
    from ringfence.supervisors.control import ChildInfo, ChildUp

STEP_S = 0.005  # how far the clock goes while somebody waits for a time to come


BATCH = 100  # scenarios in one trio run: starting trio takes as long as running a small tree


# -- what is written down ----------------------------------------------------------------------


def reason_of_exit(exit_: Exit) -> Json:
    """Write an exit as OTP writes an exit reason."""
    match exit_:
        case Failed(error):
            return reason_of(error)
        case Shutdown(str() as detail):
            return ["shutdown", detail]
        case _:
            return str(exit_)


def reason_of(error: BaseException) -> Json:
    """Write an error as OTP writes an exit reason."""
    if isinstance(error, Scripted):
        return error.reason
    if isinstance(error, GaveUp) and error.why is GaveUpWhy.START_FAILED:
        failed = error.exceptions[0]
        assert isinstance(failed, StartFailed), "what made it give up comes first"
        child = failed.path.rpartition("/")[2]
        return ["shutdown", ["failed_to_start_child", child, reason_of(failed)]]
    if isinstance(error, StartFailed) and error.__cause__ is not None:
        return reason_of(error.__cause__)
    return repr(error)


@define
class Trace:
    """Listens to the event stream and writes events in the words of the trace."""

    templates: dict[str, str]
    events: list[Json] = field(factory=list)
    supervisors: dict[str, None] = field(factory=dict)  # those that are up
    root_exit: Exit | None = None

    def hear(self, event: Event) -> None:
        match event:
            case ActorStarted():
                self.write("start", event)
            case ActorEnded():
                self.write("exit", event, r=reason_of_exit(event.exit))
            case ChildStarted():
                self.events.append({"t": "progress", "p": event.path, "c": event.child})
            case ChildTerminated():
                self.report("child_terminated", event.path, event.child, reason_of_exit(event.exit))
            case SupervisorStarting():
                self.write("init", event)
            case SupervisorStarted():
                self.supervisors[event.path] = None
            case SupervisorEnded():
                self.supervisors.pop(event.path, None)
                self.write("exit", event, r=reason_of_exit(event.exit))
                if "/" not in event.path:
                    self.root_exit = event.exit
            case ActorStartFailed():
                self.write("start_fail", event, r=reason_of(event.error))
            case ActorIgnored():
                self.write("ignore", event)
            case ChildStartFailed():
                self.report("start_error", event.path, event.child, reason_of(event.error))
            case ChildStopFailed():
                self.report("shutdown_error", event.path, event.child, reason_of_exit(event.exit))
            case SupervisorGaveUp():
                why = "reached_max_restart_intensity"
                self.report("shutdown", event.path, event.child, why)
            case _:
                pass  # what OTP has no word for: restarts that wait, proofs of stops, incidents

    def write(self, kind: str, event: Any, **more: Json) -> None:
        self.events.append({"t": kind, "p": event.path, "i": event.incarnation, **more})

    def report(self, kind: str, path: str, child: str, reason: Json) -> None:
        child = self.templates.get(path, child)
        self.events.append({"t": "report", "x": kind, "p": path, "c": child, "r": reason})

    def take(self) -> list[Json]:
        events, self.events = self.events, []
        return events


# -- one scenario ------------------------------------------------------------------------------


@define
class Run:
    """One scenario on a running tree."""

    system: System
    plan: Plan
    trace: Trace

    async def step(self, step: Json) -> Json:
        """Do one step of the script; return the answer of the call, as OTP's API gives it."""
        match step:
            case ["exit", path, reason]:
                return self.kill(path) if reason == "kill" else self.tell(path, reason)
            case ["kill", path]:
                return self.kill(path)
            case ["multi", path, deaths]:
                return await self.together(path, deaths)
            case ["plan", path, outcomes]:
                self.plan.add(path, outcomes)
                return "ok"
            case ["advance", seconds]:
                await trio.sleep(seconds)
                return "ok"
            case ["stop"]:
                return await self.stop()
            case ["start_child", path, spec]:
                child = child_of(spec, f"{path}/{spec['id']}", self.plan)
                return await self.call(path, lambda ref: ref.start_child(child))
            case ["start_dyn", path, key]:
                return await self.call(path, lambda ref: ref.start_child(key, f"{path}/{key}"))
            case ["terminate_dyn", path, key]:
                if self.find(f"{path}/{key}") is None:
                    return "noproc"
                return await self.call(path, lambda ref: ref.terminate_child(key))
            case ["terminate_child", path, key]:
                return await self.call(path, lambda ref: ref.terminate_child(key))
            case ["restart_child", path, key]:
                return await self.call(path, lambda ref: ref.restart_child(key))
            case ["delete_child", path, key]:
                return await self.call(path, lambda ref: ref.delete_child(key))
            case _:
                raise ValueError(step)

    async def call(self, path: str, do: Callable[[SupervisorRef], Awaitable[object]]) -> Json:
        """Call the API; write its answer as OTP gives it."""
        if path not in self.trace.supervisors:
            return "noproc"
        try:
            answer = await do(self.system.supervisor(path))
        except ChildRefused as refused:
            return ["error", refused.refusal]
        except StartFailed as failed:
            return ["error", reason_of(failed)]
        except ActorDown:
            return "noproc"
        if answer is None:
            return "ok"
        up: ChildUp[Any] = answer  # type: ignore[assignment]
        return ["ok", "undefined" if up.ignored else "pid"]

    def find(self, path: str) -> ChildInfo | None:
        """Return the running worker of this path."""
        parent = path.rpartition("/")[0]
        if parent not in self.trace.supervisors:
            return None
        for info in self.system.supervisor(parent).which_children():
            if info.path == path and info.status is Status.RUNNING and not info.supervisor:
                return info
        return None

    def tell(self, path: str, reason: Json) -> Json:
        if self.find(path) is None:
            return "noproc"
        self.system.ref(Name[Die](path)).tell(Die(reason))
        return "ok"

    def kill(self, path: str) -> Json:
        if self.find(path) is None:
            return "noproc"
        parent, _, key = path.rpartition("/")
        self.system.supervisor(parent).kill_child(key)
        return "ok"

    async def together(self, path: str, deaths: Iterable[Json]) -> Json:
        """Let children die one after another while their supervisor looks at none of it."""
        if path not in self.trace.supervisors:
            return "noproc"
        answers = []
        async with held(self.system.supervisor(path)):
            for victim, reason in deaths:
                answers.append(await self.step(["exit", victim, reason]))
                await wait_all_tasks_blocked()
        return answers

    async def stop(self) -> Json:
        self.system.stop()
        await self.settled()
        assert self.trace.root_exit is not None, "it was asked to end"
        return reason_of_exit(self.trace.root_exit)

    async def settled(self) -> None:
        """Wait until nobody does anything, nor waits for a time to come."""
        await wait_all_tasks_blocked()
        while self.system.kernel.timers.pending_count():
            await trio.sleep(STEP_S)
            await wait_all_tasks_blocked()

    def state(self) -> Json:
        """Write the books of every supervisor that is up; `None` when the root has ended."""
        if self.trace.root_exit is not None:
            return None
        return [self._books(path) for path in sorted(self.trace.supervisors)]

    def _books(self, path: str) -> Json:
        ref = self.system.supervisor(path)
        counts = ref.count_children()
        dynamic = path in self.trace.templates
        return {
            "p": path,
            "n": [counts.specs, counts.active, counts.supervisors, counts.workers],
            "c": [
                [
                    "-" if dynamic else info.id,
                    _process(info),
                    "supervisor" if info.supervisor else "worker",
                ]
                for info in ref.which_children()
            ],
        }


@asynccontextmanager
async def held(ref: SupervisorRef) -> AsyncIterator[None]:
    """Keep a supervisor busy with one call: whatever happens in the block waits in its inbox."""
    begun, over = trio.Event(), trio.Event()

    async def busy(call: Call) -> None:
        begun.set()
        await over.wait()
        call.finish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref._call, ref._life(), busy)
        await begun.wait()
        yield
        over.set()


def _process(info: ChildInfo) -> Json:
    match info.status:
        case Status.RUNNING:
            return [info.path, info.incarnation]
        case Status.RESTARTING:
            return "restarting"
        case Status.STOPPED:
            return "undefined"


def kind_for(scenario: Json, prefer: type[Worker]) -> type[Worker]:
    """Return the kind of actor to play the scenario with: who may be ignored needs a hook."""
    return Starting if '"ignore"' in json.dumps([*_outcomes(scenario)]) else prefer


def _outcomes(scenario: Json) -> Iterator[Json]:
    yield from scenario.get("plan", {}).values()
    yield from (step[2] for step in scenario.get("script", ()) if step[0] == "plan")


async def trace_of(scenario: Json, prefer: type[Worker] = Built) -> Json:
    """Run one scenario inside a trio run with a virtual clock."""
    plan = Plan(kind_for(scenario, prefer))
    for path, outcomes in scenario.get("plan", {}).items():
        plan.add(path, outcomes)
    tree = scenario["tree"]
    trace = Trace(dict(templates_of(tree, tree["id"])))
    system = System(supervisor_of(tree, tree["id"], plan), Kernel())
    system.events.listen(trace.hear)
    run = Run(system, plan, trace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run_to_its_end, system)
        await run.settled()
        root = "ok" if trace.root_exit is None else ["error", reason_of_exit(trace.root_exit)]
        events = [{"t": "root_start", "r": root}, *trace.take()]
        steps = [{"n": 0, "ev": events, "st": run.state()}]
        for number, step in enumerate(scenario.get("script", ()), start=1):
            if trace.root_exit is not None:
                break
            answer = await run.step(step)
            await run.settled()
            steps.append({"n": number, "api": answer, "ev": trace.take(), "st": run.state()})
        system.cancel()
    return {"id": scenario.get("id"), "steps": steps}


async def _run_to_its_end(system: System) -> None:
    """Run the tree. A failure of the root is in the trace already, as its exit."""
    try:
        await system.run()
    except* Exception:  # noqa: BLE001, S110
        pass


def run_scenario(scenario: Json) -> Json:
    """Run one scenario from its start to its end, and return the trace."""
    return run_scenarios([scenario])[0]


def run_scenarios(scenarios: Iterable[Json], prefer: type[Worker] = Built) -> list[Json]:
    """Run scenarios, each on a tree of its own, and return the traces in the same order."""

    async def one_by_one() -> list[Json]:
        return [await trace_of(scenario, prefer) for scenario in scenarios]

    return trio.run(one_by_one, clock=MockClock(autojump_threshold=0))


def main() -> None:
    """Read scenarios from the file named on the command line, write traces to standard output."""
    scenarios = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    for first in range(0, len(scenarios), BATCH):
        for trace in run_scenarios(scenarios[first : first + BATCH]):
            sys.stdout.write(json.dumps(trace, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
