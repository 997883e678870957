"""Frames that wait for an acknowledgement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_client.errors import UplinkFull
from voice_client.uplink.uplink import Uplink
from voicelink.wire import AudioFrame, Codec


def test_what_is_sent_is_what_is_kept() -> None:
    uplink = Uplink(Codec.OPUS)
    sent = [uplink.append(0, b"one"), uplink.append(960, b"two")]
    assert uplink.again(0) == sent == [AudioFrame(0, 0, Codec.OPUS, b"one"), AudioFrame(1, 960, Codec.OPUS, b"two")]
    assert uplink.again(1) == sent[1:]
    assert uplink.again(2) == []


def test_what_was_heard_or_never_sent_cannot_be_sent_again() -> None:
    uplink = Uplink(Codec.OPUS)
    uplink.append(0, b"one")
    uplink.append(960, b"two")
    uplink.acknowledge(0)
    assert uplink.again(0) is None
    assert uplink.again(3) is None


def test_more_than_the_kept_time_is_the_caller_s_mistake() -> None:
    uplink = Uplink(Codec.OPUS, keep_s=60)
    uplink.append(0, b"")
    uplink.append(60 * 48_000, b"")
    with pytest.raises(UplinkFull, match="60 s"):
        uplink.append(60 * 48_000 + 1, b"")
    uplink.acknowledge(0)
    uplink.append(60 * 48_000 + 1, b"")


@given(st.lists(st.one_of(st.just("send"), st.integers(0, 30)), max_size=80))
def test_the_unacked_are_always_the_last_without_a_gap(steps: list[str | int]) -> None:
    uplink = Uplink(Codec.OPUS)
    acked = sent = 0
    for step in steps:
        if step == "send":
            uplink.append(sent * 960, b"x")
            sent += 1
        elif isinstance(step, int):
            assert uplink.acknowledge(step) == (step < sent)
            if step < sent:
                acked = max(acked, step + 1)
        assert [frame.sequence for frame in uplink.again(acked) or ()] == list(range(acked, sent))
        assert (uplink.acked, uplink.sent) == (acked, sent)
