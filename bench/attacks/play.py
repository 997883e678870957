"""`python -m bench.attacks.play NAME TARGET SECONDS CORE`: one attack, in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.attacks.kinds import quic, sessions, web
from bench.attacks.target import Target


@dataclass(frozen=True, slots=True)
class Attack:
    """`run` goes on until a monotonic time; its docstring says what it does.

    `reaches` names metrics of the worker, as in `/metrics`, that all rise where the attack gets to what it is for. One
    that honest clients raise, too, only shows an attack that raises it by more than they do within `--quick`.
    """

    run: Callable[[Target, float], None]
    reaches: tuple[str, ...]


OVER_WEBTRANSPORT = 'voice_sessions_accepted_total{transport="webtransport"}'
OF_HONEST_CLIENTS = frozenset((OVER_WEBTRANSPORT,))
"""These grow by one for each newcomer and each resume, too."""
PROTOCOL_ERRORS = "quic_protocol_errors_total"
IGNORED = "quic_packets_ignored_total"
LIMITED = 'voice_sessions_limited_total{limit="%s"}'
STATUS = 'web_responses_total{status="%d"}'
CUT_OFF = 'web_sockets_cut_off_total{cause="%s"}'

ATTACKS: Mapping[str, Attack] = {
    "CRYPTO gaps in Initials": Attack(quic.crypto_gaps_in_initials, (PROTOCOL_ERRORS,)),
    "CRYPTO gaps in 1-RTT": Attack(quic.crypto_gaps_in_1rtt, (PROTOCOL_ERRORS,)),
    "STREAM gaps": Attack(quic.stream_gaps, (IGNORED,)),
    "path challenges": Attack(quic.path_challenges, (IGNORED,)),
    "datagrams of no session": Attack(quic.datagrams, (IGNORED, "quic_datagram_frames_ignored_total")),
    "undecryptable Initials": Attack(
        quic.undecryptable_initials, ("quic_undecryptable_initials_total", "quic_retries_for_undecryptable_total")
    ),
    "acknowledging nothing": Attack(quic.acknowledging_nothing, (PROTOCOL_ERRORS,)),
    "media time": Attack(sessions.media_time, (LIMITED % "session_media",)),
    "WebSocket frames": Attack(web.websocket_frames, (CUT_OFF % "frame_rate", CUT_OFF % "fragments")),
    "media stream messages": Attack(web.media_stream_messages, (STATUS % 101, "telephony_limited_total")),
    "silent TCP connections": Attack(web.silent_connections, ('web_connections_evicted_total{cause="waiting"}',)),
    "half-open handshakes": Attack(
        quic.half_open, ("quic_retry_tokens_accepted_total", "quic_half_open_evicted_total")
    ),
    "sessions that never start": Attack(sessions.sessions_that_never_start, (LIMITED % "waiting",)),
    "odd requests": Attack(web.odd_requests, (STATUS % 400, STATUS % 413)),
    "odd requests over HTTP/3": Attack(sessions.odd_paths, (OVER_WEBTRANSPORT,)),
    "frames behind a gap": Attack(sessions.frames_behind_a_gap, (OVER_WEBTRANSPORT,)),
}


def main() -> None:
    name, target, seconds, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    ATTACKS[name].run(Target.of_json(target), time.monotonic() + float(seconds))


if __name__ == "__main__":
    main()
