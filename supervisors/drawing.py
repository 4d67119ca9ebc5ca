"""Draws a tree as text: the same tree gives the same text, so it can be compared in a test.

It checks nothing; draw a tree only after it was found sound.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ringfence.supervisors.spec import (
    AutoShutdown,
    BrutalKill,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    Spec,
    Supervisor,
    SupervisorSpec,
)


def drawing(tree: SupervisorSpec) -> str:
    """Return the drawing: ids and lines on the left, what they mean on the right."""
    rows = list(_rows(tree, "", ""))
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"{left:<{width}}  {right}" for left, right in rows)


def _rows(spec: Spec, lead: str, below: str) -> Iterator[tuple[str, str]]:
    yield f"{lead}{spec.id}", _described(spec, root=not lead)
    if isinstance(spec, DynamicSupervisor):
        yield f"{below}└─ *", _described(spec.template, root=False)
        return
    children = spec.children if isinstance(spec, Supervisor) else ()
    for index, child in enumerate(children):
        last = index == len(children) - 1
        branch, line = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _rows(child, f"{below}{branch}", f"{below}{line}")


def _described(spec: Spec, *, root: bool) -> str:
    if isinstance(spec, Child):
        cls = spec.start.cls
        parts = [getattr(cls, "__name__", type(cls).__name__), spec.restart.value]
    else:
        assert isinstance(spec, SupervisorSpec), "a spec is a child or a supervisor"
        strategy = spec.strategy.value if isinstance(spec, Supervisor) else "dynamic"
        parts = [strategy, budget(spec.intensity)]
        if isinstance(spec, DynamicSupervisor):
            parts.append(f"{spec.children_max} children at most")
        if isinstance(spec, Supervisor) and spec.auto_shutdown is not AutoShutdown.NEVER:
            parts.append(f"auto_shutdown {spec.auto_shutdown.value}")
        if not root and spec.restart is not Restart.PERMANENT:
            parts.append(spec.restart.value)
    assert isinstance(spec, Child | SupervisorSpec), "a spec is a child or a supervisor"
    if isinstance(spec, Child) or spec.shutdown_s != math.inf:
        parts.append(_shutdown(spec.shutdown_s))
    if spec.significant:
        parts.append("significant")
    if spec.budget is not None:
        parts.append(f"own budget {budget(spec.budget)}")
    return ", ".join(parts)


def budget(intensity: Intensity) -> str:
    """Return a restart budget in words."""
    restarts = "restart" if intensity.restarts_max == 1 else "restarts"
    return f"{intensity.restarts_max} {restarts} in {intensity.period_s:g} s"


def _shutdown(shutdown_s: float | BrutalKill) -> str:
    if isinstance(shutdown_s, BrutalKill):
        return "brutal_kill"
    return "waits for its stop" if shutdown_s == math.inf else f"stops in {shutdown_s:g} s"
