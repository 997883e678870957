"""Pipecat services without a network: words of a script, a language model that is a function, 0.35 s of tone a word."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
)
from pipecat.services.llm_service import FunctionCallFromLLM, LLMService
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService

WORD_S = 0.35
RATE_HZ = 24_000


def voice(seconds: float) -> bytes:
    """What the energy detector below takes for speech, at 16 kHz."""
    return bytes((np.sin(np.arange(round(seconds * 16_000)) * 0.2) * 8_000).astype("<i2").tobytes())


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * 16_000) * 2)


class EnergyVAD(VADAnalyzer):
    def __init__(self, stop_s: float = 0.2) -> None:
        super().__init__(params=VADParams(start_secs=0.1, stop_secs=stop_s, min_volume=0.0))

    def num_frames_required(self) -> int:
        return int(self.sample_rate) // 50

    def voice_confidence(self, buffer: bytes) -> float:
        return float(np.abs(np.frombuffer(buffer, "<i2").astype(np.float32)).mean() > 500)


class ScriptedSTT(SegmentedSTTService):
    """The n-th utterance of a process has the n-th text."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(settings=STTSettings(model=None, language=None), ttfs_p99_latency=0.1)
        self._texts = itertools.chain(texts, itertools.repeat(""))

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        text = next(self._texts)
        if text:
            yield TranscriptionFrame(text, "", "2026-01-01T00:00:00Z")


Answer = str | tuple[str, dict[str, Any]]
"""A text, or a tool and its arguments."""


class FunctionLLM(LLMService):
    """Answers with what a function makes of the context's messages; `runs` are the contexts that it was asked with."""

    def __init__(self, answer: Callable[[list[dict[str, Any]]], Answer]) -> None:
        super().__init__(
            settings=LLMSettings(
                model=None,
                system_instruction=None,
                temperature=None,
                max_tokens=None,
                top_p=None,
                top_k=None,
                frequency_penalty=None,
                presence_penalty=None,
                seed=None,
                filter_incomplete_user_turns=None,
                user_turn_completion_config=None,
            )
        )
        self._answer = answer
        self.runs: list[list[dict[str, Any]]] = []
        self._ids = itertools.count()

    async def process_frame(self, frame: Frame, direction: Any) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        self._register_tools(frame.context)
        messages = [dict(message) for message in frame.context.get_messages()]
        self.runs.append(messages)
        await self.push_frame(LLMFullResponseStartFrame())
        answer = self._answer(messages)
        if isinstance(answer, str):
            for word in answer.split():
                await self.push_frame(LLMTextFrame(f"{word} "))
        else:
            name, arguments = answer
            await self.run_function_calls(
                [
                    FunctionCallFromLLM(
                        function_name=name,
                        tool_call_id=f"call-{next(self._ids)}",
                        arguments=arguments,
                        context=frame.context,
                    )
                ]
            )
        await self.push_frame(LLMFullResponseEndFrame())

    def _register_tools(self, context: Any) -> None:
        for tool in getattr(context.tools, "direct_functions", ()):
            self._register_direct_function(tool.function)


class ToneTTS(TTSService):
    """Makes all audio of a sentence at once, with times of its words or without."""

    def __init__(self, *, has_words: bool = True) -> None:
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            push_text_frames=not has_words,
            sample_rate=RATE_HZ,
            settings=TTSSettings(model=None, voice=None, language=None),
        )
        self._has_words = has_words
        self._context = ""
        self._at_s = 0.0

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        words = text.split()
        if context_id != self._context:
            self._context, self._at_s = context_id, 0.0
        if self._has_words:
            times = [(word, self._at_s + index * WORD_S) for index, word in enumerate(words)]
            await self.add_word_timestamps(times, context_id)
        self._at_s += len(words) * WORD_S
        for word in words:
            yield TTSAudioRawFrame(self.sound(word), RATE_HZ, 1, context_id=context_id)

    def sound(self, word: str) -> bytes:
        """Return what a word sounds like: `WORD_S` of a tone, the same for all."""
        return bytes((np.sin(np.arange(round(WORD_S * RATE_HZ)) * 0.1) * 8_000).astype("<i2").tobytes())
