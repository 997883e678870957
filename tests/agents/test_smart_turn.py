"""Smart Turn's own network: sentences that are over, and sentences cut in two."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.recordings import recording
from voice_gateway.agent.cascade.smart_turn import SmartTurn

PAUSE = bytes(200 * 16 * 2)


async def judge(pcm: bytes) -> bool:
    model = SmartTurn()
    await model.open()
    judged: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    model.judge(pcm, judged.set_result)
    try:
        async with asyncio.timeout(20):
            return await judged
    finally:
        await model.close()


@pytest.mark.parametrize("name", ["rms_change", "rms_read_back", "rms_off_menu"])
async def test_a_whole_sentence_is_over(name: str) -> None:
    assert await judge(recording(name) + PAUSE)


@pytest.mark.parametrize("name", ["slt_order", "rms_two_drinks", "rms_off_menu"])
async def test_half_a_sentence_is_not_over(name: str) -> None:
    pcm = recording(name)
    assert not await judge(pcm[: len(pcm) // 4 * 2] + PAUSE)
