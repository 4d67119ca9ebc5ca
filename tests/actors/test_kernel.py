"""What all actors of a tree share: addresses and the hints for names that nobody has."""

import difflib

import pytest

from ringfence.actors import MailboxSpec
from ringfence.actors.kernel import HINTS_KEPT_MAX, Kernel


def opened(kernel: Kernel, path: str) -> None:
    kernel.box(path, MailboxSpec()).open(None)


async def test_the_search_for_the_nearest_name_is_not_repeated_for_each_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, searched = Kernel(), list[str]()
    search = difflib.get_close_matches

    def counts(word: str, known: list[str], n: int) -> list[str]:
        searched.append(word)
        return search(word, known, n=n)

    monkeypatch.setattr(difflib, "get_close_matches", counts)
    opened(kernel, "desk/feed")
    for number in range(100):
        kernel.ref("desk/fed").tell(number)
    assert ["desk/fed"] == searched
    assert {"desk/feed"} == {letter.hint for letter in kernel.dead_letters}


async def test_a_hint_is_looked_for_again_when_the_names_have_changed() -> None:
    kernel = Kernel()
    assert None is kernel.nearest("desk/fed")
    opened(kernel, "desk/feed")
    assert "desk/feed" == kernel.nearest("desk/fed")
    kernel.retire("desk/feed", count_too=True)
    assert None is kernel.nearest("desk/fed")
    kernel.retire("never/there")


async def test_hints_for_ever_new_names_are_bounded() -> None:
    kernel = Kernel()
    for number in range(3 * HINTS_KEPT_MAX):
        kernel.nearest(str(number))
    assert len(kernel._hints) <= HINTS_KEPT_MAX


async def test_whoever_asks_for_a_supervisor_below_it_reaches_only_what_is_below() -> None:
    kernel = Kernel()
    for path in ("desk/feed", "desk/risk", "desks/feed"):
        opened(kernel, path)
    kernel.controls["desk"] = object()
    kernel.refuse_below("desk", None)
    kernel.refuse_below("unknown", None)
    assert [True, True, False] == [
        kernel.box(path).down_because is not None
        for path in ("desk/feed", "desk/risk", "desks/feed")
    ]
