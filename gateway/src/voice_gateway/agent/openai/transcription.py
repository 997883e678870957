"""Speech to text behind `/audio/transcriptions`, a whole turn at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.agent.openai.service import Client, Service
from voice_gateway.errors import AgentError
from voicelink.audio.wav import wav_header


class OpenAITranscription:
    """A `Recogniser` that sends each turn as a WAV file when it is over; there are no partial transcripts.

    `language` is an ISO 639-1 code, which helps short turns; `prompt` has words to expect. `parameters` are further
    fields of the request by OpenAI's names.
    """

    def __init__(
        self,
        model: str,
        *,
        language: str | None = None,
        prompt: str | None = None,
        rate_hz: int = 16_000,
        service: Service | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        given = {"language": language, "prompt": prompt}
        self._fields: dict[str, Any] = {
            "model": model,
            **{name: value for name, value in given.items() if value is not None},
            **(parameters or {}),
        }
        self._rate_hz = rate_hz
        self._client = Client(service, "speech to text")
        self._running: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Read the key; raises `AgentError`."""
        await self._client.open()

    def begin(self, on_words: OnWords) -> Utterance:
        return _SentUtterance(self, on_words)

    async def close(self) -> None:
        for each in self._running:
            each.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._client.close()

    def send(self, pcm: bytes, on_words: OnWords) -> asyncio.Task[None]:
        """Begin to have a turn recognised."""
        task = asyncio.get_running_loop().create_task(self._recognise(pcm, on_words))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _recognise(self, pcm: bytes, on_words: OnWords) -> None:
        file = ("turn.wav", wav_header(self._rate_hz, len(pcm)) + pcm, "audio/wav")
        try:
            answer = await self._client.answered(
                self._client.api.audio.transcriptions.create(file=file, **self._fields)
            )
        except AgentError as error:
            on_words(error, True)
        else:
            on_words(tuple(str(answer if isinstance(answer, str) else answer.text or "").split()), True)


class _SentUtterance:
    """One turn, kept until its end."""

    def __init__(self, service: OpenAITranscription, on_words: OnWords) -> None:
        self._service = service
        self._on_words = on_words
        self._pcm = bytearray()
        self._sending: asyncio.Task[None] | None = None

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    def end(self) -> None:
        self._sending = self._service.send(bytes(self._pcm), self._on_words)

    def abandon(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
