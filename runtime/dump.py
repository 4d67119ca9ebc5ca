"""Shows a running system as text: the tree with its state, and where every task is.

It changes nothing and waits for nothing, so it can be asked for at any time (SIGHUP).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import trio

from ringfence.actors.background import Background
from ringfence.actors.incarnation import Incarnation
from ringfence.actors.lifecycle import ActorState
from ringfence.actors.mailbox import Mailbox
from ringfence.runtime.tracebacks import is_noise, is_trio
from ringfence.supervisors.supervisor import SupervisorLife

if TYPE_CHECKING:
    from types import FrameType

    from ringfence.runtime.system import System
    from ringfence.supervisors.child import Slot

IDLE: Final = {
    Mailbox.park.__code__: "waits for messages",
    SupervisorLife.park.__code__: "waits for its children",
}
TASKS_MAX: Final = 10_000


def dump(system: System, began_s: float = 0.0) -> str:
    """Return the tree as it is now, and the stacks of all tasks that do not just wait.

    ``began_s``: when the system was started; the time of the dump is counted from there.
    """
    at_s = trio.current_time() - began_s
    lines = [f"{system.tree.id}: dump at {at_s:.3f} s", *_tree_lines(system)]
    idle: dict[str, int] = {}
    stacks = []
    for task in _tasks():
        waits, stack = _idle(task), _stack(task)
        if waits is None and stack:
            stacks += ["", f"task {task.name}", stack]
        else:
            waits = waits if waits is not None else "trio's own"
            idle[waits] = idle.get(waits, 0) + 1
    lines += ["", *(f"{count} x {waits}" for waits, count in idle.items())]
    return "\n".join([*lines, *stacks])


# -- the tree ----------------------------------------------------------------------------------


def _tree_lines(system: System) -> Iterator[str]:
    life = system.kernel.controls.get(system.tree.id)
    if isinstance(life, SupervisorLife):
        yield f"{system.tree.id}  {_supervisor_text(life)}"
        yield from _children(life, "")


def _children(life: SupervisorLife, lead: str) -> Iterator[str]:
    slots = list(life.slots.values())
    for index, slot in enumerate(slots):
        last = index == len(slots) - 1
        branch, line = ("└─ ", "   ") if last else ("├─ ", "│  ")
        inner: object = slot.life
        if isinstance(inner, SupervisorLife):
            yield f"{lead}{branch}{slot.key}  {_supervisor_text(inner)}"
            yield from _children(inner, f"{lead}{line}")
        else:
            yield f"{lead}{branch}{slot.key}  {_actor_text(life, slot)}"


def _supervisor_text(life: SupervisorLife) -> str:
    limit = life.spec.intensity
    left = limit.restarts_max - life.core.window.used(trio.current_time())
    state = "ended" if life.exit is not None else "running" if life.up else "starting"
    if life.leaving is not None and life.exit is None:
        state = "stopping"
    budget = f"{max(0, left)} of {limit.restarts_max} restarts left in {limit.period_s:g} s"
    return f"{state}, incarnation {life.number}, {budget}"


def _actor_text(life: SupervisorLife, slot: Slot) -> str:
    started = life.kernel.incarnations.get(slot.path, 0)
    member = life.core.members.get(slot.key)
    inner: object = slot.life
    state = member.status.value if member is not None else "unknown"
    waits = ""
    if isinstance(inner, Incarnation):
        state = inner.state.value
        if inner.task is not None:
            waits = f", {_idle(inner.task) or _place(inner.task)}"
    box = life.kernel.boxes.get(slot.path)
    depth = 0 if box is None else len(box.normal) + len(box.urgent or ())
    restarts = max(0, started - 1)
    return f"{state}, incarnation {started}, {restarts} restarts, {depth} messages wait{waits}"


def in_the_way(system: System) -> Iterator[str]:
    """Tell of each actor that was asked to stop and has not ended, and what it is at."""
    life = system.kernel.controls.get(system.tree.id)
    waiting: list[object] = [life]
    for inner in waiting:
        if isinstance(inner, SupervisorLife):
            waiting += [slot.life for slot in inner.slots.values()]
        elif isinstance(inner, Incarnation) and inner.leaving is not None and inner.exit is None:
            yield f"{inner.box.path} was {_leaving_text(inner)}"


def _leaving_text(life: Incarnation) -> str:
    place = "" if life.task is None else _place(life.task, "")
    if life.state is ActorState.RUNNING:
        return f"handling a message {place}".rstrip()
    if life.state is ActorState.STARTING:
        return f"in started() {place}".rstrip()
    codes = [] if life.task is None else [frame.f_code for frame, _ in _frames(life.task)]
    if Background.close.__code__ in codes:
        return "waiting for its background tasks to end"
    return f"in stopping() {place}".rstrip()


# -- tasks -------------------------------------------------------------------------------------


def _tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    for task in waiting:
        yield task
        if len(waiting) < TASKS_MAX:
            for nursery in task.child_nurseries:
                waiting.extend(sorted(nursery.child_tasks, key=lambda child: child.name))


def _frames(task: trio.lowlevel.Task) -> list[tuple[FrameType, int]]:
    return list(task.iter_await_frames())


def _idle(task: trio.lowlevel.Task) -> str | None:
    """Return what a task waits for if that is the ordinary thing."""
    codes = [frame.f_code for frame, _ in _frames(task)[-3:]]
    return next((IDLE[code] for code in codes if code in IDLE), None)


def _place(task: trio.lowlevel.Task, unknown: str = "is at work") -> str:
    """Return the innermost line of the user's own code a task is at."""
    frames = [(f, line) for f, line in _frames(task) if not is_noise(f.f_code.co_filename)]
    if not frames:
        return unknown
    frame, line = frames[-1]
    return f"at {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


def _stack(task: trio.lowlevel.Task) -> str:
    """Return where a task is, without trio's own frames; empty if there are no others."""
    frames = [(f, line) for f, line in _frames(task) if not is_trio(f.f_code.co_filename)]
    return "".join(traceback.StackSummary.extract(iter(frames)).format()).rstrip()
