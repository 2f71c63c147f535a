"""Stateful reconnect: whatever is cut whenever, what was said arrives once and in order."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol.json_codec import JsonCodec
from loopai_runtime.signalr.protocol.messages import Ack, Close, Message, Ping, Sequence, StreamItem
from loopai_runtime.signalr.protocol.sequence import Sequencer

CODEC = JsonCodec()


class Side:
    """One end: what it hears, and a wire to the other end that loses everything when it is cut."""

    def __init__(self) -> None:
        self.sequencer = Sequencer()
        self.wire: deque[bytes] = deque()
        self.said = 0
        self.heard: list[int] = []

    def say(self, connected: bool) -> None:
        frame = CODEC.encode(StreamItem("1", self.said))
        self.said += 1
        self.sequencer.keep(frame)
        if connected:
            self.wire.append(frame)

    def acknowledge(self) -> None:
        if ack := self.sequencer.due():
            self.wire.append(CODEC.encode(ack))

    def hear(self, other: Side) -> None:
        if other.wire:
            message = CODEC.decode(other.wire.popleft()[:-1])
            assert message is not None
            if self.sequencer.accepts(message):
                assert isinstance(message, StreamItem)
                self.heard.append(message.item)

    def resume(self) -> None:
        self.wire.clear()
        sequence, frames = self.sequencer.resume()
        self.wire.extend([CODEC.encode(sequence), *frames])


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["say a", "say b", "hear a", "hear b", "hear a", "hear b", "ack a", "ack b", "settle", "cut"]
        ),
        max_size=120,
    )
)
def test_nothing_is_lost_or_repeated(steps: list[str]) -> None:
    sides = a, b = Side(), Side()
    for step in steps:
        verb, _, who = step.partition(" ")
        one, other = (a, b) if who == "a" else (b, a)
        if verb == "say":
            one.say(connected=True)
        elif verb == "hear":
            one.hear(other)
        elif verb == "ack":
            one.acknowledge()
        elif verb == "settle":
            for side in sides:
                side.sequencer.settle()
        else:
            for side in sides:
                side.resume()
    for _ in range(3):
        while a.wire or b.wire:
            a.hear(b)
            b.hear(a)
        a.acknowledge()
        b.acknowledge()
        for side in sides:
            side.sequencer.settle()
    assert a.heard == list(range(b.said))
    assert b.heard == list(range(a.said))
    assert a.sequencer.size == b.sequencer.size == 0
    assert a.sequencer.unacknowledged() == b.sequencer.unacknowledged() == []


def feed(sequencer: Sequencer, *messages: Message) -> list[bool]:
    return [sequencer.accepts(message) for message in messages]


def test_only_messages_with_numbers_are_counted() -> None:
    sequencer = Sequencer()
    assert feed(sequencer, Ping(), StreamItem("1", 1), Ping()) == [True, True, True]
    assert sequencer.due() == Ack(1)
    assert sequencer.due() is None


def test_after_a_reconnect_nothing_counts_before_the_sequence() -> None:
    sequencer = Sequencer()
    feed(sequencer, StreamItem("1", 1))
    sequencer.resume()
    assert feed(sequencer, StreamItem("1", 2), Ping(), Ack(0)) == [False, False, False]
    assert feed(sequencer, Close()) == [True]
    assert feed(sequencer, Sequence(1), StreamItem("1", 1), StreamItem("1", 2)) == [False, False, True]


def test_starts_again_from_what_was_not_acknowledged() -> None:
    sequencer = Sequencer()
    for frame in (b"1", b"2", b"3"):
        sequencer.keep(frame)
    sequencer.accepts(Ack(1))
    assert sequencer.resume() == (Sequence(2), [b"2", b"3"])
    assert sequencer.size == 2


def test_with_nothing_to_repeat_it_names_the_next_number() -> None:
    sequencer = Sequencer()
    sequencer.keep(b"1")
    sequencer.accepts(Ack(1))
    assert sequencer.resume() == (Sequence(2), [])


def test_an_acknowledgement_right_after_a_reconnect_frees_nothing_until_the_socket_has_stood() -> None:
    sequencer = Sequencer()
    sequencer.keep(b"1")
    sequencer.resume()
    feed(sequencer, Sequence(1), Ack(1))
    assert sequencer.resume() == (Sequence(1), [b"1"])
    sequencer.settle()
    assert sequencer.size == 0


def test_a_lost_acknowledgement_is_sent_again() -> None:
    sequencer = Sequencer()
    feed(sequencer, StreamItem("1", 1))
    assert sequencer.due() == Ack(1)
    sequencer.resume()
    assert sequencer.due() == Ack(1)


def test_much_is_acknowledged_soon() -> None:
    sequencer = Sequencer()
    sequencer.accepts(StreamItem("1", 1), 1000)
    assert not sequencer.overdue
    sequencer.accepts(StreamItem("1", 2), 40_000)
    assert sequencer.overdue
    sequencer.due()
    assert not sequencer.overdue


@pytest.mark.parametrize("message", [Ack(1), Sequence(0), Sequence(2)])
def test_numbers_that_cannot_be_are_refused(message: Message) -> None:
    with pytest.raises(ProtocolError):
        Sequencer().accepts(message)


def test_may_go_on_from_behind_what_this_side_has_seen_on_an_earlier_socket() -> None:
    sequencer = Sequencer()
    feed(sequencer, StreamItem("1", 1), StreamItem("1", 2))
    sequencer.resume()
    feed(sequencer, Sequence(1))  # and that socket is lost as well, before the repeated messages came
    sequencer.resume()
    assert feed(sequencer, Sequence(3), StreamItem("1", 3)) == [False, True]
