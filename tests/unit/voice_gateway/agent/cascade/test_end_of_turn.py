"""A model that is asked at each pause whether the turn is over, and what happens without one."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.unit.voice_gateway.agent.cascade.test_conversation import (
    QUIET,
    SPEECH,
    SampleVoice,
    ScriptedRecogniser,
    ScriptedSpeech,
)
from voice_gateway.agent.base import AgentEvent, UserAudio, UserStoppedSpeaking
from voice_gateway.agent.cascade import smart_turn
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer, OnJudged
from voice_gateway.agent.cascade.smart_turn import SmartTurn

FRAME_MS = 20


class Voices:
    def detector(self) -> SampleVoice:
        return SampleVoice()


class Judge:
    """Says at once what the test expects; `None` is no answer."""

    def __init__(self, *judged: bool | None) -> None:
        self._judged = list(judged)
        self.asked: list[int] = []
        self.late: list[OnJudged] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def judge(self, pcm: bytes, on_judged: OnJudged) -> None:
        self.asked.append(len(pcm))
        is_over = self._judged.pop(0)
        if is_over is None:
            self.late.append(on_judged)
        else:
            on_judged(is_over)


class Quiet(DialoguePolicy):
    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        on_answer(Answer(""))


async def ended_after_ms(judge: Judge, frames: str) -> list[int]:
    """Return how long after the beginning each turn was over; `v` is a frame of voice, `.` one of silence."""
    cascade = Cascade(ScriptedRecogniser(), Voices, ScriptedSpeech, end_of_turn=judge, is_inline=True)
    await cascade.open()
    ends: list[int] = []
    now = 0

    def emit(event: AgentEvent) -> None:
        if isinstance(event, UserStoppedSpeaking):
            ends.append(now)

    conversation = cascade.converse(Quiet(), emit)
    for sequence, kind in enumerate(frames):
        now = (sequence + 1) * FRAME_MS
        conversation.hear(UserAudio(sequence, SPEECH if kind == "v" else QUIET))
    await cascade.close()
    return ends


@pytest.mark.parametrize(("is_over", "silence_ms"), [(True, 260), (None, 660), (False, 1_400)])
async def test_the_answer_sets_how_long_the_pause_must_be(is_over: bool | None, silence_ms: int) -> None:
    (end,) = await ended_after_ms(Judge(is_over), "v" * 20 + "." * 100)
    assert end - 400 == pytest.approx(silence_ms, abs=FRAME_MS)


async def test_each_pause_is_judged_once_with_all_of_the_turn() -> None:
    judge = Judge(False, True)
    (end,) = await ended_after_ms(judge, "v" * 20 + "." * 30 + "v" * 20 + "." * 30)
    assert end == pytest.approx(2_000 - 600 + 260, abs=FRAME_MS)
    assert [size // 640 for size in judge.asked] == [30, 80]


async def test_a_short_pause_is_not_judged() -> None:
    judge = Judge(True)
    await ended_after_ms(judge, "v" * 20 + "." * 8 + "v" * 20)
    assert judge.asked == []


async def test_an_answer_that_comes_after_the_pause_is_dropped() -> None:
    judge = Judge(None, None)
    cascade = Cascade(ScriptedRecogniser(), Voices, ScriptedSpeech, end_of_turn=judge, is_inline=True)
    await cascade.open()
    events: list[AgentEvent] = []
    conversation = cascade.converse(Quiet(), events.append)
    for sequence, kind in enumerate("v" * 20 + "." * 15 + "v" * 5 + "." * 15):
        if sequence == 36:
            judge.late[0](True)
        conversation.hear(UserAudio(sequence, SPEECH if kind == "v" else QUIET))
    assert not [each for each in events if isinstance(each, UserStoppedSpeaking)]
    await cascade.close()


async def test_no_more_than_8_s_of_a_turn_are_judged() -> None:
    judge = Judge(True)
    await ended_after_ms(judge, "v" * 600 + "." * 30)
    assert judge.asked == [8 * 32_000]


async def test_without_the_weights_one_warning_says_so_and_pauses_are_not_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smart_turn, "find_spec", lambda name: None)
    model = SmartTurn()
    with capture_logs() as logs:
        await model.open()
    assert [each["event"] for each in logs] == ["end_of_turn_model_missing"]
    assert "pipecat" in logs[0]["remedy"]
    judged: list[bool] = []
    model.judge(bytes(640), judged.append)
    await model.close()
    assert judged == []
