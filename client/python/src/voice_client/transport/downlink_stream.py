"""One utterance of the agent as it arrives on its stream. Sans-IO."""

from __future__ import annotations

from voicelink.wire import (
    MAX_AUDIO_BYTES,
    AudioFrame,
    LengthPrefixedReader,
    Malformed,
    StreamType,
    decode_audio_frame,
    decode_varint,
)

_FRAME_HEAD_BYTES = 17


class DownlinkStream:
    """Reads `stream type | utterance | frames` from a stream that the server opened."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._reader = LengthPrefixedReader(MAX_AUDIO_BYTES + _FRAME_HEAD_BYTES)
        self._next_sequence = 0
        self.utterance_id: int | None = None
        """`None` until the stream's head has arrived."""
        self.is_foreign = False
        """Whether the stream is of a type that this version does not know: its bytes are skipped."""

    def feed(self, data: bytes) -> list[AudioFrame] | Malformed:
        """Take the next bytes and return the frames that are complete; drop the stream on `Malformed`."""
        if self.is_foreign:
            return []
        if self.utterance_id is None:
            self._head += data
            data = self._read_head()
            if self.utterance_id is None:
                return []
        bodies = self._reader.feed(data)
        if isinstance(bodies, Malformed):
            return bodies
        frames = []
        for body in bodies:
            frame = decode_audio_frame(body)
            if isinstance(frame, Malformed):
                return frame
            if frame.sequence != self._next_sequence:
                return Malformed(f"downlink frame is {frame.sequence}, expected {self._next_sequence}")
            self._next_sequence += 1
            frames.append(frame)
        return frames

    def _read_head(self) -> bytes:
        stream_type = decode_varint(self._head)
        if stream_type is None:
            return b""
        if stream_type[0] != StreamType.DOWNLINK_AUDIO:
            self.is_foreign = True
            return b""
        utterance_id = decode_varint(self._head, stream_type[1])
        if utterance_id is None:
            return b""
        self.utterance_id = utterance_id[0]
        return bytes(self._head[utterance_id[1] :])
