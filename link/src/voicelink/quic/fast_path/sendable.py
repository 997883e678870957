"""What the streams of a connection may send now, by what aioquic keeps of them."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection
from aioquic.quic.stream import QuicStream, QuicStreamSender


def has_data(connection: QuicConnection, stream: QuicStream) -> bool:
    """Whether a stream has something to send that flow control lets through."""
    sender = stream.sender
    if sender.buffer_is_empty or stream.is_blocked:
        return False
    if not isinstance(sender, QuicStreamSender):
        return True
    if len(sender._pending):
        return sender.next_offset < sendable_end(connection, stream)
    if not sender._pending_eof:
        sender.buffer_is_empty = True  # aioquic notices when it asks for the frame after the last
    return sender._pending_eof


def sendable_end(connection: QuicConnection, stream: QuicStream) -> int:
    """The offset which data of a stream must not pass, by the peer's limits to the stream and the connection."""
    unused = connection._remote_max_data - connection._remote_max_data_used
    return min(stream.sender.highest_offset + unused, stream.max_stream_data_remote)
