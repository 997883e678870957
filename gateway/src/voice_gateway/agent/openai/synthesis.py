"""Text to speech behind `/audio/speech`, as a stream of PCM16."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import Final

from voice_gateway.agent.openai.service import Client, Service
from voice_gateway.errors import ServiceError

_FILE_HEADS: Final = (b"RIFF", b"ID3", b"OggS", b"fLaC", b"\xff\xfb", b"\xff\xf3")
"""How files of sound begin, from services that do not know the format `pcm`."""


class OpenAISpeech:
    """A `Synthesiser`: PCM16 at 24 kHz, as OpenAI's format `pcm` is.

    `instructions` say how to speak, to models that take them. `parameters` are further fields of the request by
    OpenAI's names, such as `{"speed": 1.1}`.
    """

    def __init__(
        self,
        model: str,
        voice: str,
        *,
        instructions: str | None = None,
        service: Service | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        how = {} if instructions is None else {"instructions": instructions}
        self._fields = {"model": model, "voice": voice, **how, **(parameters or {})}
        self._client = Client(service, "text to speech")

    async def open(self) -> None:
        """Read the key; raises `AgentError`."""
        await self._client.open()

    async def synthesize(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield samples as they come; raises `ServiceError`."""
        speech = self._client.api.audio.speech.with_streaming_response
        async with AsyncExitStack() as stack:
            making = stack.enter_async_context(speech.create(input=text, response_format="pcm", **self._fields))
            response = await self._client.answered(making)
            rest, is_first = b"", True
            with self._client.translated():
                async for piece in response.iter_bytes():
                    if is_first and piece.startswith(_FILE_HEADS):
                        raise ServiceError("text to speech sent a file: the service does not know response_format pcm")
                    is_first = False
                    whole = (len(rest) + len(piece)) // 2 * 2
                    pcm, rest = (rest + piece)[:whole], (rest + piece)[whole:]
                    if pcm:
                        yield pcm

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
