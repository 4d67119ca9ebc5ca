"""Walk, check and draw a tree before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringfence.actors.errors import Problem, SpecError

if TYPE_CHECKING:
    from ringfence.supervisors.spec import Spec, Start, SupervisorSpec


def check(tree: object) -> list[Problem]:
    """Return all problems of a tree."""
    return []


def require_sound(tree: object) -> None:
    """Raise `SpecError` with all problems of a tree."""
    problems = check(tree)
    if problems:
        raise SpecError(problems)


def require_sound_child(
    spec: Spec, key: str, start: Start | None, *, supervisor: SupervisorSpec, path: str
) -> None:
    """Raise `SpecError` with all problems of a child to be added below ``path``."""
