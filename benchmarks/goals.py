"""The goals: bounds on our figures, or on their ratio to a floor or a peer of the same round."""

from __future__ import annotations

from attrs import frozen
from typing_extensions import override

from benchmarks.asyncio_actors import ASYNCIO
from benchmarks.catalogue import (
    ASK,
    FAN_IN,
    GROWTH_RESTART,
    GROWTH_START,
    GROWTH_STOP,
    IDLE,
    LATE_HUNDRED,
    LATE_ONE,
    RESTART,
    START_STOP,
    TELL,
    Better,
    Metric,
)
from benchmarks.erlang import ERLANG
from benchmarks.floors import L1, L5, L7

OURS = "ours"
PYKKA = "pykka"


@frozen
class Goal:
    """A bound on one of our figures.

    Attributes:
      against: the contender that ours is divided by; None: the bound is on the figure itself.
      bound: at least this where higher is better, at most this where lower is.
    """

    metric: Metric
    against: str | None
    bound: float

    def met(self, value: float) -> bool:
        """Tell whether a ratio (or a figure) keeps the bound."""
        return value >= self.bound if self.metric.better is Better.HIGHER else value <= self.bound

    @override
    def __str__(self) -> str:
        sign = ">=" if self.metric.better is Better.HIGHER else "<="
        unit = "x" if self.against else f" {self.metric.unit}"
        return f"{sign} {self.bound:,g}{unit}"


GOALS = (
    Goal(TELL, L1, 0.5),
    Goal(TELL, PYKKA, 10.0),
    Goal(ASK, L7, 1.5),
    Goal(FAN_IN, ASYNCIO, 2.0),
    Goal(START_STOP, L5, 2.0),
    Goal(IDLE, None, 8.0),
    Goal(RESTART, ERLANG, 1.0),
    Goal(LATE_ONE, None, 2_000.0),
    Goal(LATE_HUNDRED, None, 10_000.0),
    Goal(GROWTH_START, None, 13.0),
    Goal(GROWTH_STOP, None, 13.0),
    Goal(GROWTH_RESTART, None, 13.0),
)
