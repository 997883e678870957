"""Field sections without a dynamic table, decoded by one decoder for all connections."""

from __future__ import annotations

import pylsqpack
import pytest

from voicelink.h3.static_qpack import STATIC_DECODER

FIELDS = [(b":method", b"CONNECT"), (b":path", b"/v1/voice"), (b"x-unknown", b"\xc3\xbc" * 40)]


def test_a_field_section_comes_out_as_it_was_put_in() -> None:
    section = pylsqpack.Encoder().encode(0, FIELDS)[1]
    assert STATIC_DECODER.feed_header(0, section) == (b"", FIELDS)


def test_a_field_section_that_needs_a_table_is_refused_and_forgotten() -> None:
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(max_table_capacity=4096, blocked_streams=16)
    sections = [encoder.encode(4 * number, [(b"x-fruit", b"bar")])[1] for number in range(3)]
    with pytest.raises(pylsqpack.DecompressionFailed):
        STATIC_DECODER.feed_header(8, sections[2])
    plain = pylsqpack.Encoder().encode(8, FIELDS)[1]
    assert STATIC_DECODER.feed_header(8, plain) == (b"", FIELDS)  # of another connection, on a stream of that ID


@pytest.mark.parametrize("section", [b"", b"\0", b"\0\0\xff", b"\0\0\x5f"])
def test_a_field_section_that_is_cut_short_is_refused(section: bytes) -> None:
    with pytest.raises(pylsqpack.DecompressionFailed):
        STATIC_DECODER.feed_header(0, section)


@pytest.mark.parametrize("instructions", [b"", b"\x20", b"\x20\x20"])
def test_a_table_of_no_room_may_be_announced(instructions: bytes) -> None:
    assert STATIC_DECODER.feed_encoder(instructions) == []


@pytest.mark.parametrize("instructions", [b"\x21", b"\x3f\xe1\x1f", b"\xc0\x01a", b"\x41a\x01b", b"\0", b"\x20\0"])
def test_any_other_instruction_is_refused_at_its_first_byte(instructions: bytes) -> None:
    for end in range(1, len(instructions) + 1):
        if instructions[:end].strip(b"\x20"):
            with pytest.raises(pylsqpack.EncoderStreamError):
                STATIC_DECODER.feed_encoder(instructions[:end])
