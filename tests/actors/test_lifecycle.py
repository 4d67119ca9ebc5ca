"""The table of an incarnation's life, and the ways it can end."""

import itertools

import pytest

from ringfence.actors.errors import IllegalTransition, NetworkError, Severity
from ringfence.actors.lifecycle import (
    KILLED,
    MOVES,
    NORMAL,
    SHUTDOWN,
    ActorState,
    Failed,
    Shutdown,
    Trigger,
    move,
)

S, T = ActorState, Trigger

# Written from the text: starts end up running, ignored or aborted; a running one leaves; a
# stopping one closes. Nothing else.
LEGAL = {
    (S.STARTING, T.UP): S.RUNNING,
    (S.STARTING, T.IGNORE): S.ENDED,
    (S.STARTING, T.ABORT): S.ENDED,
    (S.RUNNING, T.LEAVE): S.STOPPING,
    (S.STOPPING, T.CLOSED): S.ENDED,
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(S, T)))
def test_every_pair_moves_as_the_table_says_or_is_refused(
    state: ActorState, trigger: Trigger
) -> None:
    if (state, trigger) in LEGAL:
        assert LEGAL[state, trigger] is move(state, trigger)
        return
    before = dict(MOVES)
    with pytest.raises(IllegalTransition) as caught:
        move(state, trigger)
    assert (state.value, trigger.value) == (caught.value.state, caught.value.trigger)
    assert Severity.CRITICAL is caught.value.severity
    assert before == MOVES


def test_the_table_has_no_other_rows() -> None:
    assert LEGAL == MOVES


def test_every_state_is_reached_and_only_the_end_has_no_way_out() -> None:
    reached, todo = {S.STARTING}, [S.STARTING]
    while todo:
        state = todo.pop()
        following = {after for (before, _), after in MOVES.items() if before is state}
        todo += following - reached
        reached |= following
    assert set(S) == reached
    assert {S.ENDED} == set(S) - {before for before, _ in MOVES}


def test_exits_say_what_happened() -> None:
    assert ["normal", "shutdown", "shutdown (no data)", "killed", "NetworkError: no route"] == [
        str(exit_)
        for exit_ in (
            NORMAL,
            SHUTDOWN,
            Shutdown("no data"),
            KILLED,
            Failed(NetworkError("no route")),
        )
    ]


def test_failures_are_equal_as_exits_whatever_the_error() -> None:
    assert Failed(ValueError(1)) == Failed(KeyError(2))
    assert NORMAL not in {Failed(ValueError(1)), SHUTDOWN, KILLED}
