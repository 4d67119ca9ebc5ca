"""New random scenarios by seed: only what has one right answer in OTP, see README.md."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = Any

PERIOD_S = 10
ADVANCES_S = (4, 20)  # no sum of them comes within a second of the period, which OTP rounds
ENDS = ("normal", "shutdown", ["shutdown", "x"], "boom", "boom", "boom")
FAILED_STARTS = (["error", "e1"], ["error", "e2"], ["raise", "r1"])
ANSWERS: tuple[dict[str, Json], ...] = (
    *({}, {}, {}, {}),
    {"shutdown": "brutal_kill"},
    {"shutdown": "infinity"},
    {"shutdown": 15, "on_stop": "ignore"},
    {"on_stop": ["delay", 5]},
    {"on_stop": ["exit", "normal"]},
    {"on_stop": ["exit", ["shutdown", "bye"]]},
    {"on_stop": ["exit", "oops"]},
)
RESTARTS = ("permanent", "permanent", "transient", "temporary")
GROUPS = ("one_for_one", "one_for_all", "rest_for_one")


def scenario(seed: int) -> Json:
    """Return the scenario of a seed: a tree of up to three levels and up to ten steps."""
    return Author(random.Random(seed)).write(f"seed {seed}")


@define
class Author:
    """Writes one scenario."""

    chance: random.Random
    nodes: dict[str, Json] = field(factory=dict)  # static ones, by path
    added: list[str] = field(factory=list)  # workers started through the API
    dynamic: list[str] = field(factory=list)
    script: list[Json] = field(factory=list)
    serial: int = 0

    def write(self, name: str) -> Json:
        tree = self.supervisor("root", "root", levels=2)
        plan: dict[str, Json] = {}
        if self.workers() and self.chance.random() < 0.15:
            outcome = self.chance.choice(("ignore", *FAILED_STARTS))
            plan[self.chance.choice(self.workers())] = [outcome]
        steps = (self.end, self.end, self.bad_restart, self.several, self.advance, self.api)
        for _ in range(self.chance.randint(3, 9)):
            self.chance.choice(steps)()
        if self.chance.random() < 0.5:
            self.script.append(["stop"])
        return {"id": name, "tree": tree, "plan": plan, "script": self.script}

    # -- the tree ------------------------------------------------------------------------------

    def supervisor(self, key: str, path: str, levels: int) -> Json:
        simple = path != "root" and self.chance.random() < 0.2
        spec: Json = {
            "id": key,
            "strategy": "simple_one_for_one" if simple else self.chance.choice(GROUPS),
            "intensity": self.chance.choice((0, 1, 2, 2, 3, 5, 8)),
            "period": PERIOD_S,
        }
        if path != "root":
            spec["restart"] = self.chance.choice(RESTARTS)
        self.nodes[path] = spec
        if simple:
            spec["children"] = [self.worker("t", cares=False)]
            return spec
        cares = self.chance.random() < 0.3
        if cares:
            spec["auto_shutdown"] = self.chance.choice(("any_significant", "all_significant"))
        count = self.chance.randint(1 if path == "root" else 0, 4)
        spec["children"] = [self.child(path, number, levels, cares) for number in range(count)]
        return spec

    def child(self, path: str, number: int, levels: int, cares: bool) -> Json:
        if levels and self.chance.random() < 0.3:
            spec = self.supervisor(f"s{number}", f"{path}/s{number}", levels - 1)
            if cares and spec["restart"] != "permanent":
                spec["significant"] = self.chance.random() < 0.5
            return spec
        spec = self.worker(f"w{number}", cares=cares)
        self.nodes[f"{path}/w{number}"] = spec
        return spec

    def worker(self, key: str, *, cares: bool) -> Json:
        spec = {
            "id": key,
            "restart": self.chance.choice(RESTARTS),
            **self.chance.choice(ANSWERS),
        }
        if cares and spec["restart"] != "permanent":
            spec["significant"] = self.chance.random() < 0.6
        return spec

    # -- what there is -------------------------------------------------------------------------

    def workers(self) -> list[str]:
        static = [path for path, spec in self.nodes.items() if "children" not in spec]
        return [*static, *self.added, *self.dynamic]

    def supervisors(self) -> list[str]:
        return [path for path, spec in self.nodes.items() if "children" in spec]

    def keys_below(self, path: str) -> Iterator[str]:
        for worker in (*self.nodes, *self.added):
            above, _, key = worker.rpartition("/")
            if above == path:
                yield key

    # -- the steps -----------------------------------------------------------------------------

    def end(self) -> None:
        if self.workers():
            path = self.chance.choice(self.workers())
            if self.chance.random() < 0.1:
                self.script.append(["kill", path])
            else:
                self.script.append(["exit", path, self.chance.choice(ENDS)])

    def bad_restart(self) -> None:
        if self.workers():
            path = self.chance.choice(self.workers())
            outcomes: list[Json] = self.chance.choices(FAILED_STARTS, k=self.chance.randint(1, 3))
            if path not in self.dynamic and self.chance.random() < 0.3:
                outcomes.append("ignore")  # of a dynamic child it means another thing since OTP 27
            self.script += [["plan", path, outcomes], ["exit", path, "boom"]]

    def several(self) -> None:
        path = self.chance.choice(self.supervisors())
        below = [worker for worker in self.workers() if worker.rpartition("/")[0] == path]
        if len(below) < 2:
            return
        victims = self.chance.sample(below, k=self.chance.randint(2, min(4, len(below))))
        for victim in victims:
            if self.chance.random() < 0.35:
                self.script.append(["plan", victim, [self.chance.choice(FAILED_STARTS)]])
        deaths = [[victim, self.chance.choice((*ENDS, "kill"))] for victim in victims]
        self.script.append(["multi", path, deaths])

    def advance(self) -> None:
        self.script.append(["advance", self.chance.choice(ADVANCES_S)])

    def api(self) -> None:
        path = self.chance.choice(self.supervisors())
        if self.nodes[path]["strategy"] == "simple_one_for_one":
            self.dynamic_api(path)
        elif self.chance.random() < 0.25:
            self.start_child(path)
        else:
            calls = ("terminate_child", "terminate_child", "restart_child", "delete_child")
            key = self.chance.choice([*self.keys_below(path), "nobody"])
            self.script.append([self.chance.choice(calls), path, key])

    def dynamic_api(self, path: str) -> None:
        own = [child for child in self.dynamic if child.rpartition("/")[0] == path]
        if own and self.chance.random() < 0.3:
            key = self.chance.choice(own).rpartition("/")[2]
            self.script.append(["terminate_dyn", path, key])
        elif self.chance.random() < 0.1:
            calls = ("terminate_child", "restart_child", "delete_child")
            self.script.append([self.chance.choice(calls), path, "t"])
        else:
            self.serial += 1
            self.dynamic.append(f"{path}/d{self.serial}")
            self.script.append(["start_dyn", path, f"d{self.serial}"])

    def start_child(self, path: str) -> None:
        taken = list(self.keys_below(path))
        if taken and self.chance.random() < 0.35:
            key = self.chance.choice(taken)
        else:
            self.serial += 1
            key = f"n{self.serial}"
            self.added.append(f"{path}/{key}")
            if self.chance.random() < 0.15:
                outcome = self.chance.choice(("ignore", *FAILED_STARTS))
                self.script.append(["plan", f"{path}/{key}", [outcome]])
        spec = self.worker(key, cares="auto_shutdown" in self.nodes[path])
        self.script.append(["start_child", path, spec])
