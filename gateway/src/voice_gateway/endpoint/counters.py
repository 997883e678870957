"""The counters of an endpoint, in place of log lines: a line for each bad datagram would let a flood fill the disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class EndpointCounters:
    """Monotonic counts since the endpoint opened; metrics read them, nothing resets them."""

    datagrams_received: int = 0
    bytes_received: int = 0
    datagrams_sent: int = 0
    bytes_sent: int = 0
    send_errors: int = 0
    """Datagrams the socket refused: no route, too large for the path, buffer full."""

    connections_opened: int = 0
    handshakes_completed: int = 0
    connections_closed: int = 0
    handshake_timeouts: int = 0
    """Half-open connections dropped because the client never finished."""

    half_open_evicted: int = 0
    """Half-open connections closed at `max_half_open` to make room for a newcomer: the oldest of the network that held
    most."""

    handshake_datagrams_dropped: int = 0
    """Datagrams of clients whose connection was about to begin that found no room to wait."""

    refused_full: int = 0
    refused_stopped: int = 0
    refused_address: int = 0
    """New connections turned away: at `max_connections`, after `stop_accepting`, too many attempts of one proven
    address."""

    retries_sent: int = 0
    retries_for_address: int = 0
    """Of these, those sent because many connections seemed to come from one address."""
    retries_for_undecryptable: int = 0
    """New clients that had to prove their address because many Initials could not be decrypted."""
    retry_tokens_accepted: int = 0
    retry_tokens_rejected: int = 0
    new_tokens_accepted: int = 0
    """Clients whose address was proven by a token of an earlier connection."""
    handshakes_resumed: int = 0
    early_data_accepted: int = 0
    """Of the completed ones: those that went on from a ticket of any worker, and of them those with 0-RTT packets."""
    version_negotiations_sent: int = 0
    stateless_resets_sent: int = 0
    stateless_resets_suppressed: int = 0
    """Resets not sent because of their rate limit."""

    malformed: int = 0
    """Datagrams that are no QUIC packet, or too small for what they claim to be."""
    undecryptable_initials: int = 0
    """Initials that are not protected with the keys of their connection ID; no connection is made for them."""
    unknown_foreign: int = 0
    """Datagrams for a connection ID that is not known here and may live on another server."""

    untrusted_source: int = 0
    """Datagrams on the inner socket from a host that is no trusted proxy."""
    inner_malformed: int = 0
    """Datagrams of a trusted proxy without a usable SPP header."""

    packets_ignored: int = 0
    """Datagrams of a connection dropped unread, for their size, their rate or the work of those before them; added when
    the connection ends."""
    datagram_frames_ignored: int = 0
    """DATAGRAM frames of a connection beyond `ConnectionOptions.max_datagram_frames_per_s`; added when it ends."""

    path_changes: int = 0
    protocol_errors: int = 0
    """Connections that this side closed because the peer broke QUIC or HTTP/3."""
    internal_errors: int = 0
    """Exceptions while handling one connection, which was then closed; each is a defect worth a report."""
