"""PROTOCOL.md says what the code does: types of keys, the state's schema, limits and waits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from voice_gateway.access.attempts import RUSH_S
from voice_gateway.access.session_quota import MAX_WAITING, MAX_WAITING_OF_ADDRESS
from voice_gateway.access.uplink_limits import CATCH_UP_S, MEDIA_BURST_S, MEDIA_CATCH_UP_S, MEDIA_RATE
from voice_gateway.agent.base import FinalTranscript, UserAudio
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.agents.order.dialogue import Dialogue, Question
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.order import Item, Order
from voice_gateway.session.core import client_messages
from voice_gateway.session.core.agent_event_limits import LONGEST_TEXT
from voice_gateway.session.core.record import numbered_messages, resume_tokens, transcript_lines
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.core.speech import turns
from voice_gateway.session.runtime import live_session
from voice_gateway.session.runtime.uplink import backlog
from voice_gateway.session.runtime.uplink.backlog import FRAMES_BEHIND
from voice_gateway.settings.access_sections import LimitsSection
from voice_gateway.settings.worker_sections import SessionSection
from voice_gateway.transport.uplink.reassembler import MAX_AHEAD, MAX_AHEAD_BYTES
from voice_gateway.transport.websocket import MAX_MESSAGE_BYTES
from voice_gateway.transport.webtransport import DELIVERY_DEADLINE_S, MAX_OPEN_STREAMS, SESSION_DEADLINE_S
from voicelink import wire
from voicelink.audio.frames import MAX_FRAME_MS
from voicelink.h3.limits import MAX_SESSIONS
from voicelink.quic import ConnectionOptions
from voicelink.wire import MAX_AUDIO_BYTES, MAX_CONTROL_BYTES, MAX_DATAGRAM_FRAMES, MAX_REPORT_RUNS

PAGE = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()
SESSION, DEFAULTS, CALLERS = SessionLimits(), SessionSection(), LimitsSection()
MESSAGES = {*wire.ClientMessage.__args__, *wire.ServerMessage.__args__}

LIMITS: dict[str, tuple[float, ...]] = {
    "control message": (MAX_CONTROL_BYTES,),
    "audio payload": (MAX_AUDIO_BYTES, MAX_FRAME_MS),
    "WebSocket message": (MAX_MESSAGE_BYTES,),
    "frames in a datagram": (MAX_DATAGRAM_FRAMES,),
    "runs in a report": (MAX_REPORT_RUNS,),
    "QUIC packets of a connection": (ConnectionOptions().max_packets_per_s,),
    "the same, while all connections take more than half of a core": (ConnectionOptions().busy_packets_per_s,),
    "DATAGRAM frames of a connection": (ConnectionOptions().max_datagram_frames_per_s,),
    "bytes of a session": (CALLERS.session_bytes_per_s or 0, CATCH_UP_S),
    "control messages and frames of a session": (CALLERS.session_messages_per_s or 0, CATCH_UP_S),
    "playing time of a session's audio, gaps as they are heard included": (MEDIA_RATE, MEDIA_BURST_S, MEDIA_CATCH_UP_S),
    "frames that are not `heard`": (SESSION.unacked_frames,),
    "audio that waits to be decoded": (SESSION.unacked_frames, SESSION.waiting_bytes),
    "the same, of streams over WebTransport": (FRAMES_BEHIND,),
    "audio before `start`": (SESSION.early_frames,),
    "audio before `start`, in bytes": (SESSION.early_bytes,),
    "frames ahead of a missing one": (MAX_AHEAD, MAX_AHEAD_BYTES),
    "frames given up at once": (MAX_AHEAD,),
    "streams of audio that a session has open towards the worker": (MAX_OPEN_STREAMS,),
    "WebTransport sessions on one connection": (MAX_SESSIONS,),
    "requests and handshakes of one address": (CALLERS.address_attempts_per_s or 0, RUSH_S),
    "connections of one address that have not said `start` or `resume`": (MAX_WAITING_OF_ADDRESS,),
    "those of all addresses": (MAX_WAITING,),
    "sessions of one address": (CALLERS.address_sessions or 0,),
    "sessions of one subject": (CALLERS.subject_sessions or 0,),
    "sessions of a worker": (DEFAULTS.max_sessions,),
    "numbered message": (wire.MAX_MESSAGE_BYTES,),
    "a client's numbered messages that are not acknowledged": (wire.MAX_UNACKED_MESSAGES,),
    "a worker's numbered messages that are not acknowledged": (
        numbered_messages._MOST_KEPT,
        numbered_messages._MOST_KEPT_BYTES,
    ),
    "answers said again after a resume": (turns._MOST_SAID_AGAIN,),
    "a client's `number`": (2, (client_messages._LAST_NUMBER + 1).bit_length() - 1, 2),
    "keys that wait behind audio": (backlog._MESSAGE_BYTES,),
    "text of an agent's reply, or of a turn, at once": (LONGEST_TEXT,),
    "`state`": (MAX_CONTROL_BYTES,),
    "what an agent says that waits to be played": (live_session._MOST_UNSENT_S,),
    "transcript kept": (transcript_lines._LONGEST_TRANSCRIPT,),
    "transcript that a resume gives again": (transcript_lines._LONGEST_TRANSCRIPT, transcript_lines._MOST_CHARACTERS),
    "resume tokens good at once": (resume_tokens._MOST_UNCONFIRMED,),
}
WAITS: dict[str, tuple[float, ...]] = {
    "for a WebTransport session on a new connection": (SESSION_DEADLINE_S,),
    "for `start` or `resume`": (DEFAULTS.start_timeout_s,),
    "for a `transfer` to be acknowledged": (SESSION.transfer_timeout_s,),
    "for a message or a frame": (DEFAULTS.idle_timeout_s,),
    "for the caller after a loss": (DEFAULTS.resume_window_s,),
    "for the caller after the last change, in the store": (DEFAULTS.record_ttl_s,),
    "for the agent after `bye`, without anything of it": (DEFAULTS.finish_timeout_s,),
    "for the last `played` after `bye`": (SESSION.playout_grace_s,),
    "for the last messages to be acknowledged": (DELIVERY_DEADLINE_S,),
    "for a resume elsewhere, of a worker that goes away": (DEFAULTS.drain_timeout_s,),
    "speech sent ahead of the ear, estimated": (DEFAULTS.downlink_target_s,),
    "speech sent ahead of the newest `played`": (DEFAULTS.downlink_cap_s,),
}


def rows(after: str, before: str) -> list[list[str]]:
    """The rows of the tables between two lines of the page, heads and rulers left out."""
    part = PAGE[PAGE.index(after) :]
    part = part[: part.index(before)] if before in part else part
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line[:1] == "|"]
    return [row for row in cells if not row[0].startswith("---")]


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*(?:\.\d+)?", text))


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    stated = {row[0].strip("| "): numbers(row[1]) for row in rows("| Limit |", "| Wait |")[1:]}
    early = [numbers(row[1]) for row in rows("| Limit |", "| Wait |") if row[0].strip("| ") == "audio before `start`"]
    stated["audio before `start`"], stated["audio before `start`, in bytes"] = early
    assert stated == LIMITS


def test_the_waits_on_the_page_are_those_of_the_code() -> None:
    assert {row[0].strip("| "): numbers(row[1]) for row in rows("| Wait |", "## 13")[1:]} == WAITS
    assert (SESSION.resume_window_s, SESSION.start_timeout_s) == (DEFAULTS.resume_window_s, DEFAULTS.start_timeout_s)


def kind(of: Any) -> str:
    """What the page calls a type of msgspec's."""
    if of is Any:
        return "plain value"
    shown = str(of)
    if "tuple" in shown:
        return "array"
    if "dict" in shown:
        return "map"
    for name, word in (("bool", "boolean"), ("float", "number"), ("int", "integer"), ("str", "string")):
        if name in shown:
            return word
    return "string" if "Literal" in shown else shown


def test_the_page_has_the_type_of_every_key() -> None:
    table = rows("| Keys | Type |", "The worker takes a float")[1:]
    typed = {key: row[1] for row in table for key in re.findall(r"`(\w+)`", row[0]) if not key.startswith("_")}
    for message in MESSAGES:
        for field in msgspec.structs.fields(message):
            wanted = kind(field.type)
            if field.encode_name.endswith("_ms") and field.encode_name != "position_ms":
                assert wanted == "number"
                continue
            assert typed[field.encode_name].startswith(wanted), f"{field.encode_name} is {wanted}"


def test_the_page_has_every_key_of_the_default_agent_s_state() -> None:
    item = Item(1, 2, "matcha latte", "large", "oat", 50, "less", ("boba",))
    dialogue = Dialogue(default_menu(), Order((item,)), Question.CONFIRM)
    state = dialogue.to_state()
    schema = PAGE[PAGE.index("### 4.1") : PAGE.index("### 4.2")]
    assert f"| `{state['kind']}` | `order`" in schema
    keys = {*state, *state["items"][0]} - {"kind"}
    assert {key for key in keys if f"`{key}`" not in schema} == set()
    named = set(re.findall(r"`(\w+)`", schema)) - {"state", "kind", "order", "echo", "utterances"}
    assert named <= keys


def test_the_page_has_every_key_of_the_echo_s_state() -> None:
    emitted: list[Any] = []
    conversation = EchoAgent().converse(emitted.append, None)
    for sequence in range(100):
        loud = (b"\x00\x40" if sequence < 50 else b"\x00\x00") * 320
        conversation.hear(UserAudio(sequence, loud))
    (state,) = (event.state for event in emitted if isinstance(event, FinalTranscript))
    assert state is not None
    assert set(state) == {"kind", "utterances"}
    assert f"| `{state['kind']}` | `echo`, `echo-pcmu` | `utterances`" in PAGE


def test_the_page_shows_how_long_a_ping_may_wait() -> None:
    """Where the stack hides acknowledgements: what the browser library does."""
    source = (Path(__file__).parents[2] / "client/web/src/call/recovery.ts").read_text()
    options = (Path(__file__).parents[2] / "client/web/src/options.ts").read_text()
    assert "DEAD_AFTER_MS = 750;" in source
    assert "heartbeatMs ?? 250" in options
    assert "send one every 250 ms" in PAGE
    assert re.search(r"waits for\s+0\.75 s and the last round trip", PAGE)
