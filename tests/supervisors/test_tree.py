"""Every rule of a tree, with the exact words a person reads; junk anywhere; names, arguments."""

import abc
import enum
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from attrs import evolve, frozen
from hypothesis import given

from ringfence.actors import Actor, MailboxSpec, Name, OnRestart, Overflow
from ringfence.actors.errors import Severity, SpecError
from ringfence.runtime.system import open_system
from ringfence.supervisors import (
    BRUTAL_KILL,
    DEFAULT,
    INFINITY,
    OTP,
    AutoShutdown,
    Backoff,
    Child,
    Directive,
    DynamicSupervisor,
    Intensity,
    Policy,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)
from ringfence.supervisors.tree import (
    DEPTH_MAX,
    check,
    render,
    require_sound,
    require_sound_child,
    walk,
    warnings,
)


class Feed(Actor[str]):
    def __init__(self, symbol: str = "BTC", *, limit: int = 1, to: object = None) -> None:
        pass

    async def receive(self, message: str) -> None: ...


class Needy(Actor[str]):
    def __init__(self, symbol: str, /, limit: Decimal) -> None:
        pass

    async def receive(self, message: str) -> None: ...


class Deaf(Actor[str]):
    pass


class Abstract(Actor[str], abc.ABC):
    async def receive(self, message: str) -> None: ...

    @abc.abstractmethod
    def price(self) -> int: ...


class NoActor:
    pass


FEED = Start(Feed)


def child(**fields: Any) -> Child:
    return Child("feed", fields.pop("start", FEED), **fields)


def desk(*children: Any, **fields: Any) -> Supervisor:
    return Supervisor("desk", children=children, **fields)


def texts(tree: object) -> list[str]:
    return [str(problem) for problem in check(tree)]


# -- one row per rule: a tree with one bad field, and all that is said about it ------------------

_SHUTDOWN = (
    "must be seconds, 0 or more, between being asked to stop and being cancelled; "
    "write shutdown_s=5.0, BRUTAL_KILL or INFINITY"
)
_SUP_SHUTDOWN = (
    "must be seconds above 0 that the whole subtree gets to stop; write INFINITY (its children "
    "have bounds of their own), or BRUTAL_KILL for no time at all"
)
_START_S = (
    "must be seconds above 0 that `started()` may take; write start_s=30.0, "
    "or INFINITY for no limit"
)
_HANG_S = (
    "must be a finite number of seconds above 0 that one message may take, or None; "
    "write hang_s=10.0, or None for no limit"
)
_RESTARTS = (
    "must be a whole number of restarts, 0 to 1,000,000,000; "
    "write restarts_max=3, or 0 to give up at the first failure"
)
_PERIOD = "must be a finite number of seconds above 0; write period_s=60.0"
_CAPACITY = (
    "must be a whole number of messages, 1 to 1,000,000,000: no mailbox is without a bound; "
    "write capacity=1000"
)
_NO_CHILD = "a child is a Child, a Supervisor or a DynamicSupervisor"
_NO_TREE = "a tree is a Supervisor or a DynamicSupervisor"
_WRITE_TREE = "write Supervisor('desk', children=[Child('feed', Start(Feed))])"
_TWICE = "child 0 of desk has the same id; give one of them another id, such as 'feed_2'"
_PERMANENT = "a permanent child is always restarted, so its end can never be significant"
_NOT_PERMANENT = "set restart=Restart.TRANSIENT or Restart.TEMPORARY"
_NEVER = "its supervisor has auto_shutdown=AutoShutdown.NEVER"
_NOT_NEVER = "give the supervisor auto_shutdown=AutoShutdown.ANY_SIGNIFICANT"
_EXHAUSTED = (
    "a spent budget can only escalate, stop the child or shut down; "
    "write Directive.ESCALATE, Directive.STOP or Directive.SHUTDOWN"
)
_STRATEGIES = (
    "RestartStrategy.ONE_FOR_ONE or RestartStrategy.ONE_FOR_ALL or RestartStrategy.REST_FOR_ONE"
)
_ID_TYPE = "an id is text; write a short text, such as 'feed'"
_ID_CLEAN = 'an id must not hold "/" or white space'


class Color(enum.Enum):
    TRANSIENT = 1


def intensity(**fields: Any) -> Supervisor:
    return desk(intensity=Intensity(**fields))


def mailbox(**fields: Any) -> Supervisor:
    return desk(child(mailbox=MailboxSpec(**fields)))


def backoff(**fields: Any) -> Supervisor:
    return desk(policy=Policy(backoff=Backoff(**fields)))


def dynamic(**fields: Any) -> DynamicSupervisor:
    return DynamicSupervisor("desk", fields.pop("template", child()), **fields)


def feed(start: Any) -> Supervisor:
    return desk(Child("feed", start))


ROWS: list[tuple[object, str]] = [
    # the root
    (None, f"tree = None: {_NO_TREE}; {_WRITE_TREE}"),
    ("desk", f"tree = 'desk': {_NO_TREE}; {_WRITE_TREE}"),
    (
        child(),
        (
            f"tree = <Child 'feed'>: {_NO_TREE}; put it below a supervisor: "
            "Supervisor('desk', children=[...])"
        ),
    ),
    (
        Feed,
        (
            f"tree = <class Feed>: {_NO_TREE}; "
            "write Supervisor('desk', children=[Child('feed', Start(Feed))])"
        ),
    ),
    (Supervisor, f"tree = <class Supervisor>: {_NO_TREE}; {_WRITE_TREE}"),
    # ids
    (Supervisor(7), f"tree: id = 7: {_ID_TYPE}"),  # type: ignore[arg-type]
    (desk(Child(None, FEED)), f"desk[0]: id = None: {_ID_TYPE}"),  # type: ignore[arg-type]
    (
        desk(Child("", FEED)),
        (
            "desk[0]: id = '': an id must not be empty: it is a part of addresses; "
            "write a name, such as 'feed'"
        ),
    ),
    (desk(Child("a/b", FEED)), f"desk[0]: id = 'a/b': {_ID_CLEAN}; write 'a_b'"),
    (desk(Child("a b\n", FEED)), f"desk[0]: id = 'a b\\n': {_ID_CLEAN}; write 'a_b'"),
    (desk(child(), child()), f"desk[1]: id = 'feed': {_TWICE}"),
    # children
    (
        desk(Feed),
        f"desk[0] = <class Feed>: {_NO_CHILD}; wrap it: Child('feed', Start(Feed))",
    ),
    (
        desk(Feed("BTC")),
        f"desk[0] = <Feed>: {_NO_CHILD}; give the class, not an object: Child('feed', Start(Feed))",
    ),
    (desk(FEED), f"desk[0] = <Start>: {_NO_CHILD}; wrap it: Child('feed', Start(Feed))"),
    (desk(None), f"desk[0] = None: {_NO_CHILD}; write Child('feed', Start(Feed))"),
    (
        Supervisor("desk", children=child()),  # type: ignore[arg-type]
        (
            "desk: children = <Child 'feed'>: must be a list of Child and Supervisor; "
            "write children=[Child(...), ...]"
        ),
    ),
    (
        Supervisor("desk", children="feed"),  # type: ignore[arg-type]
        (
            "desk: children = 'feed': must be a list of Child and Supervisor; "
            "write children=[Child(...), ...]"
        ),
    ),
    # enums and flags
    (
        desk(strategy="one_for_one"),
        (
            "desk: strategy = 'one_for_one': must be a member of RestartStrategy; "
            "write RestartStrategy.ONE_FOR_ONE"
        ),
    ),
    (
        desk(strategy=None),
        f"desk: strategy = None: must be a member of RestartStrategy; write {_STRATEGIES}",
    ),
    (
        desk(auto_shutdown="any-significant"),
        (
            "desk: auto_shutdown = 'any-significant': must be a member of AutoShutdown; "
            "write AutoShutdown.ANY_SIGNIFICANT"
        ),
    ),
    (
        desk(child(restart=Color.TRANSIENT)),
        (
            "desk/feed: restart = Color.TRANSIENT: must be a member of Restart; "
            "write Restart.TRANSIENT"
        ),
    ),
    (
        desk(child(significant="yes")),
        "desk/feed: significant = 'yes': must be True or False; significant=True",
    ),
    # significance
    (
        desk(child(significant=True), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT),
        f"desk/feed: significant = True: {_PERMANENT}; {_NOT_PERMANENT}",
    ),
    (
        desk(child(significant=True, restart=Restart.TRANSIENT)),
        f"desk/feed: significant = True: {_NEVER}; {_NOT_NEVER}",
    ),
    (
        desk(child(significant=True)),
        (
            f"desk/feed: significant = True: {_PERMANENT} and {_NEVER}; "
            f"{_NOT_PERMANENT} and {_NOT_NEVER}"
        ),
    ),
    (
        dynamic(template=child(significant=True, restart=Restart.TEMPORARY)),
        (
            "desk/*: significant = True: the children of a DynamicSupervisor cannot be "
            "significant; leave significant out"
        ),
    ),
    # intensity
    (
        desk(intensity=(3, 5)),
        (
            "desk: intensity = <tuple>: must be an Intensity; "
            "write Intensity(restarts_max=3, period_s=60.0)"
        ),
    ),
    *(
        (intensity(restarts_max=bad), f"desk: intensity.restarts_max = {bad!r}: {_RESTARTS}")
        for bad in (-1, True, 1.0, math.inf, None, "3")
    ),
    *(
        (intensity(period_s=bad), f"desk: intensity.period_s = {bad!r}: {_PERIOD}")
        for bad in (0, -1.5, math.inf, math.nan, True, None, "5")
    ),
    (
        intensity(period_s=10**400),
        f"desk: intensity.period_s = {repr(10**400)[:80]}...: {_PERIOD}",
    ),
    (
        desk(child(budget=Intensity(restarts_max=-1))),
        f"desk/feed: budget.restarts_max = -1: {_RESTARTS}",
    ),
    (
        desk(child(budget=3)),
        (
            "desk/feed: budget = 3: must be an Intensity; "
            "write Intensity(restarts_max=3, period_s=60.0)"
        ),
    ),
    # bounds in seconds
    *(
        (desk(child(shutdown_s=bad)), f"desk/feed: shutdown_s = {bad!r}: {_SHUTDOWN}")
        for bad in (-1, math.nan, -math.inf, None, "5", False)
    ),
    *(
        (desk(child(start_s=bad)), f"desk/feed: start_s = {bad!r}: {_START_S}")
        for bad in (0, -1, math.nan, None, "5", True)
    ),
    *(
        (desk(child(hang_s=bad)), f"desk/feed: hang_s = {bad!r}: {_HANG_S}")
        for bad in (0, -1, math.nan, math.inf, "5", True)
    ),
    *(
        (desk(shutdown_s=bad), f"desk: shutdown_s = {bad!r}: {_SUP_SHUTDOWN}")
        for bad in (0, -1, math.nan, None, "5", True)
    ),
    # mailbox
    (
        desk(child(mailbox=10)),
        "desk/feed: mailbox = 10: must be a MailboxSpec; write MailboxSpec(capacity=1000)",
    ),
    *(
        (mailbox(capacity=bad), f"desk/feed: mailbox.capacity = {bad!r}: {_CAPACITY}")
        for bad in (0, -1, True, 10.0, math.inf, None)
    ),
    (
        mailbox(overflow="drop oldest"),
        (
            "desk/feed: mailbox.overflow = 'drop oldest': must be a member of Overflow; "
            "write Overflow.DROP_OLDEST"
        ),
    ),
    (
        mailbox(on_restart="drop"),
        (
            "desk/feed: mailbox.on_restart = 'drop': must be a member of OnRestart; "
            "write OnRestart.DROP"
        ),
    ),
    (
        mailbox(key="symbol"),
        (
            "desk/feed: mailbox.key = 'symbol': a key is only for a mailbox that conflates; "
            "add overflow=Overflow.CONFLATE, or leave the key out"
        ),
    ),
    *(
        (
            mailbox(overflow=overflow, key=bad),
            (
                f"desk/feed: mailbox.key = {bad!r}: must be the name of a message attribute, or a "
                "function of the message; write key='symbol'"
            ),
        )
        for overflow in (Overflow.CONFLATE, Overflow.REJECT)
        for bad in ("", 7)
    ),
    # policy
    (
        desk(policy={}),
        (
            "desk: policy = <dict>: must be a Policy; "
            "write Policy(...), or None for the policy of the parent"
        ),
    ),
    (
        desk(policy=Policy(directives={Severity.LOW: Directive.RESTART})),
        (
            "desk: policy.directives = <1 rows>: says nothing about MEDIUM, HIGH, CRITICAL; "
            "use DEFAULT.with_directives({...}), which keeps the other rows"
        ),
    ),
    (
        desk(policy=Policy(directives=None)),  # type: ignore[arg-type]
        (
            "desk: policy.directives = None: must map each Severity to a Directive; "
            "write {Severity.HIGH: Directive.ESCALATE}"
        ),
    ),
    (
        desk(policy=DEFAULT.with_directives({Severity.LOW: "resume"})),  # type: ignore[dict-item]
        "desk: policy.directives[LOW] = 'resume': must be a Directive; write Directive.RESUME",
    ),
    (
        desk(child(directives={"high": Directive.STOP})),
        "desk/feed: directives key = 'high': must be a Severity; write Severity.HIGH",
    ),
    (
        desk(child(directives={Severity.LOW: None})),
        "desk/feed: directives[LOW] = None: must be a Directive; write "
        + " or ".join(f"Directive.{one.name}" for one in Directive),
    ),
    *(
        (
            desk(child(exhausted=bad, budget=Intensity())),
            f"desk/feed: exhausted = {text}: {_EXHAUSTED}",
        )
        for bad, text in [
            (Directive.RESTART, "Directive.RESTART"),
            (Directive.RESUME, "Directive.RESUME"),
            ("stop", "'stop'"),
        ]
    ),
    (
        desk(policy=Policy(backoff=1.0)),  # type: ignore[arg-type]
        "desk: policy.backoff = 1.0: must be a Backoff; write Backoff(initial_s=1.0, max_s=60.0)",
    ),
    *(
        (
            backoff(initial_s=bad),
            (
                f"desk: policy.backoff.initial_s = {bad!r}: must be seconds, 0 or more; "
                "write initial_s=1.0"
            ),
        )
        for bad in (-1, math.inf, math.nan, None)
    ),
    *(
        (
            backoff(factor=bad),
            (
                f"desk: policy.backoff.factor = {bad!r}: must be a finite number, 1 or more: "
                "a wait never shrinks; write factor=2.0"
            ),
        )
        for bad in (0.99, 0, math.inf, "2")
    ),
    *(
        (
            backoff(max_s=bad),
            (
                f"desk: policy.backoff.max_s = {bad!r}: must be a finite number of seconds, "
                "0 or more; write max_s=60.0"
            ),
        )
        for bad in (-1, math.inf, None)
    ),
    (
        backoff(initial_s=2.0, max_s=1.0),
        (
            "desk: policy.backoff.max_s = 1.0: must not be shorter than initial_s (2 s); "
            "write max_s=120"
        ),
    ),
    *(
        (
            backoff(jitter=bad),
            (
                f"desk: policy.backoff.jitter = {bad!r}: must be a share of the wait, from 0 to 1; "
                "write jitter=0.25"
            ),
        )
        for bad in (-0.1, 1.1, 25, True)
    ),
    (
        backoff(stable_s=-1),
        "desk: policy.backoff.stable_s = -1: must be seconds, 0 or more; write stable_s=60.0",
    ),
    *(
        (
            desk(policy=Policy(no_progress_max=bad)),  # type: ignore[arg-type]
            (
                f"desk: policy.no_progress_max = {bad!r}: must be a whole number of failures in a "
                "row, 1 to 1,000,000,000, or None for no limit; write no_progress_max=20"
            ),
        )
        for bad in (0, -1, 2.5, True)
    ),
    (
        desk(policy=Policy(together=1)),  # type: ignore[arg-type]
        "desk: policy.together = 1: must be True or False; together=True",
    ),
    (
        desk(policy=Policy(rules=[])),  # type: ignore[arg-type]
        "desk: policy.rules = <list>: must be Rules; write DEFAULT_RULES.extended(Rule(...))",
    ),
    # dynamic
    *(
        (
            dynamic(children_max=bad),
            (
                f"desk: children_max = {bad!r}: must be a whole number of children, "
                "1 to 1,000,000,000; write children_max=100_000"
            ),
        )
        for bad in (0, -1, True, math.inf, None)
    ),
    (
        dynamic(template=FEED),
        "desk: template = <Start>: must be a Child; write template=Child('one', Start(Feed))",
    ),
    # start
    (
        feed(Feed),
        (
            "desk/feed: start = <class Feed>: must be a Start; "
            "write Start(Feed, ...): each incarnation is built anew"
        ),
    ),
    (
        feed(None),
        (
            "desk/feed: start = None: must be a Start; "
            "write Start(Feed, ...) with the class of the actor and its arguments"
        ),
    ),
    (
        feed(Start(NoActor)),  # type: ignore[arg-type]
        (
            "desk/feed: start.cls = <class NoActor>: must be derived from Actor; "
            "write class NoActor(Actor[...])"
        ),
    ),
    (
        feed(Start("Feed")),  # type: ignore[arg-type]
        (
            "desk/feed: start.cls = 'Feed': the first argument of Start must be a class derived "
            "from Actor; write Start(Feed, ...)"
        ),
    ),
    (
        feed(Start(Deaf)),
        (
            "desk/feed: start.cls = <class Deaf>: has no `receive` of its own, so it could handle "
            "no message; write `async def receive(self, message)` in Deaf"
        ),
    ),
    (
        feed(Start(Abstract)),
        (
            "desk/feed: start.cls = <class Abstract>: is abstract: price; "
            "use a class that defines them"
        ),
    ),
    (
        feed(Start(Feed, limt=2)),  # type: ignore[call-arg]
        "desk/feed: start.limt = <int>: Feed takes no argument of this name; did you mean limit?",
    ),
    (
        feed(Start(Feed, "BTC", 2)),  # type: ignore[call-arg]
        (
            "desk/feed: start.args = <2 positional arguments>: Feed takes 1 positional arguments: "
            "symbol; leave the others out, or give them by name"
        ),
    ),
    (
        feed(Start(Feed, "BTC", symbol="BTC")),  # type: ignore[misc]
        (
            "desk/feed: start.symbol = <str>: Feed gets it twice: by position and by name; "
            "give it once"
        ),
    ),
    (
        feed(Start(Needy, "BTC")),  # type: ignore[call-arg]
        (
            "desk/feed: start.limit = <missing>: Needy needs this argument; "
            "write Start(Needy, limit=...)"
        ),
    ),
    (
        feed(Start(Needy, limit=Decimal(1))),  # type: ignore[call-arg]
        (
            "desk/feed: start.symbol = <missing>: Needy needs this argument; "
            "write Start(Needy, ...) with it in position 0"
        ),
    ),
    # names
    (
        desk(child(start=Start(Feed, to=Name[str]("desk/fed")))),
        (
            "desk/feed: start.to = Name('desk/fed'): no actor of this tree has this address; "
            "did you mean 'desk/feed'?"
        ),
    ),
    (
        desk(child(start=Start(Feed, to=Name[str]("desk")))),
        (
            "desk/feed: start.to = Name('desk'): is a supervisor, which takes no messages; "
            "write the address of an actor, such as 'desk/feed'"
        ),
    ),
    (
        desk(child(start=Start(Feed, to=Name[str](None)))),  # type: ignore[arg-type]
        (
            "desk/feed: start.to = None: the path of a Name is text; "
            "write the address of an actor, such as 'desk/feed'"
        ),
    ),
]


@pytest.mark.parametrize(("tree", "text"), ROWS, ids=[text[:60] for _, text in ROWS])
def test_one_bad_field_is_one_problem_that_says_where_what_why_and_how(
    tree: object, text: str
) -> None:
    assert [text] == texts(tree)


# -- what is good --------------------------------------------------------------------------------


@frozen
class Routes:
    target: Name[str]
    others: tuple[Name[str], ...] = ()


GOOD = [
    Supervisor("desk"),
    desk(child()),
    desk(child(shutdown_s=0)),
    desk(child(shutdown_s=BRUTAL_KILL, start_s=INFINITY)),
    desk(child(shutdown_s=INFINITY, hang_s=0.5)),
    desk(shutdown_s=BRUTAL_KILL),
    desk(intensity=Intensity(restarts_max=0, period_s=1)),
    desk(
        child(significant=True, restart=Restart.TRANSIENT),
        auto_shutdown=AutoShutdown.ALL_SIGNIFICANT,
    ),
    desk(policy=OTP),
    desk(
        policy=Policy(
            no_progress_max=None, backoff=Backoff(initial_s=0, max_s=0, stable_s=INFINITY)
        )
    ),
    desk(
        child(
            directives={Severity.LOW: Directive.RESUME},
            budget=Intensity(),
            exhausted=Directive.STOP,
        )
    ),
    mailbox(overflow=Overflow.CONFLATE, key="symbol", on_restart=OnRestart.DROP),
    mailbox(overflow=Overflow.CONFLATE, key=str),
    dynamic(template=Child("one", Start(Needy))),  # type: ignore[call-arg]
    Supervisor("desk", children=[child(), Supervisor("more", children=[child()])]),
    feed(Start(Needy, "BTC", Decimal(1))),
    feed(Start(lambda: Feed())),
    desk(child(start=Start(Feed, to=Name[str]("desk/feed")))),
    desk(child(start=Start(Feed, to={"x": [Routes(Name("desk/feed"))]}))),
    desk(
        child(start=Start(Feed, to=Name[str]("desk/many/BTC"))), DynamicSupervisor("many", child())
    ),
]


@pytest.mark.parametrize("tree", GOOD, ids=range(len(GOOD)))
def test_a_sound_tree_has_no_problems(tree: Supervisor) -> None:
    assert [] == texts(tree)
    require_sound(tree)


def test_all_problems_are_found_at_once_in_the_order_of_the_tree() -> None:
    tree = desk(
        child(shutdown_s=-1, start_s=0),
        Supervisor("risk", strategy="x", children=[Child("gate", Feed)]),  # type: ignore[arg-type]
        intensity=Intensity(restarts_max=-1),
    )
    assert [
        "desk: intensity.restarts_max",
        "desk/feed: shutdown_s",
        "desk/feed: start_s",
        "desk/risk: strategy",
        "desk/risk/gate: start",
    ] == [problem.path for problem in check(tree)]
    with pytest.raises(SpecError) as caught:
        require_sound(tree)
    assert check(tree) == list(caught.value.problems)
    assert "5 problems in the tree" in str(caught.value)


def test_a_supervisor_nested_in_itself_is_found() -> None:
    children: list[Any] = []
    inner = Supervisor("inner", children=children)
    children.append(inner)
    assert [
        (
            "desk/inner[0] = <Supervisor 'inner'>: is nested in itself, without end; "
            "take it out of its own children"
        )
    ] == texts(desk(inner))


def test_the_same_spec_in_two_places_is_no_problem() -> None:
    pair = [child()]
    assert [] == texts(
        desk(Supervisor("a", children=pair), Supervisor("b", children=pair)),
    )


def nested(levels: int) -> Supervisor:
    tree = Supervisor("s", children=[child()])
    for _ in range(levels - 1):
        tree = Supervisor("s", children=[tree])
    return tree


def test_the_depth_of_a_tree_is_bounded() -> None:
    assert [] == texts(nested(DEPTH_MAX))
    (problem,) = check(nested(DEPTH_MAX + 1))
    assert problem.rule == f"is nested more than {DEPTH_MAX} levels deep"
    assert len(check(nested(5000))) == 1


@pytest.mark.parametrize(
    ("to", "where"),
    [
        ([Name[str]("desk/x")], "to[0]"),
        ({"k": Name[str]("desk/x")}, "to['k']"),
        (Routes(Name("desk/x")), "to.target"),
        (Routes(Name("desk/feed"), (Name("desk/x"),)), "to.others[0]"),
    ],
)
def test_an_unknown_name_is_found_inside_an_argument(to: object, where: str) -> None:
    (problem,) = check(desk(child(start=Start(Feed, to=to))))
    assert f"desk/feed: start.{where}" == problem.path


def test_a_secret_argument_is_never_shown() -> None:
    given: Any = {"sekret": "s3cret", "to": [Name[str]("x"), "s3cret"]}
    tree = desk(child(start=Start(Feed, "s3cret", **given)))
    assert len(texts(tree)) == 2
    assert "s3cret" not in "".join(texts(tree))


# -- junk anywhere -------------------------------------------------------------------------------


class Hostile:
    """Fails at everything one may do to a value."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __iter__(self) -> Iterator[object]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


class HostileSequence(Sequence[Any]):
    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        return 3


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, 10**5000, -(10**400)]),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.decimals(),
    st.sampled_from(list(Restart) + list(RestartStrategy) + list(AutoShutdown)),
    st.sampled_from(list(Severity) + list(Directive) + list(Overflow) + [BRUTAL_KILL]),
    st.sampled_from([Feed, Deaf, NoActor, Supervisor, Child, int, type, Feed(), len, object()]),
    st.builds(Hostile),
    st.builds(HostileSequence),
    st.lists(st.one_of(st.none(), st.builds(Hostile), st.just(child())), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([Intensity(), Backoff(), Policy(), MailboxSpec(), FEED, child(), desk()]),
)

FIELDS: list[tuple[type, str]] = [
    *((Child, name) for name in ("id", "start", "shutdown_s", "start_s", "hang_s", "mailbox")),
    *((Child, name) for name in ("restart", "significant", "budget", "exhausted", "directives")),
    *((Supervisor, name) for name in ("id", "children", "strategy", "auto_shutdown", "policy")),
    *((Supervisor, name) for name in ("intensity", "shutdown_s")),
    *((DynamicSupervisor, name) for name in ("template", "children_max")),
    *((Intensity, name) for name in ("restarts_max", "period_s")),
    *((MailboxSpec, name) for name in ("capacity", "overflow", "key", "on_restart")),
    *((Policy, name) for name in ("directives", "backoff", "no_progress_max", "together", "rules")),
    *((Backoff, name) for name in ("initial_s", "factor", "max_s", "jitter", "stable_s")),
]


def with_junk(kind: type, name: str, junk: Any) -> object:
    """Return a tree that is sound but for one field."""
    fields: dict[str, Any] = {name: junk}
    if kind is Child:
        return desk(evolve(child(), **fields))
    if kind is Supervisor:
        return evolve(desk(child()), **fields)
    if kind is DynamicSupervisor:
        return evolve(dynamic(), **fields)
    if kind is Intensity:
        return intensity(**fields)
    if kind is MailboxSpec:
        return mailbox(**fields)
    if kind is Policy:
        return desk(policy=Policy(**fields))
    return backoff(**fields)


@given(st.sampled_from(FIELDS), JUNK)
def test_junk_in_any_field_raises_nothing_and_a_tree_without_problems_starts(
    at: tuple[type, str], junk: object
) -> None:
    tree = with_junk(*at, junk)
    said = texts(tree)
    if said:
        assert all("; " in text and ": " in text for text in said)
        assert len(said) <= 4
        return
    assert isinstance(tree, Supervisor | DynamicSupervisor)
    assert render(tree)
    assert isinstance(warnings(tree), list)
    trio.run(_start_and_stop, tree, clock=trio.testing.MockClock(autojump_threshold=0))


async def _start_and_stop(tree: Supervisor | DynamicSupervisor) -> None:
    async with open_system(tree) as system:
        children = tree.children if isinstance(tree, Supervisor) else ()
        assert system.supervisor().count_children().active == len(children)


@given(JUNK)
def test_junk_instead_of_a_tree_raises_nothing(junk: object) -> None:
    assert texts(junk) or isinstance(junk, Supervisor)


@given(st.lists(JUNK, max_size=3), st.dictionaries(st.text(max_size=6), JUNK, max_size=3), JUNK)
def test_junk_in_a_start_raises_nothing(args: list[Any], kwargs: dict[str, Any], cls: Any) -> None:
    texts(feed(Start(cls, *args, **kwargs)))
    texts(feed(Start(Feed, *args, **kwargs)))


# -- adding a child while the tree runs ----------------------------------------------------------


def added(spec: Any, key: str, start: Any, supervisor: Any = None) -> list[str]:
    try:
        require_sound_child(spec, key, start, supervisor=supervisor or desk(), path="desk")
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_an_added_child_is_checked_with_its_supervisor() -> None:
    good = child()
    assert [] == added(good, "feed", good.start)
    bad = child(significant=True, restart=Restart.TRANSIENT, shutdown_s=-1)
    assert [
        f"desk/feed: shutdown_s = -1: {_SHUTDOWN}",
        f"desk/feed: significant = True: {_NEVER}; {_NOT_NEVER}",
    ] == added(bad, "feed", bad.start)
    assert 1 == len(added(Feed, "feed", None))


def test_an_added_child_may_name_an_actor_that_comes_later() -> None:
    spec = child(start=Start(Feed, to=Name[str]("desk/later")))
    assert [] == added(spec, "feed", spec.start)


def test_an_added_subtree_is_checked_as_a_whole() -> None:
    spec = Supervisor("risk", children=[child(start_s=0)])
    assert [f"desk/risk/feed: start_s = 0: {_START_S}"] == added(spec, "risk", None)


def test_a_dynamic_child_is_checked_for_its_key_and_all_its_arguments() -> None:
    template = Child("one", Start(Needy, "BTC"))  # type: ignore[call-arg]
    pool = dynamic(template=template)
    full = template.start.extended((), {"limit": Decimal(1)})
    assert [] == texts(pool)
    assert [] == added(template, "BTC", full, pool)
    assert [
        (
            "desk/BTC: start.limit = <missing>: Needy needs this argument; "
            "write Start(Needy, limit=...)"
        )
    ] == added(template, "BTC", template.start, pool)
    assert [f"desk[new]: key = 'a/b': {_ID_CLEAN}; write 'a_b'"] == added(
        template, "a/b", full, pool
    )


# -- looking at a tree ---------------------------------------------------------------------------

SHOWN = Supervisor(
    "desk",
    strategy=RestartStrategy.REST_FOR_ONE,
    intensity=Intensity(restarts_max=1, period_s=60.0),
    auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    children=[
        Child("feed", FEED, restart=Restart.TRANSIENT, significant=True, shutdown_s=2.5),
        Supervisor(
            "risk",
            restart=Restart.TEMPORARY,
            shutdown_s=3.0,
            children=[
                Child("gate", FEED, shutdown_s=BRUTAL_KILL, budget=Intensity()),
                Child("log", FEED, shutdown_s=INFINITY),
            ],
        ),
        DynamicSupervisor("symbols", child(), children_max=10),
    ],
)


def test_a_tree_is_drawn_with_what_runs_when_it_restarts_and_its_bounds() -> None:
    assert [] == texts(SHOWN)
    assert """\
desk        rest_for_one, 1 restart in 60 s, auto_shutdown any_significant
├─ feed     Feed, transient, stops in 2.5 s, significant
├─ risk     one_for_one, 3 restarts in 5 s, temporary, stops in 3 s
│  ├─ gate  Feed, permanent, brutal_kill, own budget 3 restarts in 5 s
│  └─ log   Feed, permanent, waits for its stop
└─ symbols  dynamic, 3 restarts in 5 s, 10 children at most
   └─ *     Feed, permanent, stops in 5 s""" == render(SHOWN)


def test_a_walk_goes_in_start_order_each_supervisor_before_its_children() -> None:
    assert [
        "desk",
        "desk/feed",
        "desk/risk",
        "desk/risk/gate",
        "desk/risk/log",
        "desk/symbols",
        "desk/symbols/*",
    ] == [path for path, _ in walk(SHOWN)]


def test_a_supervisor_with_less_time_than_its_children_need_is_a_warning_only() -> None:
    tree = desk(child(), Child("b", FEED, shutdown_s=3.0), shutdown_s=7.0)
    assert [] == texts(tree)
    assert [
        (
            "desk: shutdown_s = 7.0: its children may take up to 8 s to stop; "
            "after this they are all cancelled; write INFINITY, or shorten theirs"
        )
    ] == [str(one) for one in warnings(tree)]
    assert [] == warnings(evolve(tree, shutdown_s=8.0))
    (endless,) = warnings(SHOWN)
    assert "desk/risk: shutdown_s" == endless.path
    assert "for ever" in endless.rule


def test_dynamic_children_stop_all_at_once() -> None:
    assert [] == warnings(dynamic(shutdown_s=5.0))
    assert 1 == len(warnings(dynamic(shutdown_s=4.9)))


def test_what_to_do_with_a_spent_budget_that_is_not_there_is_a_warning() -> None:
    assert ["desk/feed: exhausted"] == [
        one.path for one in warnings(desk(child(exhausted=Directive.STOP)))
    ]
    assert [] == warnings(desk(child(exhausted=Directive.STOP, budget=Intensity())))


@pytest.mark.parametrize("bad", [Feed, None, FEED])
async def test_what_is_no_spec_cannot_be_added_to_a_running_supervisor(bad: Any) -> None:
    async with open_system(Supervisor("desk")) as system:
        with pytest.raises(SpecError):
            await system.supervisor().start_child(bad)
        assert [] == system.supervisor().which_children()
