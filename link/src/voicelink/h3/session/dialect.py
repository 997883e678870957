"""The drafts of WebTransport over HTTP/3 that peers speak, side by side: PROTOCOL.md section 1.1 has them as a table.

A peer says by its SETTINGS and by `:protocol` which one it means; all else that differs follows from `terms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from voicelink.h3.limits import MAX_SESSIONS
from voicelink.h3.session.flow_control import Limits

ENABLE_WEBTRANSPORT: Final = 0x2B603742
"""SETTINGS of draft-02 to -06: Chromium, Firefox."""
MAX_SESSIONS_07: Final = 0xC671706A
"""SETTINGS of draft-07 to -12: Chromium, where a server sends it."""
MAX_SESSIONS_13: Final = 0x14E9CD29
"""SETTINGS of draft-13 and -14: Safari."""
WT_ENABLED: Final = 0x2C7CF000
"""SETTINGS from draft-15 on: webtransport-go, pywebtransport."""
INITIAL_MAX_DATA: Final = 0x2B61
INITIAL_MAX_STREAMS_UNI: Final = 0x2B64
INITIAL_MAX_STREAMS_BIDI: Final = 0x2B65

PROTOCOL: Final = "webtransport"
PROTOCOL_15: Final = "webtransport-h3"
PROTOCOLS: Final = frozenset((PROTOCOL, PROTOCOL_15))
"""What `:protocol` may be; the second from draft-15 on."""

_MOST: Final = 1 << 60

SERVER_SETTINGS: Final[Mapping[int, int]] = {
    ENABLE_WEBTRANSPORT: 1,
    MAX_SESSIONS_07: MAX_SESSIONS,
    MAX_SESSIONS_13: MAX_SESSIONS,
    WT_ENABLED: 1,
    INITIAL_MAX_DATA: _MOST,
    INITIAL_MAX_STREAMS_UNI: _MOST,
    INITIAL_MAX_STREAMS_BIDI: _MOST,
}
"""Every dialect at once. The credit never runs out: what a peer may send is bounded by QUIC, stream by stream."""


class Dialect(IntEnum):
    """Each named by its first draft; the drafts up to the next one are the same on the wire."""

    DRAFT_02 = 2
    DRAFT_07 = 7
    DRAFT_13 = 13
    DRAFT_15 = 15


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session's dialect means for the side that serves it.

    `limits` is what the peer lets us send at first, `None` where its dialect or its settings want no flow control.
    """

    dialect: Dialect = Dialect.DRAFT_02
    max_sessions: int = MAX_SESSIONS
    limits: Limits | None = None
    answer: Mapping[str, str] = field(default_factory=lambda: {"sec-webtransport-http3-draft": "draft02"})
    """Fields of the answer that opens a session, besides its status."""

    @property
    def rejects_by_reset(self) -> bool:
        """Whether a session too many is reset with H3_REQUEST_REJECTED instead of being answered 429."""
        return self.dialect >= Dialect.DRAFT_07


def terms(settings: Mapping[int, int], protocol: str) -> Terms:
    """The terms of a session that a client with these SETTINGS asks for by this `:protocol`."""
    dialect = _dialect(settings, protocol)
    if dialect is Dialect.DRAFT_02:
        return Terms()
    if dialect is Dialect.DRAFT_07:
        return Terms(dialect, answer={})
    limits = _limits(settings, dialect)
    # without flow control a connection carries one session (draft-13 and draft-16 section 5.1)
    return Terms(dialect, MAX_SESSIONS if limits else 1, limits, answer={})


def _dialect(settings: Mapping[int, int], protocol: str) -> Dialect:
    if protocol == PROTOCOL_15:
        return Dialect.DRAFT_15
    if settings.get(MAX_SESSIONS_13):
        return Dialect.DRAFT_13
    if settings.get(MAX_SESSIONS_07):
        return Dialect.DRAFT_07
    return Dialect.DRAFT_02


def _limits(settings: Mapping[int, int], dialect: Dialect) -> Limits | None:
    if dialect is Dialect.DRAFT_13 and settings[MAX_SESSIONS_13] == 1:
        return None
    limits = Limits(
        settings.get(INITIAL_MAX_DATA, 0),
        settings.get(INITIAL_MAX_STREAMS_BIDI, 0),
        settings.get(INITIAL_MAX_STREAMS_UNI, 0),
    )
    # draft-16 section 5.1. In draft-13 too, since Safari is reported to grant nothing and to take streams all the same
    return limits if any((limits.max_data, limits.max_streams_bidi, limits.max_streams_uni)) else None
