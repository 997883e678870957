"""The datagrams of the uplink, as PROTOCOL.md states them and tests/vectors holds them for every implementation."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicelink.wire import (
    MAX_DATAGRAM_FRAMES,
    MAX_REPORT_RUNS,
    AudioFrame,
    Codec,
    DatagramType,
    Malformed,
    UplinkDatagram,
    UplinkMode,
    UplinkReport,
    decode_uplink_datagram,
    decode_uplink_report,
    encode_uplink_datagram,
    encode_uplink_report,
)

TESTS = Path(__file__).parents[3]
PROTOCOL = (TESTS.parent / "PROTOCOL.md").read_text()
VECTORS: dict[str, Any] = json.loads((TESTS / "vectors" / "uplink_datagrams.json").read_text())


def named(kind: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]]


@pytest.mark.parametrize("vector", named("uplink_audio"))
def test_uplink_audio_vectors(vector: dict[str, Any]) -> None:
    frames = tuple(
        AudioFrame(each["sequence"], each["timestamp"], Codec(each["codec"]), bytes.fromhex(each["payload"]))
        for each in vector["frames"]
    )
    datagram = UplinkDatagram(vector["number"], vector["first"], frames)
    assert encode_uplink_datagram(datagram).hex() == vector["hex"]
    assert decode_uplink_datagram(bytes.fromhex(vector["hex"])) == datagram


@pytest.mark.parametrize("vector", named("uplink_report"))
def test_uplink_report_vectors(vector: dict[str, Any]) -> None:
    runs = tuple((missing, present) for missing, present in vector["runs"])
    report = UplinkReport(vector["newest"], vector["received"], vector["held_ms"], vector["next_sequence"], runs)
    assert encode_uplink_report(report).hex() == vector["hex"]
    assert decode_uplink_report(bytes.fromhex(vector["hex"])) == report


@pytest.mark.parametrize("vector", named("malformed_uplink_audio"))
def test_malformed_uplink_audio_is_a_value(vector: dict[str, Any]) -> None:
    assert isinstance(decode_uplink_datagram(bytes.fromhex(vector["hex"])), Malformed)


@pytest.mark.parametrize("vector", named("malformed_uplink_report"))
def test_malformed_uplink_reports_are_values(vector: dict[str, Any]) -> None:
    assert isinstance(decode_uplink_report(bytes.fromhex(vector["hex"])), Malformed)


@pytest.mark.parametrize("vector", named("skipped"))
def test_datagrams_of_other_types_are_skipped(vector: dict[str, Any]) -> None:
    assert decode_uplink_datagram(bytes.fromhex(vector["hex"])) is None
    assert decode_uplink_report(bytes.fromhex(vector["hex"])) is None


def test_each_type_skips_the_other() -> None:
    assert decode_uplink_report(encode_uplink_datagram(UplinkDatagram(0, 0))) is None
    assert decode_uplink_datagram(encode_uplink_report(UplinkReport(0, 1, 0, 0))) is None


def test_the_protocol_page_names_modes_types_fields_and_limits() -> None:
    for mode in UplinkMode:
        assert re.search(rf"^\| `{mode.value}` \|", PROTOCOL, re.MULTILINE)
    for kind in DatagramType:
        assert f"| {kind.value} | `{kind.name}` |" in PROTOCOL
    for field in ("number", "first", "newest", "received", "held_ms", "next_sequence"):
        assert re.search(rf"^\| `{field}` \|", PROTOCOL, re.MULTILINE), field
    assert f"1 to {MAX_DATAGRAM_FRAMES} frames" in PROTOCOL
    assert f"0 to {MAX_REPORT_RUNS} runs" in PROTOCOL


def test_the_protocol_page_shows_true_bytes() -> None:
    audio, report = VECTORS["uplink_audio"][0]["hex"], VECTORS["uplink_report"][0]["hex"]
    assert f"`{bytes.fromhex(audio).hex(' ')}`" in PROTOCOL
    assert f"`{bytes.fromhex(report).hex(' ')}`" in PROTOCOL


@st.composite
def datagrams(draw: st.DrawFn) -> UplinkDatagram:
    first = draw(st.integers(0, 1 << 40))
    codec = draw(st.sampled_from(Codec))
    steps = draw(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1 << 30), st.binary(max_size=80)), max_size=9))
    frames, sequence, timestamp = [], first, 0
    for skip, advance, payload in steps:
        sequence, timestamp = sequence + skip, timestamp + advance
        frames.append(AudioFrame(sequence, timestamp, codec, payload))
        sequence += 1
    return UplinkDatagram(draw(st.integers(0, 1 << 40)), first, tuple(frames))


@given(datagrams())
def test_datagrams_survive_the_round_trip(datagram: UplinkDatagram) -> None:
    assert decode_uplink_datagram(encode_uplink_datagram(datagram)) == datagram


@given(st.binary(max_size=64), st.sampled_from([b"", b"\x01", b"\x02"]))
def test_no_bytes_raise_and_what_is_read_can_be_written(body: bytes, kind: bytes) -> None:
    datagram, report = decode_uplink_datagram(kind + body), decode_uplink_report(kind + body)
    if isinstance(datagram, UplinkDatagram):
        assert decode_uplink_datagram(encode_uplink_datagram(datagram)) == datagram
    if isinstance(report, UplinkReport):
        assert decode_uplink_report(encode_uplink_report(report)) == report


def frame(sequence: int, codec: Codec = Codec.OPUS) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, codec, b"\x48")


@pytest.mark.parametrize(
    "datagram",
    [
        UplinkDatagram(0, 0, tuple(frame(n) for n in range(MAX_DATAGRAM_FRAMES + 1))),
        UplinkDatagram(0, 0, (frame(0), frame(1, Codec.PCMU))),
        UplinkDatagram(0, 5, (frame(4),)),
        UplinkDatagram(0, 0, (frame(2), frame(1))),
    ],
    ids=["too many frames", "two codecs", "before first", "out of order"],
)
def test_the_senders_mistakes_raise(datagram: UplinkDatagram) -> None:
    with pytest.raises(ValueError, match=r"frames|varint"):
        encode_uplink_datagram(datagram)


def test_too_many_runs_raise() -> None:
    with pytest.raises(ValueError, match="33"):
        encode_uplink_report(UplinkReport(0, 1, 0, 0, ((1, 1),) * 33))
