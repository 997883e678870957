"""Settings of a connection that do not belong to aioquic's configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Limits of one connection.

    Packets are acknowledged after `ack_packets` of them or `ack_delay_s`, those behind a new gap at once; a peer that
    takes ACK_FREQUENCY is asked to do the same. Longer spares both sides bare ACKs, and adds to the probe timeout: the
    last words before a pause are sent again so much later where they were lost. `max_streams` bounds how many streams
    of each type a peer may have open. `max_queued_datagrams` bounds how stale a DATAGRAM can get behind a closed
    congestion window; the oldest is dropped.

    A server reads up to `max_packets_per_s` of one connection, in bursts of as many, and drops the rest unread; raise
    it where one client sends more than 10 Mbit/s. While all connections together take more than half of a core, each
    has `busy_packets_per_s`. `max_datagram_frames_per_s` goes to the application. A voice needs 150 of both, with every
    frame repeated twice.

    `has_fast_path` False has aioquic read and build every packet, at more CPU; to compare the two.
    """

    ack_packets: int = 3
    ack_delay_s: float = 0.060
    max_streams: int = 256
    max_queued_datagrams: int = 16
    max_packets_per_s: int = 1500
    busy_packets_per_s: int = 200
    max_datagram_frames_per_s: int = 500
    has_fast_path: bool = True


@dataclass(frozen=True, slots=True)
class PreferredAddress:
    """Where a server asks its clients to migrate after the handshake (RFC 9000 section 9.6)."""

    ipv4: tuple[str, int] | None = None
    ipv6: tuple[str, int] | None = None
