"""Let go of a connection that has ended, without the cyclic garbage collector.

aioquic's connection refers to itself by some sixty bound methods. Under a flood of connections the collector would have
thousands of objects to find at once, which stalls the event loop, and until then their memory is held.
"""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair, NoCallback


def break_cycles(connection: QuicConnection) -> None:
    """Take the references to itself out of a connection that will neither receive, send nor be timed again."""
    connection._QuicConnection__frame_handlers.clear()  # type: ignore[attr-defined]  # the mangled name
    connection._loss._send_probe = _send_nothing
    for space in connection._loss.spaces:
        space.sent_packets.clear()  # each knows the method that is to be told of its delivery
    context = getattr(connection, "tls", None)
    if context is None:  # before the first packet
        return
    context.alpn_cb = context.get_session_ticket_cb = context.new_session_ticket_cb = None
    context.update_traffic_key_cb = _ignore_key
    pairs: list[CryptoPair] = [*connection._cryptos.values(), *connection._cryptos_initial.values()]
    for pair in pairs:
        for half in (pair.recv, pair.send):
            half._setup_cb = half._teardown_cb = NoCallback


def _send_nothing() -> None: ...


def _ignore_key(*_: object) -> None: ...
