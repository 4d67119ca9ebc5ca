"""The seams are real by default, and a simulation replaces them inside a block only."""

import random

import pytest

from ringfence.actors import seams


def test_seams_are_real_by_default() -> None:
    assert seams.wall_ns() > 1_700_000_000 * 10**9
    assert seams.slice_clock()() <= seams.slice_clock()()
    assert 0 <= seams.random_source().random() < 1
    assert seams.new_id() != seams.new_id()


def test_replaced_seams_are_given_back_even_after_an_error() -> None:
    world = seams.Seams(
        wall_ns=lambda: 7,
        random_source=lambda: random.Random(7),
        slice_clock=lambda: 7.0,
        new_id=lambda: "7",
    )
    with pytest.raises(KeyError), seams.replaced(world):
        assert (seams.wall_ns(), seams.slice_clock()(), seams.new_id()) == (7, 7.0, "7")
        assert seams.random_source().random() == random.Random(7).random()
        raise KeyError
    assert seams.wall_ns() != 7
