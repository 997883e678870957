"""Settings of a connection that do not belong to aioquic's configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Limits of one connection.

    `ack_delay_s` must stay below the 25 ms that are advertised: a frame every 20 ms then costs an ACK for one or two
    of them. `max_streams` bounds how many streams of each type a peer may have open. `max_queued_datagrams` bounds
    how stale a DATAGRAM can get behind a closed congestion window; the oldest is dropped.

    A server reads up to `max_packets_per_s` of one connection, in bursts of as many, and drops the rest unread; raise
    it where one client sends more than 10 Mbit/s. While all connections together take more than half of a core, each
    has `busy_packets_per_s`. `max_datagram_frames_per_s` goes to the application. A voice needs 150 of both, with every
    frame repeated twice.
    """

    ack_delay_s: float = 0.020
    max_streams: int = 256
    max_queued_datagrams: int = 16
    max_packets_per_s: int = 1500
    busy_packets_per_s: int = 200
    max_datagram_frames_per_s: int = 500


@dataclass(frozen=True, slots=True)
class PreferredAddress:
    """Where a server asks its clients to migrate after the handshake (RFC 9000 section 9.6)."""

    ipv4: tuple[str, int] | None = None
    ipv6: tuple[str, int] | None = None
