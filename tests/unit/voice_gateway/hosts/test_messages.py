"""The host protocol's messages, and the page that describes them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgpack
import pytest

from voice_gateway.agent.base import (
    AgentEvent,
    AudioFormat,
    CallClientTool,
    FinalTranscript,
    Reply,
    ReplyAudio,
    SessionView,
    StateChanged,
)
from voice_gateway.hosts.messages import (
    EVENT_TYPES,
    MAX_AUDIO_PIECE_BYTES,
    AskPressed,
    FromHost,
    FromWorker,
    Handled,
    Hello,
    HostLine,
    Open,
    decode_from_host,
    decode_from_worker,
    encode_control,
    encode_frame,
    encode_reply_audio,
)
from voice_gateway.hosts.worker.call.continuity import Continuity
from voicelink.audio.codecs.opus_slots import EMPTY_SLOT, slot_of
from voicelink.wire import Malformed

PAGE = Path(__file__).parents[4] / "gateway" / "docs" / "hosts.md"


def an_event(kind: type[Any]) -> AgentEvent:
    """Return an event with a value in each field."""
    values = {str: "tea", int: 1, bool: True, float: 5.0, bytes: b"abcd", Mapping: {"n": [1]}}

    def value(hint: Any) -> Any:
        if get_origin(hint) in (Union, types.UnionType):
            hint = get_args(hint)[0]
        return values[get_origin(hint) or hint]

    hints = get_type_hints(kind)
    event: AgentEvent = kind(**{each.name: value(hints[each.name]) for each in fields(kind)})
    return event


@pytest.mark.parametrize("kind", get_args(AgentEvent), ids=lambda kind: kind.__name__)
def test_each_event_of_an_agent_comes_back_as_it_was(kind: type[Any]) -> None:
    event = an_event(kind)
    raws = [encode_control([event])] if kind is not ReplyAudio else encode_reply_audio(b"abcd", AudioFormat.PCM16)
    assert [decode_from_host(raw, AudioFormat.PCM16) for raw in raws] == [[event]]


def test_each_event_of_an_agent_reaches_the_session() -> None:
    continuity = Continuity(SessionView("s-1", 0, {}, tuple, lambda: True), None)
    events = [an_event(kind) for kind in get_args(AgentEvent)]
    assert [each for event in events for each in continuity.follow(event)] == events


def test_what_an_agent_leaves_out_comes_back_as_none() -> None:
    for event in (FinalTranscript("tea", 7), StateChanged(checkpoint=3), CallClientTool("k", "show", {}, 5.0)):
        assert decode_from_host(encode_control([event]), AudioFormat.PCM16) == [event]


def test_messages_that_go_together_come_together() -> None:
    raw = encode_control([Reply("hi"), Handled(id=3)])
    assert decode_from_host(raw, AudioFormat.PCM16) == [Reply("hi"), Handled(id=3)]


def test_a_control_message_is_a_map_that_another_reader_understands() -> None:
    raw = encode_control([FinalTranscript("tea", 7)])
    assert raw[0] == 0
    assert msgpack.unpackb(raw[1:]) == {"type": "final_transcript", "text": "tea", "through_sequence": 7}


def test_open_comes_back_as_it_was() -> None:
    opened = Open(
        session="s", epoch=2, turn=1, transcript=(HostLine(1, "user", "a"),), state=None, private_state={"x": [1]}
    )
    assert decode_from_worker(encode_control([opened]), AudioFormat.PCM16) == [opened]


def test_unknown_types_keys_and_kinds_are_skipped() -> None:
    raw = b"\0" + msgpack.packb([{"type": "later", "x": 1}, {"type": "reply", "text": "hi", "x": 2}, {}])
    assert decode_from_host(raw, AudioFormat.PCM16) == [Reply("hi")]
    assert decode_from_host(b"\x09abc", AudioFormat.PCM16) == []


@pytest.mark.parametrize(
    "body", [b"\xc1", msgpack.packb({"type": "reply", "text": 5}), msgpack.packb({"type": "reply"})]
)
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    assert isinstance(decode_from_host(b"\0" + body, AudioFormat.PCM16), Malformed)


@pytest.mark.parametrize("raw", [b"", b"\1", b"\1\x40", b"\1\0a"])
def test_a_frame_that_is_cut_short_is_malformed(raw: bytes) -> None:
    assert isinstance(decode_from_worker(raw, AudioFormat.PCM16), Malformed)


def test_a_frame_comes_back_as_it_was() -> None:
    assert decode_from_worker(encode_frame(70_000, b"abcd", AudioFormat.PCM16), AudioFormat.PCM16) == (70_000, b"abcd")


def test_opus_travels_without_the_padding_of_its_slots() -> None:
    audio = slot_of(b"packet") + EMPTY_SLOT
    raw = encode_frame(1, audio, AudioFormat.OPUS)
    assert raw == b"\1\1\0\6packet\0\0"
    assert decode_from_worker(raw, AudioFormat.OPUS) == (1, audio)
    assert isinstance(decode_from_worker(raw[:-1], AudioFormat.OPUS), Malformed)


def test_long_audio_of_a_reply_is_cut() -> None:
    pcm = bytes(2 * MAX_AUDIO_PIECE_BYTES + 10)
    pieces = encode_reply_audio(pcm, AudioFormat.PCM16)
    assert [len(piece) - 1 for piece in pieces] == [MAX_AUDIO_PIECE_BYTES, MAX_AUDIO_PIECE_BYTES, 10]
    assert decode_from_host(pieces[2], AudioFormat.PCM16) == [ReplyAudio(bytes(10))]


def test_the_page_names_each_type_and_key() -> None:
    text = PAGE.read_text()
    names = set(EVENT_TYPES)
    for kind in (*get_args(FromWorker), *get_args(FromHost)):
        names |= {str(kind.__struct_config__.tag), *kind.__struct_fields__}
    assert {name for name in names if f"`{name}`" not in text} == set()
    assert Hello.__struct_config__.tag == "hello"
    assert AskPressed.__struct_config__.tag == "pressed"
