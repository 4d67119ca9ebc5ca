"""Walk, check and draw a tree before anything runs.

    >>> from ringfence.supervisors import Intensity, Supervisor
    >>> for problem in check(Supervisor("desk", intensity=Intensity(restarts_max=-1))):
    ...     print(problem)
    desk: intensity.restarts_max = -1: must be a whole number of restarts, 0 to 1,000,000,000; \
write restarts_max=3, or 0 to give up at the first failure

A problem says where (``address: field``), what stands there, the rule and the fix. A child whose id
cannot be part of an address is called by its place, such as ``desk[2]``. All problems are found at
once, and none is found by starting something.

Pure: no clock, no I/O, no scheduling.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import field, frozen

from ringfence.actors.actor import Actor
from ringfence.actors.errors import Problem, SpecError
from ringfence.supervisors.arguments import names_in, start_problems
from ringfence.supervisors.checks import (
    Shown,
    combination_problems,
    field_problems,
    number,
    problem_with_id,
    shown,
)
from ringfence.supervisors.drawing import drawing
from ringfence.supervisors.spec import (
    AutoShutdown,
    Child,
    DynamicSupervisor,
    Spec,
    Start,
    Supervisor,
    SupervisorSpec,
)

DEPTH_MAX: Final = 64
"""Levels of supervisors. Real trees have five; more is a tree that was built by a mistake."""

TEMPLATE: Final = "*"
"""Stands for the key of a child of a `DynamicSupervisor` in addresses of `walk`."""


@frozen(eq=False)
class Node:
    """One spec in its place.

    Attributes:
      address: ids from the root down, joined by "/".
      spec: what stands there.
      above: the supervisors above it, the root first.
      named: every id on the way is good, so that ``address`` is what the running system uses.
    """

    address: str
    spec: Spec
    above: tuple[SupervisorSpec, ...] = ()
    named: bool = True

    @property
    def template(self) -> bool:
        """Whether it is the template of a dynamic supervisor."""
        return bool(self.above) and isinstance(self.above[-1], DynamicSupervisor)


@frozen
class _Family:
    """The children of one supervisor: those to go on with, and what is wrong with the list."""

    nodes: list[Node] = field(factory=list)
    problems: list[Problem] = field(factory=list)


def walk(tree: SupervisorSpec) -> Iterator[tuple[str, Spec]]:
    """Yield (address, spec) of the whole tree in start order, each supervisor before its children.

    The template of a dynamic supervisor has ``*`` for its key.
    """
    for node, _ in _visit(tree):
        yield node.address, node.spec


def check(tree: object) -> list[Problem]:
    """Return all problems of a tree, in the order of the tree; empty: it can be started.

    Never raises, whatever ``tree`` is and whatever stands in its fields.
    """
    if not isinstance(tree, Supervisor | DynamicSupervisor):
        return [_no_tree(tree)]
    problems: list[Problem] = []
    nodes: list[Node] = []
    for node, family in _visit(tree):
        nodes.append(node)
        problems += _node_problems(node)
        problems += family.problems
    problems += _name_problems(nodes)
    return problems


def warnings(tree: SupervisorSpec) -> list[Problem]:
    """Return what is legal in a sound tree and probably not meant."""
    found = []
    for node, _ in _visit(tree):
        spec = node.spec
        if spec.exhausted is not None and spec.budget is None:
            path = f"{node.address}: exhausted"
            rule = "has no effect without a budget"
            fix = "add budget=Intensity(...), or leave it out"
            found.append(Problem(path, shown(spec.exhausted), rule, fix))
        if isinstance(spec, SupervisorSpec):
            need_s, grace_s = _children_need_s(spec), number(spec.shutdown_s)
            if grace_s is not None and grace_s < need_s:
                needs = "for ever" if need_s == math.inf else f"up to {need_s:g} s"
                rule = f"its children may take {needs} to stop; after this they are all cancelled"
                path = f"{node.address}: shutdown_s"
                found.append(Problem(path, grace_s, rule, "write INFINITY, or shorten theirs"))
    return found


def render(tree: SupervisorSpec) -> str:
    """Draw a sound tree as text, one line per spec: what runs, when it is restarted, its bounds."""
    return drawing(tree)


def require_sound(tree: object) -> None:
    """Raise `SpecError` with all problems of a tree."""
    problems = check(tree)
    if problems:
        raise SpecError(problems)


def require_sound_child(
    spec: Spec, key: str, start: Start | None, *, supervisor: SupervisorSpec, path: str
) -> None:
    """Raise `SpecError` with all problems of a child to be added below ``path``.

    Names in its arguments are not looked up: what they name may be added later, too.
    """
    problems = list(_added(spec, key, start, supervisor, path))
    if problems:
        raise SpecError(problems)


def _added(
    spec: object, key: object, start: object, supervisor: SupervisorSpec, path: str
) -> Iterator[Problem]:
    if isinstance(supervisor, DynamicSupervisor):
        # Its template was checked with the tree; new are the key and the arguments behind it.
        bad = problem_with_id(key)
        if bad is not None:
            yield Problem(f"{path}[new]: key", shown(key), *bad)
        address = f"{path}/{key}" if bad is None else f"{path}[new]"
        yield from start_problems(f"{address}: start", start)
        return
    if not isinstance(spec, Child | Supervisor | DynamicSupervisor):
        yield _no_child(f"{path}[new]", spec)
        return
    named = problem_with_id(key) is None
    top = Node(f"{path}/{key}" if named else f"{path}[new]", spec, (supervisor,), named=named)
    for node, family in _visit_from(top):
        yield from _node_problems(node)
        yield from family.problems


# -- walking -----------------------------------------------------------------------------------


def _visit(tree: SupervisorSpec) -> Iterator[tuple[Node, _Family]]:
    named = problem_with_id(tree.id) is None
    return _visit_from(Node(tree.id if named else "tree", tree, named=named))


def _visit_from(top: Node) -> Iterator[tuple[Node, _Family]]:
    """Yield every node, with its family, in start order. No recursion: a tree may be too deep."""
    waiting = [top]
    while waiting:
        node = waiting.pop()
        family = _family(node)
        yield node, family
        waiting.extend(reversed(family.nodes))


def _family(node: Node) -> _Family:
    family = _Family()
    spec = node.spec
    if isinstance(spec, DynamicSupervisor):
        _add_template(node, spec, family)
    elif isinstance(spec, Supervisor):
        _add_children(node, spec, family)
    return family


def _add_template(node: Node, spec: DynamicSupervisor, family: _Family) -> None:
    template: object = spec.template
    if isinstance(template, Child):
        address = f"{node.address}/{TEMPLATE}"
        family.nodes.append(Node(address, template, (*node.above, spec), named=node.named))
    else:
        path = f"{node.address}: template"
        fix = "write template=Child('one', Start(Feed))"
        family.problems.append(Problem(path, shown(template), "must be a Child", fix))


def _add_children(node: Node, spec: Supervisor, family: _Family) -> None:
    children = _listed(spec.children)
    if children is None:
        rule, fix = "must be a list of Child and Supervisor", "write children=[Child(...), ...]"
        path = f"{node.address}: children"
        family.problems.append(Problem(path, shown(spec.children), rule, fix))
        return
    above = (*node.above, spec)
    taken: dict[str, int] = {}
    for index, child in enumerate(children):
        place = f"{node.address}[{index}]"
        if not isinstance(child, Child | Supervisor | DynamicSupervisor):
            family.problems.append(_no_child(place, child))
            continue
        if any(child is one for one in above):
            rule, fix = "is nested in itself, without end", "take it out of its own children"
            family.problems.append(Problem(place, shown(child), rule, fix))
            continue
        if isinstance(child, SupervisorSpec) and len(above) >= DEPTH_MAX:
            rule = f"is nested more than {DEPTH_MAX} levels deep"
            family.problems.append(Problem(place, shown(child), rule, "flatten the tree"))
            continue
        named = problem_with_id(child.id) is None
        if named and child.id in taken:
            named = False
            rule = f"child {taken[child.id]} of {node.address} has the same id"
            fix = f"give one of them another id, such as {child.id + '_2'!r}"
            family.problems.append(Problem(f"{place}: id", shown(child.id), rule, fix))
        elif named:
            taken[child.id] = index
        address = f"{node.address}/{child.id}" if named else place
        family.nodes.append(Node(address, child, above, named=node.named and named))


def _listed(children: object) -> list[object] | None:
    """Return the children as a list; ``None`` if they are no sequence, or one that fails."""
    if not isinstance(children, Sequence) or isinstance(children, str | bytes | bytearray):
        return None
    try:
        return list(children)
    except Exception:  # noqa: BLE001 - somebody else's sequence class
        return None


# -- what can be wrong with one node -----------------------------------------------------------


def _node_problems(node: Node) -> Iterator[Problem]:
    spec, address = node.spec, node.address
    bad = problem_with_id(spec.id)
    if bad is not None:
        yield Problem(f"{address}: id", shown(spec.id), *bad)
    yield from field_problems(address, spec)
    if node.above:
        parent = node.above[-1]
        auto = parent.auto_shutdown if isinstance(parent, Supervisor) else AutoShutdown.NEVER
        yield from combination_problems(address, spec, auto, dynamic=node.template)
    if isinstance(spec, Child):
        yield from start_problems(f"{address}: start", spec.start, partial=node.template)


def _no_tree(value: object) -> Problem:
    fix = "write Supervisor('desk', children=[Child('feed', Start(Feed))])"
    if isinstance(value, Child):
        fix = "put it below a supervisor: Supervisor('desk', children=[...])"
    elif isinstance(value, type) and issubclass(value, Actor):
        fix = f"write Supervisor('desk', children=[{_wrapped(value)}])"
    return Problem("tree", shown(value), "a tree is a Supervisor or a DynamicSupervisor", fix)


def _no_child(place: str, value: object) -> Problem:
    rule = "a child is a Child, a Supervisor or a DynamicSupervisor"
    fix = "write Child('feed', Start(Feed))"
    if isinstance(value, Start):
        fix = f"wrap it: {_wrapped(value.cls)}"
    elif isinstance(value, type) and issubclass(value, Actor):
        fix = f"wrap it: {_wrapped(value)}"
    elif isinstance(value, Actor):
        fix = f"give the class, not an object: {_wrapped(type(value))}"
    return Problem(place, shown(value), rule, fix)


def _wrapped(cls: object) -> str:
    name = getattr(cls, "__name__", "Feed")
    return f"Child({str(name).lower()!r}, Start({name}))"


# -- what can be wrong between nodes -----------------------------------------------------------


def _name_problems(nodes: list[Node]) -> Iterator[Problem]:
    """Yield the names in arguments that nothing in the tree has."""
    actors = [node.address for node in nodes if isinstance(node.spec, Child) and not node.template]
    open_ended = tuple(
        f"{node.address}/" for node in nodes if isinstance(node.spec, DynamicSupervisor)
    )
    supervisors = [node.address for node in nodes if isinstance(node.spec, SupervisorSpec)]
    known = dict.fromkeys(actors)
    for node in nodes:
        start: object = node.spec.start if isinstance(node.spec, Child) else None
        for where, name in names_in(start):
            target: object = name.path
            path = f"{node.address}: start.{where}"
            if not isinstance(target, str):
                yield Problem(path, shown(target), "the path of a Name is text", _wanted(actors))
            elif target in known or (open_ended and target.startswith(open_ended)):
                continue
            elif target in supervisors:
                rule = "is a supervisor, which takes no messages"
                below = [actor for actor in actors if actor.startswith(f"{target}/")]
                yield Problem(path, Shown(f"Name({target!r})"), rule, _wanted(below or actors))
            else:
                rule = "no actor of this tree has this address"
                fix = _nearest(target, actors)
                yield Problem(path, Shown(f"Name({target!r})"), rule, fix)


def _nearest(target: str, actors: list[str]) -> str:
    close = difflib.get_close_matches(target, actors, n=1)
    return f"did you mean {close[0]!r}?" if close else _wanted(actors)


def _wanted(actors: list[str]) -> str:
    return f"write the address of an actor, such as {actors[0]!r}" if actors else "leave it out"


# -- how long stopping may take ----------------------------------------------------------------


def _children_need_s(spec: SupervisorSpec) -> float:
    """Return the seconds the children may take to stop: one after the other, or all at once."""
    if isinstance(spec, DynamicSupervisor):
        return _need_s(spec.template)
    children = spec.children if isinstance(spec, Supervisor) else ()
    return math.fsum(_need_s(child) for child in children)


def _need_s(spec: Spec) -> float:
    grace_s = number(spec.shutdown_s) if isinstance(spec, Child | SupervisorSpec) else 0.0
    if grace_s is None:  # BRUTAL_KILL
        return 0.0
    if isinstance(spec, SupervisorSpec):
        return min(grace_s, _children_need_s(spec))
    return grace_s
