"""What is measured: workloads, figures, numbers of operations, contenders.

It measures nothing. A ratio is always ours divided by theirs, taken inside one round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from attrs import evolve, field, frozen


class Better(Enum):
    """Which direction of a figure is the good one."""

    HIGHER = "higher"
    LOWER = "lower"


class Role(Enum):
    """Why a contender is in the table."""

    OURS = "ours"
    FLOOR = "floor"
    PEER = "peer"


@frozen
class Metric:
    """One figure of a workload, the same for every contender."""

    workload: str
    title: str
    unit: str
    better: Better


@frozen
class Tick:
    """The message of all workloads: small, frozen, made once."""

    symbol: str
    price: float


TICK = Tick("BTC-USD", 101.5)

WORKLOADS = {
    "W1": "tell: one producer, one actor",
    "W2": "ask: sequential round trips to one actor",
    "W3": "ring: a hundred actors pass one token",
    "W4": "fan-in: fifty producers, one actor",
    "W5": "fan-out: one publisher, a hundred subscribers",
    "W6": "spawn: start and stop supervised actors",
    "W7": "restart: from the poison to the first good reply",
    "W8": "fairness: how late a 1 ms timer is beside busy actors",
    "W9": "growth: 10,000 children of one supervisor against 1,000",
}

TELL = Metric("W1", "async handler", "/s", Better.HIGHER)
TELL_SYNC = Metric("W1", "sync handler", "/s", Better.HIGHER)
SEND = Metric("W1", "send: mailbox of 1,000, backpressure", "/s", Better.HIGHER)
ASK = Metric("W2", "median, async handler", "us", Better.LOWER)
ASK_SYNC = Metric("W2", "median, sync handler", "us", Better.LOWER)
ASK_P99 = Metric("W2", "p99, async handler", "us", Better.LOWER)
HOP = Metric("W3", "hops", "/s", Better.HIGHER)
FAN_IN = Metric("W4", "tells", "/s", Better.HIGHER)
FAN_OUT = Metric("W5", "deliveries", "/s", Better.HIGHER)
START = Metric("W6", "start, one at a time", "us", Better.LOWER)
STOP = Metric("W6", "stop, one at a time", "us", Better.LOWER)
START_STOP = Metric("W6", "start + stop, one at a time", "us", Better.LOWER)
TOGETHER = Metric("W6", "start + stop, all at once", "us", Better.LOWER)
IDLE = Metric("W6", "an idle actor, of 10,000 (Python: tracemalloc)", "KiB", Better.LOWER)
RESTART = Metric("W7", "median", "us", Better.LOWER)
RESTART_P99 = Metric("W7", "p99", "us", Better.LOWER)
LATE_ONE = Metric("W8", "p99 beside one flooded actor", "us", Better.LOWER)
LATE_HUNDRED = Metric("W8", "p99 beside a hundred flooded actors", "us", Better.LOWER)
EVERY_ONE = Metric("W8", "p99 of context.every beside one", "us", Better.LOWER)
EVERY_HUNDRED = Metric("W8", "p99 of context.every beside a hundred", "us", Better.LOWER)
GROWTH_START = Metric("W9", "time to start, 10,000 / 1,000", "x", Better.LOWER)
GROWTH_STOP = Metric("W9", "time to stop, 10,000 / 1,000", "x", Better.LOWER)
GROWTH_RESTART = Metric("W9", "time of one_for_all, 10,000 / 1,000", "x", Better.LOWER)

# In the order of the table.
METRICS = (
    TELL,
    TELL_SYNC,
    SEND,
    ASK,
    ASK_SYNC,
    ASK_P99,
    HOP,
    FAN_IN,
    FAN_OUT,
    START,
    STOP,
    START_STOP,
    TOGETHER,
    IDLE,
    RESTART,
    RESTART_P99,
    LATE_ONE,
    LATE_HUNDRED,
    EVERY_ONE,
    EVERY_HUNDRED,
    GROWTH_START,
    GROWTH_STOP,
    GROWTH_RESTART,
)

Figures = Mapping[Metric, float]


@frozen
class Sizes:
    """How many operations one run of a workload has."""

    tells: int = 200_000
    asks: int = 3_000
    hops: int = 20_000
    ring: int = 100
    producers: int = 50
    subscribers: int = 100
    publishes: int = 1_000
    spawns: int = 2_000
    idle: int = 10_000
    restarts: int = 300
    timers: int = 500
    busy_s: float = 20e-6
    children_few: int = 1_000
    children_many: int = 10_000

    def divided(self, by: int) -> Sizes:
        """Make every run shorter. Rings, producers, subscribers and children stay as many."""
        shorter = {
            name: max(getattr(self, name) // by, 100)
            for name in ("tells", "asks", "hops", "publishes", "spawns", "restarts", "timers")
        }
        return evolve(self, **shorter)


Run = Callable[[Sizes], Figures]


@frozen
class Contender:
    """Something that can run workloads: ours, a floor or a peer.

    Attributes:
      runs: workload ("W1") -> the function that runs it once.
      shorter: divides the number of operations, for slow contenders; figures are per operation.
    """

    name: str
    role: Role
    runs: Mapping[str, Run] = field(factory=dict)
    shorter: int = 1

    def run(self, workload: str, sizes: Sizes) -> Figures:
        """Run one workload once."""
        return self.runs[workload](sizes if self.shorter == 1 else sizes.divided(self.shorter))
