"""Positions on the caller's timeline, and what of a context is saved."""

from __future__ import annotations

from typing import Any

from voice_gateway.agents.pipecat.call.saved import Saved, plain_messages, repaired
from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline

SECOND = 100


def said(timeline: PlaybackTimeline[str], text: str, seconds: int) -> None:
    timeline.begin(text)
    timeline.add(bytes(seconds * SECOND))
    timeline.end()


def test_items_are_due_in_their_order_when_the_playback_is_there() -> None:
    timeline = PlaybackTimeline[str](SECOND)
    said(timeline, "a b", 2)
    for at_s, word in ((0.0, "a"), (1.0, "b"), (0.5, "end")):
        timeline.schedule(at_s, word)
    assert timeline.due() == ["a"]
    timeline.played(999)
    assert timeline.due() == []
    timeline.played(1000)
    assert timeline.due() == ["b", "end"]


def test_an_interruption_leaves_the_position_that_was_played_and_nothing_else() -> None:
    timeline = PlaybackTimeline[str](SECOND)
    said(timeline, "a", 2)
    said(timeline, "b", 2)
    timeline.schedule(3.0, "late")
    timeline.finished(1500, is_interrupted=True)
    timeline.finished(0, is_interrupted=True)
    assert not timeline.is_outstanding
    assert timeline.cut() == ["late"]
    assert (timeline.played_s, timeline.made_s) == (1.5, 1.5)


def test_replies_that_are_said_again_are_one_and_those_before_them_were_played() -> None:
    timeline = PlaybackTimeline[str](SECOND)
    for text in ("a", "b", "c"):
        said(timeline, text, 1)
    assert timeline.again("x") is None
    again = timeline.again("b c")
    assert again is not None
    assert (len(again.audio), timeline.played_s) == (2 * SECOND, 1.0)
    timeline.played(500)
    assert timeline.played_s == 1.5
    timeline.finished(2000, is_interrupted=False)
    assert timeline.played_s == timeline.made_s == 3.0


def test_a_reply_is_not_played_beyond_what_was_made_of_it() -> None:
    timeline = PlaybackTimeline[str](SECOND)
    said(timeline, "a", 1)
    timeline.played(5000)
    assert timeline.played_s == 1.0


def call(*ids: str, content: str | None = None) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "tool_calls": calls, **({"content": content} if content else {})}


def test_calls_that_never_ended_are_left_out_of_a_restored_context() -> None:
    user = {"role": "user", "content": "hi"}
    done = {"role": "tool", "content": "5", "tool_call_id": "1"}
    open_ = {"role": "tool", "content": "IN_PROGRESS", "tool_call_id": "2"}
    assert repaired([user, call("1"), done, call("2"), open_]) == [user, call("1"), done]
    assert repaired([call("1", "2"), done, open_]) == [call("1"), done]
    assert repaired([call("2", content="wait"), open_]) == [{"role": "assistant", "content": "wait"}]


def test_what_is_saved_is_plain_and_comes_back() -> None:
    messages = plain_messages([{"role": "user", "content": "hi"}, object()])
    saved = Saved(messages, is_pending=True, answer="yes")
    assert Saved.from_state(saved.to_state()) == saved
    assert Saved.from_state({}) == Saved()
