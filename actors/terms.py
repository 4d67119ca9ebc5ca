"""The terms of a child: what its supervisor and its spec say about each of its incarnations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from ringfence.actors.incarnation import Incarnation


@frozen
class Terms:
    """What holds for all incarnations of one child: made once, shared by them.

    Attributes:
      spawner: the supervisor's nursery, for the keeper of background tasks.
      on_up: called when ``started()`` returned.
      on_end: called as the last act.
      may_resume: asked when a handler failed: drop the message and go on? ``None``: never.
      start_s, shutdown_s, hang_s: as in the child's spec, in seconds.
      cleans_up: whether the class has a ``stopping`` of its own.
    """

    spawner: trio.Nursery
    on_up: Callable[[Incarnation], None]
    on_end: Callable[[Incarnation], None]
    may_resume: Callable[[Exception], bool] | None = None
    start_s: float = math.inf
    shutdown_s: float = math.inf
    hang_s: float | None = None
    cleans_up: bool = True
