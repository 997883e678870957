"""Code points and limits of the voice protocol."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

PROTOCOL_VERSION: Final = 1
VOICE_PATH: Final = "/v1/voice"
CLOCK_HZ: Final = 48_000
"""Media timestamps of every codec count ticks of this clock, as those of Opus do (RFC 7587)."""
MAX_CONTROL_BYTES: Final = 65_536
MAX_AUDIO_BYTES: Final = 16_384
MAX_MESSAGE_BYTES: Final = 16_384
"""Of a numbered message, which the session record keeps until it is acknowledged."""
MAX_UNACKED_MESSAGES: Final = 256
"""How many numbered messages of a client may be unacknowledged."""


class Codec(IntEnum):
    """What a frame's payload is. The rate belongs to the codec, so that a frame describes itself.

    PCM16 is little-endian mono; PCMU and PCMA are G.711 at 8 kHz; Opus is one packet (RFC 6716).
    """

    OPUS = 1
    PCM16_16K = 2
    PCM16_24K = 3
    PCM16_48K = 4
    PCMU = 5
    PCMA = 6


class StreamType(IntEnum):
    """The first varint of every unidirectional stream of the WebTransport session."""

    UPLINK_AUDIO = 1
    DOWNLINK_AUDIO = 2


class DatagramType(IntEnum):
    """The first varint of every datagram of the WebTransport session."""

    UPLINK_AUDIO = 1
    UPLINK_REPORT = 2


class UplinkMode(StrEnum):
    """How frames travel from the client to the worker: in `start`, `resume` and `ready`."""

    RELIABLE = "reliable"
    """On one stream: complete and in order, and late wherever the path loses packets."""
    HYBRID = "hybrid"
    """In datagrams that repeat themselves and are repaired: as complete, and seldom late."""
    DEADLINE = "deadline"
    """As hybrid, but the client gives up frames that became too old."""


class CloseCode(IntEnum):
    """Why a session or a stream ended: in `error`, in a stream reset, in CLOSE_WEBTRANSPORT_SESSION."""

    NORMAL = 0
    MALFORMED = 1
    WRONG_ORDER = 2
    UNSUPPORTED_VERSION = 3
    UNSUPPORTED_CODEC = 4
    UNAUTHORISED = 5
    OVERLOADED = 6
    IDLE = 7
    DRAINING = 8
    AGENT_FAILED = 9
    INTERNAL = 10
    INTERRUPTED = 11
    """Only on a downlink stream: the caller spoke, and the rest of this utterance is not wanted."""
    UNKNOWN_SESSION = 12
    TAKEN_OVER = 13
    """The session goes on over a newer connection, here or at another worker."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """What a peer sent breaks the protocol; the session ends with `code` and `reason`."""

    reason: str
    code: CloseCode = CloseCode.MALFORMED
