"""Any order of operations on a mailbox, against a model written from its description.

The model is a plain list per lane. It knows nothing of fast lanes, envelopes or slots.
"""

from attrs import define, field, frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringfence.actors import MailboxSpec, OnRestart, Overflow, Ref, Urgent
from ringfence.actors.errors import MailboxFull
from ringfence.actors.events import DeadLetterWhy
from ringfence.actors.mailbox import Mailbox
from ringfence.actors.message import ENVELOPES, Latest


@frozen
class Quote:
    symbol: str
    price: int


@frozen
class Trade:
    price: int


@frozen
class Halt(Urgent):
    price: int


Letters = list[tuple[object, DeadLetterWhy]]


@define(eq=False)
class Office:
    """A kernel that only keeps dead letters: no clock, no tree."""

    letters: Letters = field(factory=list)

    def bury(self, path: str, message: object, why: DeadLetterWhy, cause: object) -> None:
        assert path == "box"
        self.letters.append((message, why))

    def nearest(self, path: str) -> None:
        """There are no other names."""


@define
class Model:
    """What the description says a mailbox is."""

    capacity: int
    overflow: Overflow
    state: DeadLetterWhy | None = DeadLetterWhy.UNKNOWN_NAME  # None: open
    normal: list[object] = field(factory=list)
    urgent: list[object] = field(factory=list)
    letters: Letters = field(factory=list)
    dropped: int = 0
    conflated: int = 0
    rejected: int = 0

    def put(self, message: object) -> bool:
        """Put one message in; return whether the sender was spared an error."""
        if self.state is not None:
            self.letters.append((message, self.state))
            return True
        if isinstance(message, Halt):
            return self._fill(self.urgent, message)
        if self.overflow is Overflow.CONFLATE:
            for place, waiting in enumerate(self.normal):
                if self._same_key(waiting, message):
                    self.normal[place] = message
                    self.conflated += 1
                    return True
        if self.overflow is Overflow.DROP_OLDEST and len(self.normal) == self.capacity:
            self.letters.append((self.normal.pop(0), DeadLetterWhy.DROPPED))
            self.dropped += 1
        return self._fill(self.normal, message)

    def _fill(self, lane: list[object], message: object) -> bool:
        if len(lane) == self.capacity:
            self.rejected += 1
            return False
        lane.append(message)
        return True

    @staticmethod
    def _same_key(one: object, other: object) -> bool:
        symbols = getattr(one, "symbol", None), getattr(other, "symbol", None)
        return type(one) is type(other) and symbols[0] == symbols[1]

    def bury_all(self, why: DeadLetterWhy) -> None:
        self.letters += [(message, why) for message in [*self.urgent, *self.normal]]
        self.urgent, self.normal = [], []


PRICES = st.integers(0, 3)
MESSAGES = (
    st.builds(Quote, st.sampled_from("ABC"), PRICES)
    | st.builds(Trade, PRICES)
    | st.builds(Halt, PRICES)
)


class MailboxMachine(RuleBasedStateMachine):
    @initialize(
        capacity=st.integers(1, 4),
        overflow=st.sampled_from(Overflow),
        on_restart=st.sampled_from(OnRestart),
        declared=st.booleans(),
    )
    def made(
        self, capacity: int, overflow: Overflow, on_restart: OnRestart, declared: bool
    ) -> None:
        key = "symbol" if overflow is Overflow.CONFLATE else None
        self.office = Office()
        self.box = Mailbox(
            self.office,  # type: ignore[arg-type]
            "box",
            MailboxSpec(capacity=capacity, overflow=overflow, key=key, on_restart=on_restart),
        )
        self.model = Model(capacity, overflow)
        self.accepted = (Quote, Trade, Halt) if declared else None

    @rule(message=MESSAGES)
    def put(self, message: object) -> None:
        try:
            Ref[object](self.box).tell(message)
        except MailboxFull as full:
            assert (message, False) == (full.message, self.model.put(message))  # noqa: PT017
        else:
            assert self.model.put(message)

    @rule()
    def take(self) -> None:
        """Take out what the actor would take next: urgent before normal."""
        lane, expected = (
            (self.box.urgent, self.model.urgent)
            if self.model.urgent
            else (self.box.normal, self.model.normal)
        )
        if not expected:
            assert not lane
            return
        assert lane is not None
        entry = lane.popleft()
        if isinstance(entry, Latest):
            entry = self.box.take(entry)
        assert expected.pop(0) == entry

    @precondition(lambda self: self.model.state is not None)
    @rule()
    def opens(self) -> None:
        self.box.open(self.accepted)
        self.model.state = None

    @rule()
    def closes(self) -> None:
        self.box.close(DeadLetterWhy.STOPPED, None)
        if self.model.state is None:
            self.model.state = DeadLetterWhy.STOPPED
            self.model.bury_all(DeadLetterWhy.STOPPED)

    @precondition(lambda self: self.model.state is None)
    @rule()
    def restarts(self) -> None:
        """As a supervisor does for the next incarnation."""
        if self.box.spec.on_restart is OnRestart.DROP:
            self.box.bury_all(DeadLetterWhy.RESTART, None)
            self.model.bury_all(DeadLetterWhy.RESTART)

    @rule(message=MESSAGES)
    def senders_would_wait_exactly_if_it_is_full(self, message: object) -> None:
        model = self.model
        full = len(model.normal) == model.capacity and model.state is None
        known = any(model._same_key(waiting, message) for waiting in model.normal)
        waits = full and not isinstance(message, Halt)
        if model.overflow is Overflow.DROP_OLDEST or (
            model.overflow is Overflow.CONFLATE and known
        ):
            waits = False
        assert waits == self.box.held_back(message)

    @invariant()
    def the_numbers_agree(self) -> None:
        if not hasattr(self, "box"):
            return
        model, numbers = self.model, self.box.statistics()
        assert (len(model.normal), len(model.urgent)) == (numbers.depth, numbers.urgent_depth)
        assert (model.dropped, model.conflated, model.rejected) == (
            numbers.dropped,
            numbers.conflated,
            numbers.rejected,
        )
        assert model.letters == self.office.letters
        assert len(model.letters) == numbers.dead_letters
        assert (0, 0) == (numbers.asks_pending, numbers.senders_waiting)

    @invariant()
    def the_contents_agree(self) -> None:
        if not hasattr(self, "box"):
            return
        waiting = [
            entry.message if isinstance(entry, Latest) else entry for entry in self.box.normal
        ]
        assert self.model.normal == waiting
        assert self.model.urgent == list(self.box.urgent or ())
        if self.box.latest:
            assert set(self.box.latest.values()) == {
                entry for entry in self.box.normal if type(entry) in ENVELOPES
            }


MailboxMachine.TestCase.settings = settings(stateful_step_count=40)
TestMailbox = MailboxMachine.TestCase
