"""Pipecat services over the parts of this project that need no network."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncGenerator
from typing import Any

from pipecat.frames.frames import ErrorFrame, Frame, TranscriptionFrame, TTSAudioRawFrame
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.utils.time import time_now_iso8601

from voice_gateway.agent.cascade.parts import Recogniser
from voice_gateway.errors import AgentError
from voicelink.audio.speech import SPEECH_RATE_HZ, Speech


class RecogniserSTTService(SegmentedSTTService):
    """Speech to text by a recogniser of a cascade, which is open and takes 16 kHz; one utterance at a time."""

    def __init__(self, recogniser: Recogniser, **options: Any) -> None:
        super().__init__(settings=STTSettings(model=None, language=None), ttfs_p99_latency=0.5, **options)
        self._recogniser = recogniser

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        """Recognise a whole utterance, a WAV file."""
        words: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()

        def on_words(found: tuple[str, ...] | AgentError, is_final: bool) -> None:
            if words.done():
                return
            if isinstance(found, AgentError):
                words.set_exception(found)
            elif is_final:
                words.set_result(found)

        utterance = self._recogniser.begin(on_words)
        with wave.open(io.BytesIO(audio)) as file:
            utterance.feed(file.readframes(file.getnframes()))
        utterance.end()
        try:
            text = " ".join(await words)
        except AgentError as error:
            yield ErrorFrame(str(error))
            return
        if text:
            yield TranscriptionFrame(text, "", time_now_iso8601())


class SpeechTTSService(TTSService):
    """Text to speech by a synthesiser of a cascade, in a thread, sentence by sentence."""

    def __init__(self, speech: Speech, **options: Any) -> None:
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            sample_rate=SPEECH_RATE_HZ,
            settings=TTSSettings(model=None, voice=None, language=None),
            **options,
        )
        self._speech = speech

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        audio = await asyncio.to_thread(lambda: b"".join(self._speech.synthesize(text)))
        yield TTSAudioRawFrame(audio, SPEECH_RATE_HZ, 1, context_id=context_id)
