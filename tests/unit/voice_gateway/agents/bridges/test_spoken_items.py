"""What of a vendor's items was played."""

from __future__ import annotations

from voice_gateway.agent.base import PlaybackFinished
from voice_gateway.agents.bridges.bridge.call.speaking import spoken_items
from voice_gateway.agents.bridges.bridge.call.speaking.spoken_items import ItemCut, SpokenItems


def spoken(*items: tuple[str, int]) -> SpokenItems:
    found = SpokenItems(bytes_per_ms=2)
    for item_id, made_ms in items:
        found.begin(item_id, f"text of {item_id}")
        found.add(bytes(2 * made_ms))
    return found


def test_an_item_that_was_played_is_not_cut() -> None:
    items = spoken(("a", 100))
    assert items.finished(PlaybackFinished("text of a", 100)) == []
    assert not items.is_outstanding


def test_each_reply_that_was_cut_off_names_its_item() -> None:
    items = spoken(("a", 100), ("b", 50))
    assert items.finished(PlaybackFinished("", 40, is_interrupted=True)) == [ItemCut("a", 40)]
    assert items.finished(PlaybackFinished("", 0, is_interrupted=True)) == [ItemCut("b", 0)]


def test_more_than_was_made_is_no_cut() -> None:
    assert spoken(("a", 100)).finished(PlaybackFinished("", 5_000, is_interrupted=True)) == []


def test_joined_replies_share_what_was_played() -> None:
    items = spoken(("a", 100), ("b", 50))
    assert items.again("text of a text of b") == bytes(300)
    assert items.finished(PlaybackFinished("", 120, is_interrupted=True)) == [ItemCut("b", 20)]


def test_another_text_cannot_be_said_again() -> None:
    items = spoken(("a", 100))
    assert items.again("something else") is None
    assert not items.is_outstanding


def test_the_oldest_audio_is_dropped_first() -> None:
    items = spoken(("a", spoken_items._MOST_KEPT_BYTES // 2), ("b", 10))
    assert items.again("text of a text of b") is None
