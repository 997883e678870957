"""Calls a Pipecat pipeline over its WebSocket transport, which speaks protobuf frames (`pipecat/frames/frames.proto`).

Transcripts, state and tools come as RTVI messages: `user-transcription`, `bot-output` or `bot-transcription`,
`llm-function-call`, and `server-message` whose data has a map `state`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from voice_eval.drivers.base import Dialling, Driver, Line
from voice_eval.drivers.rtvi import Rtvi
from voice_eval.drivers.socket_line import SocketLine
from voice_eval.network.link import TcpLink

_AUDIO, _MESSAGE, _INTERRUPTION = 2, 4, 5
"""Field numbers of `Frame`."""
_CALLER_HZ: Final = 16_000


class PipecatDriver(Driver):
    """The URL is that of the WebSocket. Option `rate_hz`: of the pipeline's audio out, by default 24000."""

    name = "pipecat"
    link = TcpLink

    def line(self, dialling: Dialling) -> Line:
        return PipecatLine(dialling, self.endpoint)


class PipecatLine(SocketLine):
    """One call; the pipeline sends audio at the pace of speech."""

    def __init__(self, dialling: Dialling, endpoint: Any) -> None:
        super().__init__(dialling, endpoint)
        self._rtvi = Rtvi(dialling, self._send_json)

    def connected(self) -> None:
        self._rtvi.begin()

    def send(self, pcm: bytes) -> None:
        self.send_message(audio_frame(pcm, _CALLER_HZ))

    def type(self, text: str) -> None:
        self._rtvi.type(text)

    def received(self, message: str | bytes) -> None:
        if isinstance(message, str):
            raise ValueError("text where a protobuf frame was expected")
        for number, value in fields(message):
            if number == _AUDIO and isinstance(value, bytes):
                audio = dict(fields(value))
                self.loudspeaker.rate_hz = self.record.played_audio.rate_hz = int(audio.get(4, 24_000))
                self.loudspeaker.push(bytes(audio.get(3, b"")))
            elif number == _MESSAGE and isinstance(value, bytes):
                self._rtvi.received(json.loads(bytes(dict(fields(value)).get(1, b"{}"))))
            elif number == _INTERRUPTION:
                self.loudspeaker.clear()

    def _send_json(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        self.send_message(_field(_MESSAGE, _field(1, data)))


def audio_frame(pcm: bytes, rate_hz: int) -> bytes:
    """Return a `Frame` of mono audio."""
    return _field(_AUDIO, _field(3, pcm) + _number(4, rate_hz) + _number(5, 1))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protobuf message, numbers and bytes; raises `ValueError`."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a protobuf field is cut off")
            yield key >> 3, data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"protobuf has no wire type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a protobuf number is cut off")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _encoded(number << 3) + _encoded(value)
