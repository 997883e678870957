"""An utterance, cut into pieces by the network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_client.transport.downlink_stream import DownlinkStream
from voicelink.wire import AudioFrame, Codec, Malformed, StreamType, encode_audio_frame, encode_varint, length_prefixed


def utterance(utterance_id: int, frames: list[AudioFrame]) -> bytes:
    head = encode_varint(StreamType.DOWNLINK_AUDIO) + encode_varint(utterance_id)
    return head + b"".join(length_prefixed(encode_audio_frame(frame)) for frame in frames)


@given(st.integers(0, 1 << 40), st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_any_cutting_gives_the_same_frames(utterance_id: int, payloads: list[bytes], data: st.DataObject) -> None:
    frames = [AudioFrame(n, n * 960, Codec.PCM16_24K, payload) for n, payload in enumerate(payloads)]
    raw = utterance(utterance_id, frames)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=10)))
    stream = DownlinkStream()
    found: list[AudioFrame] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        part = stream.feed(raw[start:end])
        assert not isinstance(part, Malformed)
        found += part
    assert (stream.utterance_id, found) == (utterance_id, frames)


def test_a_stream_of_a_later_version_is_skipped() -> None:
    stream = DownlinkStream()
    assert stream.feed(encode_varint(99) + b"anything") == []
    assert stream.is_foreign
    assert stream.utterance_id is None


@pytest.mark.parametrize("sequence", [1, 5])
def test_a_gap_in_the_sequence_is_malformed(sequence: int) -> None:
    fault = DownlinkStream().feed(utterance(1, [AudioFrame(sequence, 0, Codec.OPUS, b"")]))
    assert fault == Malformed(f"downlink frame is {sequence}, expected 0")


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    DownlinkStream().feed(raw)
