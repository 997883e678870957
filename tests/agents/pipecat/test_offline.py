"""The project's own speech services in a pipeline."""

from __future__ import annotations

import io
import wave

from pipecat.frames.frames import ErrorFrame, Frame, TranscriptionFrame

from voice_gateway.agent.cascade.parts import OnWords
from voice_gateway.agents.pipecat.offline import RecogniserSTTService
from voice_gateway.errors import AgentError


class Recogniser:
    """Finds these words, or fails."""

    def __init__(self, found: tuple[str, ...] | AgentError) -> None:
        self._found = found

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Recogniser:
        self._on_words = on_words
        return self

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None:
        self._on_words(self._found, True)

    def abandon(self) -> None: ...


async def recognised(found: tuple[str, ...] | AgentError) -> list[Frame]:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(640))
    return [frame async for frame in RecogniserSTTService(Recogniser(found)).run_stt(written.getvalue())]


async def test_words_become_a_transcription() -> None:
    (frame,) = await recognised(("a", "taro"))
    assert isinstance(frame, TranscriptionFrame)
    assert frame.text == "a taro"


async def test_a_recogniser_that_fails_is_an_error_of_the_pipeline() -> None:
    (frame,) = await recognised(AgentError("the recogniser is gone"))
    assert isinstance(frame, ErrorFrame)
    assert frame.error == "the recogniser is gone"
