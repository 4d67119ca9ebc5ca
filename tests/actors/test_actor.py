"""Which messages an actor takes: read from its declaration, however it is written."""

import enum
import sys
from collections.abc import Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    Never,
    NewType,
    NoReturn,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
    runtime_checkable,
)

import pytest
from attrs import define, frozen

from ringfence.actors import Actor, Ask
from ringfence.actors.actor import accepted_types, has_hook

T = TypeVar("T")
U = TypeVar("U")


@frozen
class Fill:
    pass


@frozen
class Total(Ask[int]):
    pass


class Side(enum.Enum):
    BUY = 1


class Row(TypedDict):
    price: float


class Shape(Protocol):
    def area(self) -> float: ...


@runtime_checkable
class Sized(Protocol):
    def size(self) -> float: ...


OrderId = NewType("OrderId", str)
VenueOrderId = NewType("VenueOrderId", OrderId)
Alias = Fill | Total

Later = Fill  # what a quoted name below means


class Base(Actor[T], Generic[T]):
    pass


class Wrapper(Actor[T | Fill], Generic[T]):
    pass


class Pair(Actor[T | U], Generic[T, U]):
    pass


class Swapped(Pair[U, T], Generic[T, U]):
    pass


class Mixin:
    pass


class Plain(Actor[Fill]):
    pass


class Below(Mixin, Plain):
    pass


class Again(Base[Fill | Total], Mixin):
    pass


class Tagged(Generic[T]):
    pass


class Beside(Tagged[int], Plain):
    pass


class OverGeneric(Wrapper[int]):
    pass


class Both(Swapped[int, str]):
    pass


class Unfilled(Base):  # type: ignore[type-arg]
    pass


@define
class Slotted(Actor[Fill]):
    number: int = 0


def made(argument: object) -> type[Actor[Never]]:
    import types

    return types.new_class(
        "Declared",
        (Actor[argument],),  # type: ignore[valid-type]
        {},
        lambda body: body.update(__module__=__name__),
    )


@pytest.mark.parametrize(
    ("argument", "accepted"),
    [
        (Fill, {Fill}),
        (Fill | Total, {Fill, Total}),
        (Alias, {Fill, Total}),
        (Union[Fill, int, None], {Fill, int, type(None)}),  # noqa: UP007
        (Optional[Fill], {Fill, type(None)}),  # noqa: UP045
        (None, {type(None)}),
        (Literal["go", 3], {str, int}),
        (Literal[Side.BUY] | Fill, {Side, Fill}),
        (OrderId, {str}),
        (VenueOrderId | int, {str, int}),
        (Annotated[Fill, "traded"], {Fill}),
        (list[int], {list}),
        (dict[str, int] | tuple[int, ...], {dict, tuple}),
        (Sequence[int], {Sequence}),
        (type[Fill], {type}),
        (Ask[int], {Ask}),
        (float, {float, int}),
        (complex, {complex, float, int}),
        (Row, {dict}),
        (Sized, {Sized}),
        ("Later", {Fill}),
        ("None", {type(None)}),
        ("Later | int", {Fill, int}),
        (Union["Later", int], {Fill, int}),
        (Never, set()),
        (NoReturn, set()),
    ],
    # sets print in another order in each process, and every worker must collect the same names
    ids=lambda value: None if isinstance(value, set) else str(value),
)
def test_the_declared_union_is_what_is_taken(argument: object, accepted: set[type]) -> None:
    found = accepted_types(made(argument))
    assert found is not None
    assert accepted == set(found)


@pytest.mark.parametrize(
    "argument",
    [object, Any, Fill | Any, T, Shape, Shape | Fill, "Unknown", "sys.unknown", "int | 'Later'"],
    ids=str,
)
def test_what_cannot_be_checked_is_not_checked(argument: object) -> None:
    assert accepted_types(made(argument)) is None


def test_an_unparametrised_actor_takes_anything() -> None:
    class Bare(Actor):  # type: ignore[type-arg]
        pass

    assert accepted_types(Bare) is None
    assert accepted_types(Unfilled) is None


@pytest.mark.parametrize(
    ("cls", "accepted"),
    [
        (Plain, {Fill}),
        (Below, {Fill}),
        (Beside, {Fill}),
        (Again, {Fill, Total}),
        (OverGeneric, {int, Fill}),
        (Both, {int, str}),
        (Slotted, {Fill}),
    ],
)
def test_the_union_is_found_through_bases_in_between(
    cls: type[Actor[Never]], accepted: set[type]
) -> None:
    found = accepted_types(cls)
    assert found is not None
    assert accepted == set(found)


def test_a_quoted_name_in_a_module_that_is_gone_is_not_checked() -> None:
    cls = made("Later")
    cls.__module__ = "no.such.module"
    assert "no.such.module" not in sys.modules
    assert accepted_types(cls) is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` statements came with Python 3.12")
def test_type_statements_are_looked_through() -> None:
    space: dict[str, Any] = {"Fill": Fill}
    exec("type One = Fill | int\ntype Two = One | str", space)  # noqa: S102
    assert {Fill, int, str} == set(accepted_types(made(space["Two"])) or ())


class Alike:
    """Stands for a type alias of Python 3.12 on older ones."""

    def __init__(self, value: object) -> None:
        self.__value__ = value

    def __call__(self) -> None: ...


def test_a_type_alias_stands_for_its_value() -> None:
    assert {Fill, int} == set(accepted_types(made(Alike(Alias | int))) or ()) - {Total}


def test_only_hooks_of_ones_own_count() -> None:
    class Hooked(Plain):
        async def stopping(self, reason: object) -> None: ...

    assert has_hook(Hooked, "stopping")
    assert not has_hook(Hooked, "started")
    assert not has_hook(Plain, "stopping")


async def test_empty_hooks_do_nothing() -> None:
    from ringfence.actors.lifecycle import NORMAL

    actor = Plain()
    assert None is await actor.started()
    assert None is await actor.stopping(NORMAL)


async def test_a_hook_may_be_any_callable() -> None:
    seen: list[int] = []

    class Collects(Actor[int]):
        receive = staticmethod(seen.append)  # type: ignore[assignment]

    Collects().receive(1)
    assert [1] == seen
