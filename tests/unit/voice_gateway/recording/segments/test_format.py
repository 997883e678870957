"""Blocks of a segment: what a killed process leaves unfinished is left out, and nothing before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.recording.segments.format import (
    Downlink,
    Event,
    Head,
    Hole,
    Playback,
    Record,
    Uplink,
    Words,
    encode_block,
    is_call_name,
    parse,
    segment_stem,
    stem_began,
)
from voicelink.wire import Codec

HEAD = Head(0, "call", "worker-1", 2, 1_790_000_000_000_000, subject="ann", has_audio=True)
RECORDS: list[Record] = [
    HEAD,
    Uplink(1, 0, 0, Codec.PCM16_16K, b"\1\2"),
    Downlink(2, 0, 0, Codec.PCM16_24K, b"\3\4", 1),
    Playback(3, 1, 200, True),
    Words(4, "transcript", {"text": "hi"}),
    Event(5, "ended", {"code": "normal"}),
    Hole(6, 3, "queue_full"),
]


def test_records_are_read_as_they_were_written() -> None:
    data = encode_block(RECORDS[:3]) + encode_block(RECORDS[3:])
    assert parse(data).records == tuple(RECORDS)
    assert parse(data).lost_bytes == 0


@given(cut=st.integers(1, 400))
def test_a_file_that_ends_anywhere_gives_its_whole_blocks(cut: int) -> None:
    first, second = encode_block(RECORDS[:3]), encode_block(RECORDS[3:])
    data = (first + second)[:-cut] if cut < len(first + second) else b""
    whole = RECORDS if not cut else RECORDS[:3] if len(data) >= len(first) else []
    assert parse(data).records == tuple(whole)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_damaged_block_ends_what_is_read(at: int, bit: int) -> None:
    first, second = encode_block(RECORDS[:3]), encode_block(RECORDS[3:])
    damaged = bytearray(first + second)
    damaged[len(first) + at % len(second)] ^= 1 << bit
    assert parse(bytes(damaged)).records[: len(RECORDS[:3])] == tuple(RECORDS[:3])
    assert parse(bytes(damaged)).lost_bytes == len(second)


def test_bytes_that_are_none_of_ours_hold_nothing() -> None:
    assert parse(b"RIFF" + bytes(100)).records == ()


def test_names_of_segments_sort_by_their_beginning_and_hold_no_path() -> None:
    early, late = segment_stem(1_000_000, 9, "b/../a"), segment_stem(2_000_000, 1, "a")
    assert early < late
    assert "/" not in early
    assert stem_began(f"{late}.audio") == 2.0
    assert stem_began("notes.txt") is None


@pytest.mark.parametrize(("name", "is_good"), [("a" * 32, True), ("..", False), ("a/b", False), ("", False)])
def test_a_session_id_names_a_folder_only_where_it_is_plain(name: str, is_good: bool) -> None:
    assert is_call_name(name) is is_good
