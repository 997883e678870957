"""Whether a connection is steady, and what is known of it while it is."""

from __future__ import annotations


class SteadyState:
    """What the connection, and both halves of its fast path, say to each other.

    `holds`: nothing is due but ACK, STREAM and DATAGRAM frames; what makes another due ends it at once. While it holds:
    `has_stream_data`, whether a stream may have something to send, and `idle_timeout_s`, which changes with the round
    trip alone, and so with ACK frames.
    """

    __slots__ = ("has_stream_data", "holds", "idle_timeout_s")

    def __init__(self) -> None:
        self.holds = False
        self.has_stream_data = False
        self.idle_timeout_s = 0.0

    def end(self) -> None:
        """A frame of another type is due, or may be."""
        self.holds = False
