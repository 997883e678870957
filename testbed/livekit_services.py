"""Plugins of LiveKit Agents around the project's own hearing and speech."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final, Protocol

from livekit.agents import APIConnectOptions, stt, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.errors import AgentError
from voicelink.audio.speech import SPEECH_RATE_HZ, Speech

HEARS_AT_HZ: Final = 16_000
_FRAME_BYTES: Final = 640


class Hearing(Protocol):
    """What a `Recogniser` is once it is open, and a pool of decoders."""

    def begin(self, on_words: OnWords) -> Utterance:
        """Start an utterance."""


class SentenceSTT(stt.STT):
    """Speech to text by an open recogniser that answers within its calls, in a thread; LiveKit finds the utterances."""

    def __init__(self, hearing: Hearing) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._hearing = hearing

    def words_of(self, pcm: bytes, rate_hz: int) -> str:
        """Return what is said in an utterance of PCM16."""
        if rate_hz != HEARS_AT_HZ:
            raise ValueError(f"the recogniser hears at {HEARS_AT_HZ} Hz, got {rate_hz} Hz: set the room's sample rate")
        found: list[tuple[str, ...]] = []

        def on_words(words: tuple[str, ...] | AgentError, is_final: bool) -> None:
            if is_final and not isinstance(words, AgentError):
                found.append(words)

        utterance = self._hearing.begin(on_words)
        for at in range(0, len(pcm), _FRAME_BYTES):
            utterance.feed(pcm[at : at + _FRAME_BYTES])
        utterance.end()
        return " ".join(found[-1]) if found else ""

    async def _recognize_impl(self, buffer: Any, *, language: Any, conn_options: Any) -> stt.SpeechEvent:
        frame = utils.combine_frames(buffer)
        text = await asyncio.to_thread(self.words_of, bytes(frame.data), frame.sample_rate)
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[stt.SpeechData(language="en", text=text)]
        )


class SentenceTTS(tts.TTS):
    """Text to speech in a thread, sentence by sentence; one at a time, as voices are not made for two threads."""

    def __init__(self, speech: Speech) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=SPEECH_RATE_HZ, num_channels=1)
        self._speech = speech
        self._speaking = threading.Lock()

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Spoken(tts=self, input_text=text, conn_options=conn_options)

    def pcm_of(self, text: str) -> bytes:
        """Return PCM16 at `SPEECH_RATE_HZ`."""
        with self._speaking:
            return b"".join(self._speech.synthesize(text))


class _Spoken(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        voice = self._tts
        assert isinstance(voice, SentenceTTS)
        output_emitter.initialize(
            request_id=utils.shortuuid(), sample_rate=SPEECH_RATE_HZ, num_channels=1, mime_type="audio/pcm"
        )
        output_emitter.push(await asyncio.to_thread(voice.pcm_of, self.input_text))
        output_emitter.flush()
