"""Stream data that overtook its session's CONNECT or the answer to it (draft-02 section 4.5)."""

from __future__ import annotations

from typing import Final

from voicelink.h3.events import StreamData

MAX_EARLY_STREAMS: Final = 16
MAX_EARLY_BYTES: Final = 65536
MAX_EARLY_PIECES: Final = 64


class EarlyStreams:
    """Keeps a little of it until the session is open, or over."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[StreamData]] = {}

    def keep(self, data: StreamData) -> bool:
        """Take the data; False where there is no room, and its stream must be rejected."""
        waiting = [each for pieces in self._waiting.values() for each in pieces]
        streams = {each.stream_id for each in waiting} | {data.stream_id}
        byte_count = sum(len(each.data) for each in waiting) + len(data.data)
        if len(streams) > MAX_EARLY_STREAMS or byte_count > MAX_EARLY_BYTES or len(waiting) >= MAX_EARLY_PIECES:
            return False
        self._waiting.setdefault(data.session_id, []).append(data)
        return True

    def take(self, session_id: int) -> list[StreamData]:
        """Return what waited for the session, and forget it."""
        return self._waiting.pop(session_id, [])
