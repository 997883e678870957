"""For which layer a sample counts."""

from __future__ import annotations

import pytest

from bench.capacity.layers import LAYERS, OTHER, QUIC_BUILD, QUIC_OTHER, QUIC_RECEIVE, SENDTO, count, layer

LOOP = "run (uvloop/loop.pyx:1)"
RECEIVE = "receive_datagram (/v/aioquic/quic/connection.py:9)"


@pytest.mark.parametrize(
    ("innermost", "expected"),
    [
        ("handle (/t/link/src/voicelink/h3/webtransport.py:3)", "HTTP/3 and transport"),
        ("handle (/t/gateway/src/voice_gateway/transport/webtransport.py:3)", "HTTP/3 and transport"),
        ("frame_received (/t/gateway/src/voice_gateway/session/core/session.py:3)", "session"),
        ("decode (/t/link/src/voicelink/audio/opus.py:3)", "codec"),
        ("probability (/t/link/src/voicelink/audio/vad.py:3)", "agent and VAD"),
        ("hear (/t/gateway/src/voice_gateway/agent/turn.py:3)", "agent and VAD"),
        ("take (/t/link/src/voicelink/quic/limits/workload.py:3)", "rate limits"),
        ("take (/t/link/src/voicelink/net/token_bucket.py:3)", "rate limits"),
        ("_fire (/t/link/src/voicelink/net/deadline_timer.py:3)", "timers"),
        ("decrypt_packet (/v/aioquic/quic/crypto.py:3)", QUIC_RECEIVE),
        ("hear (/t/gateway/session/session.py:3)", "session"),
        ("decode (/t/gateway/audio/opus.py:3)", "codec"),
        ("getattr (<built-in>)", QUIC_RECEIVE),
    ],
)
def test_the_innermost_frame_of_a_layer_decides(innermost: str, expected: str) -> None:
    """The last one belongs to no layer: what called it does."""
    assert layer([LOOP, RECEIVE, innermost]) == expected
    assert expected in LAYERS


def test_receiving_and_building_are_told_apart_by_the_innermost_function_that_says_it() -> None:
    send = "datagrams_to_send (/v/aioquic/quic/connection.py:9)"
    write = "_write_application (/v/aioquic/quic/connection.py:10)"
    assert layer([LOOP, RECEIVE, send, write, "end (/v/aioquic/quic/packet.py:3)"]) == QUIC_BUILD
    assert layer([LOOP, send, "on_ack_received (/v/aioquic/quic/recovery.py:3)"]) == QUIC_RECEIVE
    assert layer([LOOP, "get_timer (/v/aioquic/quic/connection.py:9)"]) == QUIC_OTHER


def test_a_system_call_that_sends_is_a_layer_of_its_own() -> None:
    endpoint = "send (/t/gateway/src/voice_gateway/endpoint/endpoint.py:3)"
    assert layer([LOOP, endpoint, "__sendto (libc.so.6)"]) == SENDTO
    assert layer([LOOP, endpoint, "uv__udp_sendmsg (uvloop/loop.so)", "sendmsg (libc.so.6)"]) == SENDTO


def test_what_belongs_to_no_layer_is_the_event_loop() -> None:
    assert layer([LOOP]) == OTHER


def test_other_threads_and_waiting_for_sockets_do_not_count() -> None:
    main, other = 'thread (0x1): "MainThread"', 'thread (0x2): "log"'
    raw = f"{main};{LOOP};uv__io_poll (linux.c:1452);epoll_pwait (libc.so.6) 3\n"
    raw += f"{main};{LOOP};{RECEIVE} 7\n{other};{LOOP};{RECEIVE} 5\nno stack\n"
    assert count(raw) == {QUIC_RECEIVE: 7}
