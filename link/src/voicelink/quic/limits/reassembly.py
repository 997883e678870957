"""Puts a stream's frames in order, in memory that grows with the bytes received and not with their offsets."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from aioquic.quic.events import StreamDataReceived, StreamReset
from aioquic.quic.packet import QuicErrorCode, QuicStopSendingFrame, QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import FinalSizeError


@dataclass(slots=True)
class ReassemblyBudget:
    """What all streams of one connection share.

    `delivered_bytes` is what the application has been given or will never get, the base of connection flow control;
    `chunks` counts the pieces that wait behind a gap, `steps` each time one of them was looked at for a frame. `resets`
    are those that became due behind the data of the frame just handled.
    """

    max_chunks: int = 1024
    chunks: int = 0
    delivered_bytes: int = 0
    steps: int = 0
    resets: list[StreamReset] = field(default_factory=list)


class ReassemblyOverflowError(Exception):
    """The peer left more gaps than the budget allows; close the connection."""


class StreamReceiver:
    """The receive half of a stream, in place of aioquic's `QuicStreamReceiver`, which allocates the gaps too.

    A window of flow control bounds the offsets, the budget bounds the pieces. Overlapping pieces are cut, the first
    copy of a byte wins (RFC 9000 section 2.2 lets a receiver assume that all copies agree).
    """

    def __init__(self, stream_id: int, budget: ReassemblyBudget) -> None:
        self.highest_offset = 0
        self.is_finished = False
        self.stop_pending = False
        self.next_reliable_size = 0
        """How much of the stream the next `handle_reset` still promises (RESET_STREAM_AT)."""
        self._budget = budget
        self._stream_id = stream_id
        self._delivered = 0
        self._final_size: int | None = None
        self._starts: list[int] = []
        self._pieces: dict[int, bytearray] = {}
        self._stop_error_code = 0
        self._reliable_size = 0
        self._reset: StreamReset | None = None

    def starting_offset(self) -> int:
        """The offset of the next byte to deliver."""
        return self._delivered

    def handle_frame(self, frame: QuicStreamFrame) -> StreamDataReceived | None:
        """Take a frame and return what is in order now; raises `FinalSizeError`, `ReassemblyOverflowError`."""
        end = frame.offset + len(frame.data)
        self._check_final_size(end, frame.fin)
        self.highest_offset = max(self.highest_offset, end)
        if self.is_finished:
            return None
        if frame.offset <= self._delivered and not self._starts:
            data = frame.data[self._delivered - frame.offset :]
        else:
            self._keep(frame.offset, frame.data)
            data = self._take()
        if self._reset is not None:
            return self._received_before(self._reset, data)
        self._advance(len(data))
        self.is_finished = self._delivered == self._final_size
        if data or self.is_finished:
            return StreamDataReceived(data=data, end_stream=self.is_finished, stream_id=self._stream_id)
        return None

    def append(self, offset: int, data: bytes) -> StreamDataReceived | None:
        """Take data that is simply the next of the stream and not its end; `None`, and nothing changed, for other."""
        is_next = offset == self._delivered == self.highest_offset  # even an empty frame beyond a gap counts
        if not is_next or self._final_size is not None or not data:
            return None
        byte_count = len(data)
        self._delivered = self.highest_offset = offset + byte_count
        self._budget.delivered_bytes += byte_count
        return StreamDataReceived(data=data, end_stream=False, stream_id=self._stream_id)

    def handle_reset(self, *, final_size: int, error_code: int = QuicErrorCode.NO_ERROR) -> StreamReset | None:
        """Take a RESET_STREAM: what was not delivered is dropped, but for the first `next_reliable_size` bytes.

        While some of those are missing the event is due behind them: `ReassemblyBudget.resets`. A later reset may
        promise less, never more, and keeps the code of the first (draft-ietf-quic-reliable-stream-reset section 4).
        """
        if self._final_size not in (None, final_size) or final_size < self.highest_offset:
            raise FinalSizeError(f"final size is {final_size}, data reached {self._final_size or self.highest_offset}")
        self.highest_offset = self._final_size = final_size
        if self.is_finished:
            return None
        if self._reset is None:
            self._reset = StreamReset(error_code=error_code, stream_id=self._stream_id)
            self._reliable_size = self.next_reliable_size
        self._reliable_size = min(self._reliable_size, self.next_reliable_size)
        return self._finish(self._reset, final_size) if self._delivered >= self._reliable_size else None

    def _received_before(self, reset: StreamReset, data: bytes) -> StreamDataReceived | None:
        data = data[: self._reliable_size - self._delivered]
        self._advance(len(data))
        if self._delivered == self._reliable_size and self._final_size is not None:
            self._budget.resets.append(self._finish(reset, self._final_size))
        return StreamDataReceived(data=data, end_stream=False, stream_id=self._stream_id) if data else None

    def _finish(self, reset: StreamReset, final_size: int) -> StreamReset:
        self._budget.chunks -= len(self._starts)
        self._starts.clear()
        self._pieces.clear()
        self._advance(final_size - self._delivered)
        self.is_finished = True
        return reset

    def stop(self, error_code: int = QuicErrorCode.NO_ERROR) -> None:
        """Ask the peer to stop sending."""
        self._stop_error_code = error_code
        self.stop_pending = True

    def get_stop_frame(self) -> QuicStopSendingFrame:
        """The STOP_SENDING frame to write now."""
        self.stop_pending = False
        return QuicStopSendingFrame(error_code=self._stop_error_code, stream_id=self._stream_id)

    def on_stop_sending_delivery(self, delivery: QuicDeliveryState) -> None:
        """Write the STOP_SENDING frame again if it was lost."""
        if delivery != QuicDeliveryState.ACKED:
            self.stop_pending = True

    def _check_final_size(self, end: int, is_last: bool) -> None:
        if self._final_size is not None and (end > self._final_size or (is_last and end != self._final_size)):
            raise FinalSizeError(f"final size is {self._final_size}, a frame ends at {end}")
        if is_last:
            if end < self.highest_offset:
                raise FinalSizeError(f"final size {end} is below data received up to {self.highest_offset}")
            self._final_size = end

    def _keep(self, start: int, data: bytes) -> None:
        """Store the parts of `data` that no piece holds yet."""
        end = start + len(data)
        cursor = max(start, self._delivered)
        index = bisect_right(self._starts, cursor) - 1
        if index >= 0:
            cursor = max(cursor, self._end_of(index))
        while cursor < end:
            self._budget.steps += 1
            following = bisect_left(self._starts, cursor)
            stop = min(end, self._starts[following]) if following < len(self._starts) else end
            if stop > cursor:
                self._insert(following, cursor, data[cursor - start : stop - start])
            following = bisect_left(self._starts, stop)
            cursor = self._end_of(following) if following < len(self._starts) and stop < end else end

    def _insert(self, index: int, start: int, data: bytes) -> None:
        if index and self._end_of(index - 1) == start:
            # appending only: joining the piece behind as well would copy it once per frame sent backwards
            self._pieces[self._starts[index - 1]] += data
            return
        if self._budget.chunks >= self._budget.max_chunks:
            raise ReassemblyOverflowError
        self._budget.chunks += 1
        self._starts.insert(index, start)
        self._pieces[start] = bytearray(data)

    def _take(self) -> bytes:
        """Remove and return all bytes from the front up to the first gap."""
        ready = 0
        cursor = self._delivered
        while ready < len(self._starts) and self._starts[ready] == cursor:
            cursor = self._end_of(ready)
            ready += 1
        data = b"".join([self._pieces.pop(start) for start in self._starts[:ready]])
        del self._starts[:ready]
        self._budget.chunks -= ready
        return data

    def _end_of(self, index: int) -> int:
        start = self._starts[index]
        return start + len(self._pieces[start])

    def _advance(self, byte_count: int) -> None:
        self._delivered += byte_count
        self._budget.delivered_bytes += byte_count
