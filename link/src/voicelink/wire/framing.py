"""Length prefixes, variable-length integers and audio frames."""

from __future__ import annotations

import msgspec

from voicelink.wire.codepoints import MAX_AUDIO_BYTES, Codec, Malformed


class AudioFrame(msgspec.Struct, frozen=True, gc=False):
    """One packet of speech.

    `sequence` counts without gaps from 0 (uplink: in the session; downlink: in the utterance). `timestamp` is
    the media time of the first sample in ticks of `CLOCK_HZ`; DTX leaves gaps in it.
    """

    sequence: int
    timestamp: int
    codec: Codec
    payload: bytes


def encode_audio_frame(frame: AudioFrame) -> bytes:
    """Return `codec | sequence | timestamp | payload`; on a stream send it through `length_prefixed`."""
    if len(frame.payload) > MAX_AUDIO_BYTES:
        raise ValueError(f"an audio payload holds at most {MAX_AUDIO_BYTES} bytes, got {len(frame.payload)}")
    return b"".join(
        (frame.codec.to_bytes(1), encode_varint(frame.sequence), encode_varint(frame.timestamp), frame.payload)
    )


def decode_audio_frame(body: bytes) -> AudioFrame | Malformed:
    """Read what `encode_audio_frame` wrote."""
    sequence = decode_varint(body, 1)
    timestamp = decode_varint(body, sequence[1]) if sequence else None
    if sequence is None or timestamp is None:
        return Malformed(f"audio frame: header cut short at {len(body)} bytes")
    if body[0] not in _CODECS:
        return Malformed(f"audio frame: unknown codec {body[0]}")
    return AudioFrame(sequence[0], timestamp[0], _CODECS[body[0]], body[timestamp[1] :])


_CODECS = {codec.value: codec for codec in Codec}


def length_prefixed(body: bytes) -> bytes:
    """Return `body` behind its length as a varint."""
    return encode_varint(len(body)) + body


class LengthPrefixedReader:
    """Cuts a stream into the bodies that `length_prefixed` framed, each at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self.has_more = False
        """Whether another complete body waits."""

    def feed(self, data: bytes, most: int | None = None) -> list[bytes] | Malformed:
        """Take the stream's next bytes and return all bodies that are complete; drop the reader on `Malformed`.

        Of more than `most` the rest is kept for the next call.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
        stream = buffer or data  # most often whole bodies arrive, which need not be copied
        self.has_more = False
        bodies: list[bytes] = []
        offset, size = 0, len(stream)
        while offset < size and (head := decode_varint(stream, offset)) is not None:
            length, start = head
            if length > self._max_bytes:
                return Malformed(f"length prefix is {length}, the limit is {self._max_bytes}")
            end = start + length
            if end > size:
                break
            if len(bodies) == most:
                self.has_more = True
                break
            bodies.append(bytes(stream[start:end]))
            offset = end
        if buffer:
            del buffer[:offset]
        elif offset < size:
            buffer += stream[offset:]
        return bodies

    @property
    def unread_bytes(self) -> int:
        """How much waits for another `feed`, though it is complete."""
        return len(self._buffer) if self.has_more else 0

    @property
    def has_partial(self) -> bool:
        """Whether the stream would be cut within a body if it ended here."""
        return bool(self._buffer)


def encode_varint(value: int) -> bytes:
    """Encode a variable-length integer (RFC 9000 section 16)."""
    if value < 0 or value >= 1 << 62:
        raise ValueError(f"a varint holds 0 to 2^62-1, got {value}")
    if value < 1 << 6:
        return value.to_bytes(1, "big")
    if value < 1 << 14:
        return (value | 1 << 14).to_bytes(2, "big")
    if value < 1 << 30:
        return (value | 2 << 30).to_bytes(4, "big")
    return (value | 3 << 62).to_bytes(8, "big")


def decode_varint(data: bytes | bytearray, offset: int = 0) -> tuple[int, int] | None:
    """Return (value, offset behind it), or `None` while bytes are missing."""
    size = len(data)
    if offset >= size:
        return None
    first = data[offset]
    if first < 1 << 6:
        return first, offset + 1
    if first < 2 << 6 and offset + 1 < size:
        return (first & 0x3F) << 8 | data[offset + 1], offset + 2
    end = offset + (1 << (first >> 6))
    if end > size:
        return None
    return int.from_bytes(data[offset:end], "big") & ((1 << 8 * (end - offset) - 2) - 1), end
