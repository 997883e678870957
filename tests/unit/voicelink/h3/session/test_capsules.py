from __future__ import annotations

import pytest

from voicelink.h3.session.capsules import (
    MAX_CAPSULE_BYTES,
    MAX_REASON_BYTES,
    Capsule,
    CapsuleReader,
    CloseSession,
    DrainSession,
    encode_capsule,
)
from voicelink.wire import Malformed, encode_varint

GREASE = 0x1D + 0x1F * 7


def unknown(size: int) -> bytes:
    return encode_varint(GREASE) + encode_varint(size) + bytes(size)


def read(data: bytes, step: int) -> list[Capsule]:
    reader = CapsuleReader()
    capsules: list[Capsule] = []
    for start in range(0, len(data), step):
        some = reader.feed(data[start : start + step])
        assert not isinstance(some, Malformed)
        capsules += some
    return capsules


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_capsules_are_found_among_unknown_ones_however_they_are_cut(step: int) -> None:
    data = (
        unknown(0)
        + encode_capsule(DrainSession())
        + unknown(300)
        + encode_capsule(CloseSession(7, "auf Wiederhören"))
        + unknown(3)
    )
    assert read(data, step) == [DrainSession(), CloseSession(7, "auf Wiederhören")]


def test_an_unknown_capsule_of_any_size_is_skipped_without_being_kept() -> None:
    reader = CapsuleReader()
    reader.feed(encode_varint(GREASE) + encode_varint(1 << 40))
    for _ in range(100):
        assert reader.feed(bytes(10_000)) == []
    assert len(reader._buffer) == 0


def test_a_known_capsule_beyond_the_limit_is_malformed_before_its_body_arrives() -> None:
    fault = CapsuleReader().feed(encode_varint(0x2843) + encode_varint(MAX_CAPSULE_BYTES + 1))
    assert fault == Malformed(f"capsule 0x2843 is {MAX_CAPSULE_BYTES + 1} bytes, the limit is {MAX_CAPSULE_BYTES}")


def test_a_close_without_its_code_is_malformed() -> None:
    assert CapsuleReader().feed(encode_varint(0x2843) + b"\x03abc") == Malformed(
        "capsule 0x2843 needs 4 bytes of code, got 3"
    )


def test_a_reason_that_is_too_long_is_cut_at_a_character() -> None:
    [closed] = read(encode_capsule(CloseSession(1, "ü" * 600)), 10_000)
    assert closed == CloseSession(1, "ü" * (MAX_REASON_BYTES // 2))


def test_a_reason_that_is_no_text_is_read_all_the_same() -> None:
    [closed] = read(encode_varint(0x2843) + b"\x05\0\0\0\x01\xff", 10_000)
    assert closed == CloseSession(1, "\ufffd")
