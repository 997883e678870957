"""The datagrams of a WebTransport session: uplink frames from the client, reports of their arrival from the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voicelink.wire.codepoints import MAX_AUDIO_BYTES, Codec, DatagramType, Malformed
from voicelink.wire.framing import AudioFrame, decode_varint, encode_varint

MAX_DATAGRAM_FRAMES: Final = 64
MAX_REPORT_RUNS: Final = 32


@dataclass(frozen=True, slots=True)
class UplinkDatagram:
    """Frames in rising order of sequence and timestamp, all of one codec; there may be none.

    `number` counts the session's datagrams on this connection from 0. Frames before `first` are never sent again: they
    were reported to have arrived, or were given up.
    """

    number: int
    first: int
    frames: tuple[AudioFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class UplinkReport:
    """What has arrived: `received` datagrams, the `newest` of them `held_ms` ago; every frame before `next_sequence`.

    `runs` goes on from there: (frames missing, frames received), in turn, as far as it goes.
    """

    newest: int
    received: int
    held_ms: int
    next_sequence: int
    runs: tuple[tuple[int, int], ...] = ()


def encode_uplink_datagram(datagram: UplinkDatagram) -> bytes:
    """Return `1 | number | first | codec | frames`, each frame `skip | advance | length | payload`."""
    if len(datagram.frames) > MAX_DATAGRAM_FRAMES:
        raise ValueError(f"a datagram holds at most {MAX_DATAGRAM_FRAMES} frames, got {len(datagram.frames)}")
    parts = [
        encode_varint(DatagramType.UPLINK_AUDIO),
        encode_varint(datagram.number),
        encode_varint(datagram.first),
    ]
    if datagram.frames:
        codec = datagram.frames[0].codec
        parts.append(codec.to_bytes(1))
        sequence, timestamp = datagram.first, 0
        for frame in datagram.frames:
            if frame.codec is not codec:
                raise ValueError(f"a datagram holds frames of one codec, got {codec.name} and {frame.codec.name}")
            parts += (
                encode_varint(frame.sequence - sequence),
                encode_varint(frame.timestamp - timestamp),
                encode_varint(len(frame.payload)),
                frame.payload,
            )
            sequence, timestamp = frame.sequence + 1, frame.timestamp
    return b"".join(parts)


def decode_uplink_datagram(body: bytes) -> UplinkDatagram | Malformed | None:
    """Read what `encode_uplink_datagram` wrote; `None` is a datagram of another type, to be skipped."""
    head = _varints(body, 3)
    if head is None:
        return _malformed_head(body, DatagramType.UPLINK_AUDIO)
    (kind, number, first), offset = head
    if kind != DatagramType.UPLINK_AUDIO:
        return None
    if offset == len(body):
        return UplinkDatagram(number, first)
    if body[offset] not in _CODECS:
        return Malformed(f"uplink datagram: unknown codec {body[offset]}")
    codec = _CODECS[body[offset]]
    offset += 1
    frames: list[AudioFrame] = []
    sequence, timestamp = first, 0
    while offset < len(body):
        fields = _varints(body, 3, offset)
        if fields is None:
            return Malformed("uplink datagram: cut short in a frame's header")
        (skip, advance, length), offset = fields
        if length > MAX_AUDIO_BYTES or offset + length > len(body):
            return Malformed(f"uplink datagram: a frame of {length} bytes where {len(body) - offset} are left")
        if len(frames) == MAX_DATAGRAM_FRAMES:
            return Malformed(f"uplink datagram: more than {MAX_DATAGRAM_FRAMES} frames")
        sequence += skip
        timestamp += advance
        if sequence >= _LIMIT or timestamp >= _LIMIT:
            return Malformed("uplink datagram: a sequence or timestamp of 2^62 or more")
        frames.append(AudioFrame(sequence, timestamp, codec, body[offset : offset + length]))
        sequence += 1
        offset += length
    return UplinkDatagram(number, first, tuple(frames))


def encode_uplink_report(report: UplinkReport) -> bytes:
    """Return `2 | newest | received | held_ms | next_sequence | runs`, each run `missing | received`."""
    if len(report.runs) > MAX_REPORT_RUNS:
        raise ValueError(f"a report holds at most {MAX_REPORT_RUNS} runs, got {len(report.runs)}")
    head = (DatagramType.UPLINK_REPORT, report.newest, report.received, report.held_ms, report.next_sequence)
    return b"".join(map(encode_varint, (*head, *(length for run in report.runs for length in run))))


def decode_uplink_report(body: bytes) -> UplinkReport | Malformed | None:
    """Read what `encode_uplink_report` wrote; `None` is a datagram of another type, to be skipped."""
    head = _varints(body, 5)
    if head is None:
        return _malformed_head(body, DatagramType.UPLINK_REPORT)
    (kind, newest, received, held_ms, next_sequence), offset = head
    if kind != DatagramType.UPLINK_REPORT:
        return None
    runs: list[tuple[int, int]] = []
    while offset < len(body):
        run = _varints(body, 2, offset)
        if run is None:
            return Malformed("uplink report: cut short in a run")
        (missing, present), offset = run
        if not missing or not present:
            return Malformed(f"uplink report: a run of {missing} frames missing and {present} received")
        if len(runs) == MAX_REPORT_RUNS:
            return Malformed(f"uplink report: more than {MAX_REPORT_RUNS} runs")
        runs.append((missing, present))
    return UplinkReport(newest, received, held_ms, next_sequence, tuple(runs))


_CODECS = {codec.value: codec for codec in Codec}
_LIMIT: Final = 1 << 62


def _varints(body: bytes, count: int, offset: int = 0) -> tuple[list[int], int] | None:
    values = []
    for _ in range(count):
        value = decode_varint(body, offset)
        if value is None:
            return None
        values.append(value[0])
        offset = value[1]
    return values, offset


def _malformed_head(body: bytes, kind: DatagramType) -> Malformed | None:
    """A datagram too short for its header; one of another type may be short."""
    found = decode_varint(body)
    if found is not None and found[0] != kind:
        return None
    return Malformed(f"datagram: header cut short at {len(body)} bytes")
