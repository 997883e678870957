"""The callbacks by which aioquic tells of keys: each refers to the connection, or to its log."""

from __future__ import annotations

from aioquic.quic.crypto import CryptoPair, NoCallback
from aioquic.tls import Context


def drop_key_logs(*pairs: CryptoPair) -> None:
    """Drop those by which aioquic logs keys."""
    for pair in pairs:
        for half in (pair.recv, pair.send):
            half._setup_cb = half._teardown_cb = NoCallback


def drop_tls_callbacks(context: Context) -> None:
    """Let go of the connection that TLS hands its keys, tickets and protocol to."""
    context.alpn_cb = context.get_session_ticket_cb = context.new_session_ticket_cb = None
    context.update_traffic_key_cb = _ignore


def _ignore(*_: object) -> None: ...
