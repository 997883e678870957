"""What the output of a pipeline knows of the answer in progress, and where in the audio its words belong."""

from __future__ import annotations

import pytest
from pipecat.frames.frames import (
    AggregatedTextFrame,
    FunctionCallCancelFrame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
    FunctionCallResultProperties,
    FunctionCallsStartedFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSTextFrame,
)

from voice_gateway.agents.pipecat.transport.output.answer_in_progress import AnswerInProgress
from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline
from voice_gateway.agents.pipecat.transport.output.text_positions import TextPositions

BYTES_PER_S = 48_000
SECOND_NS = 1_000_000_000
WORKS_ON, CALLED = (False, False), (False, True)
MADE = (True, False)


def started(*call_ids: str) -> FunctionCallsStartedFrame:
    return FunctionCallsStartedFrame([FunctionCallFromLLM("tool", call_id, {}, None) for call_id in call_ids])


def returned(call_id: str, properties: FunctionCallResultProperties | None = None) -> FunctionCallResultFrame:
    return FunctionCallResultFrame("tool", call_id, {}, "it", properties=properties)


class Answer(AnswerInProgress):
    def after(self, *frames: object) -> tuple[bool, bool]:
        for frame in frames:
            self.note(frame)
        return self.is_made, self.waits_for_tools


@pytest.fixture
def answer() -> Answer:
    return Answer()


def test_an_answer_without_tools_is_made_with_its_response(answer: Answer) -> None:
    assert answer.after() == MADE
    assert answer.after(LLMFullResponseStartFrame()) == WORKS_ON
    assert answer.after(LLMFullResponseEndFrame()) == MADE


def test_an_answer_with_tools_is_made_once_the_model_has_followed_up_the_last_one(answer: Answer) -> None:
    assert answer.after(LLMFullResponseStartFrame(), started("a", "b"), LLMFullResponseEndFrame()) == CALLED
    assert answer.after(returned("a")) == CALLED
    assert answer.after(returned("b")) == CALLED
    assert answer.after(LLMFullResponseStartFrame()) == WORKS_ON
    assert answer.after(LLMFullResponseEndFrame()) == MADE


def test_a_result_that_is_not_the_last_one_leaves_its_tool_running(answer: Answer) -> None:
    answer.after(started("a"))
    assert answer.after(returned("a", FunctionCallResultProperties(is_final=False, run_llm=False))) == CALLED
    assert answer.after(returned("a", FunctionCallResultProperties(run_llm=False))) == MADE


def test_a_tool_that_was_cancelled_is_not_followed_up(answer: Answer) -> None:
    answer.after(started("a"))
    assert answer.after(FunctionCallCancelFrame("tool", "a")) == MADE


def test_nothing_is_left_of_an_answer_that_was_cut(answer: Answer) -> None:
    answer.after(LLMFullResponseStartFrame(), started("a", "b"), returned("a"))
    answer.cut()
    assert answer.after() == MADE


class Speech:
    """A pipeline whose clock a test sets, in seconds."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timeline = PlaybackTimeline[str](BYTES_PER_S)
        self.positions = TextPositions(self.timeline, lambda: round(self.now_s * SECOND_NS))

    def make(self, duration_s: float) -> None:
        self.timeline.begin("")
        self.timeline.add(bytes(round(duration_s * BYTES_PER_S)))

    def word(self, context_id: str, at_s: float) -> float:
        frame = TTSTextFrame("word", "word")
        frame.context_id, frame.pts = context_id, round(at_s * SECOND_NS)
        return self.positions.of(frame)


def test_words_count_from_where_their_context_of_speech_began() -> None:
    speech = Speech()
    speech.make(2.0)
    speech.now_s = 100.0
    speech.positions.begin("a")
    speech.make(3.0)
    speech.now_s = 101.0
    assert speech.word("a", 100.25) == pytest.approx(2.25)
    assert speech.word("a", 99.0) == pytest.approx(2.0)


def test_a_context_that_follows_begins_after_the_words_before_it() -> None:
    speech = Speech()
    speech.make(2.0)
    speech.word("a", 5.0)
    assert speech.word("b", 5.5) == pytest.approx(2.5)


def test_text_without_a_time_follows_all_audio_so_far() -> None:
    speech = Speech()
    speech.make(2.0)
    assert speech.positions.of(TTSTextFrame("a sentence", "sentence")) == 2.0
    assert speech.positions.of(LLMFullResponseEndFrame()) == 2.0


def test_what_has_a_time_and_is_no_word_belongs_to_no_position() -> None:
    speech = Speech()
    speech.make(2.0)
    frame = AggregatedTextFrame("text", "sentence")
    frame.pts = SECOND_NS
    assert speech.positions.of(frame) == 0.0


def test_after_a_cut_contexts_begin_anew() -> None:
    speech = Speech()
    speech.make(2.0)
    speech.word("a", 9.0)
    speech.positions.cut()
    speech.make(1.0)
    assert speech.word("a", 0.5) == pytest.approx(3.5)
