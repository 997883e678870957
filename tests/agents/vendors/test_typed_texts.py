"""Typed turns through every bridge: each reaches the vendor by its own message, and is in the history once."""

from __future__ import annotations

import json

import pytest

from tests.agents.support import shop
from tests.agents.support.all_vendors import DEEPGRAM, GPT_LIVE, KINDS, OPENAI, Kind, local_vendor
from tests.agents.support.line import Line
from tests.agents.support.vendor_voice import SENTENCES, shop_brain
from tests.agents.support.vendors.server import cut_once
from voice_gateway.agent.base import FinalTranscript, ReplyAudio, StopReply, UserText

TEXT = "a taro tea  with\nhalf ice"
MORE = "and a matcha latte"
each_vendor = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        monkeypatch.setenv(kind.key_variable, kind.key)


def typed(line: Line, text: str = TEXT, number: int | None = 4) -> None:
    line.conversation.text_received(UserText(number, text))


@each_vendor
async def test_a_typed_text_is_a_turn_that_the_vendor_answers(kind: Kind) -> None:
    async with local_vendor(kind) as vendor, Line(vendor.agent()) as line:
        await line.until(vendor.is_up)
        typed(line)
        await line.until(line.has_ended)
        assert line.record.said == [("user", TEXT), ("agent", kind.answer(TEXT))]
        assert [(each.text, each.through_message) for each in line.of(FinalTranscript)] == [(TEXT, 4)]
        assert vendor.asked() == [TEXT]
        await line.until(lambda: line.record.private == {})
        typed(line, MORE, 5)
        await line.until(lambda: line.has_ended(2))
        assert line.record.said[2:] == [("user", MORE), ("agent", kind.answer(MORE, 2))]
        assert len(vendor.sessions) == 1


@each_vendor
async def test_a_text_that_is_typed_before_the_session_is_up_is_in_the_history_once(kind: Kind) -> None:
    async with local_vendor(kind) as vendor, Line(vendor.agent()) as line:
        typed(line)
        typed(line, MORE, 5)
        await line.until(line.has_ended)
        asked = [TEXT, MORE] if kind.takes_history else [MORE]
        assert vendor.asked() == asked
        assert line.record.said == [("user", TEXT), ("user", MORE), ("agent", kind.answer(MORE, len(asked)))]


@each_vendor
async def test_a_typed_text_survives_a_vendor_that_is_lost_with_it(kind: Kind) -> None:
    async with local_vendor(kind) as vendor, Line(vendor.agent()) as line:
        await line.until(vendor.is_up)
        vendor.cut(cut_once(kind.typed[-1]))
        typed(line)
        await line.until(line.has_ended)
        assert len(vendor.sessions) == 2
        assert vendor.asked() == [TEXT]
        assert line.record.said == [("user", TEXT), ("agent", kind.answer(TEXT))]
        assert len(line.of(FinalTranscript)) == 1


@each_vendor
async def test_another_worker_answers_a_typed_text_that_had_no_answer(kind: Kind) -> None:
    async with local_vendor(kind) as vendor:
        async with Line(vendor.agent()) as line:
            await line.until(vendor.is_up)
            typed(line)
            assert line.record.private["pending"][0]["is_text"]
        async with Line(vendor.agent(), line.record) as line:
            await line.until(line.has_ended)
            assert line.of(FinalTranscript) == []
            assert line.record.said == [("user", TEXT), ("agent", kind.answer(TEXT))]
            assert vendor.asked() == [TEXT]
            await line.until(lambda: line.record.private == {})


@each_vendor
async def test_a_typed_text_stops_what_is_said_and_is_answered_after_it(kind: Kind) -> None:
    async with local_vendor(kind) as vendor, Line(vendor.agent(), is_playing=False) as line:
        await line.until(vendor.is_up)
        typed(line)
        await line.until(lambda: bool(line.of(ReplyAudio)))
        stops = len(line.of(StopReply))
        typed(line, MORE, 5)
        assert len(line.of(StopReply)) == stops + 1
        await line.until(lambda: bool(line.record.lines) and line.record.said[-1][1].startswith(kind.answer(MORE, 2)))
        assert [text for role, text in line.record.said if role == "user"] == [TEXT, MORE]
        assert vendor.asked() == [TEXT, MORE]
        await line.until(lambda: line.record.private == {})


async def test_an_injection_that_deepgram_refuses_is_in_the_history_of_the_next_session() -> None:
    async with local_vendor(DEEPGRAM) as vendor, Line(vendor.agent()) as line:
        await line.until(vendor.is_up)
        vendor.sessions[0].refuses_texts = True
        typed(line)
        await line.until(line.has_ended)
        assert line.record.said == [("user", TEXT), ("agent", DEEPGRAM.answer(TEXT))]
        assert len(vendor.sessions) == 2


@pytest.mark.parametrize("kind", [OPENAI, GPT_LIVE], ids=lambda kind: kind.name)
async def test_a_typed_order_calls_the_tool_once_where_the_vendor_is_lost_before_its_result(kind: Kind) -> None:
    shop.ordered.clear()
    order = SENTENCES["slt_order"]
    tools = ["tests.agents.support.shop:add_item"]
    async with local_vendor(kind, brain=shop_brain) as vendor, Line(vendor.agent(tools=tools)) as line:
        await line.until(vendor.is_up)

        def at_result(name: str) -> bool:
            return bool(shop.ordered) and len(vendor.sessions) == 1 and name.endswith("item.create")

        vendor.cut(at_result)
        typed(line, order)
        await line.until(line.has_ended)
        assert len(vendor.sessions) == 2
        assert len(shop.ordered) == 1
        said = json.dumps({"items": ["brown sugar milk tea"]}, separators=(",", ":"))
        assert line.record.said == [("user", order), ("agent", f"Your order is {said}.")]


async def test_gpt_live_is_given_a_long_text_in_parts_that_it_takes() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(4_000))
    async with local_vendor(GPT_LIVE) as vendor, Line(vendor.agent()) as line:
        await line.until(vendor.is_up)
        typed(line, text)
        await line.until(lambda: bool(vendor.asked()))
        assert vendor.asked() == [text]
