"""A language model behind `/chat/completions`, streaming, with tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from voice_gateway.agent.call.llm import Message, ToolRequest
from voice_gateway.agent.openai.service import Client, Service


class OpenAIChat:
    """A `LanguageModel`. Open it in the agent's `open`, close it in its `close`.

    `instructions` come first in each request, as the system's message. `parameters` are further fields of the request
    by OpenAI's names, such as `{"temperature": 0.3}`.
    """

    def __init__(
        self,
        model: str,
        *,
        instructions: str = "",
        service: Service | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        self._model = model
        self._instructions = instructions
        self._parameters = dict(parameters or {})
        self._client = Client(service, "the language model")

    async def open(self) -> None:
        """Read the key; raises `AgentError`."""
        await self._client.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def stream(self, messages: Sequence[Message]) -> AsyncGenerator[str, None]:
        """Yield the answer's text in pieces, as `Call.say` takes it; raises `ServiceError`."""
        async with aclosing(self._deltas(messages, {})) as deltas:
            async for delta in deltas:
                if text := _text(delta):
                    yield text

    async def choose(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield text in pieces, and at the end the tools that the model wants called; raises `ServiceError`."""
        offered = {"tools": [{"type": "function", "function": dict(each)} for each in tools]} if tools else {}
        wanted: list[_Wanted] = []
        async with aclosing(self._deltas(messages, offered)) as deltas:
            async for delta in deltas:
                if text := _text(delta):
                    yield text
                for piece in delta.tool_calls or ():
                    _add(wanted, piece)
        for number, each in enumerate(wanted):
            yield ToolRequest(each.id or f"call_{number}", each.name, each.arguments or "{}")

    async def _deltas(self, messages: Sequence[Message], offered: Mapping[str, object]) -> AsyncGenerator[Any, None]:
        instructions = [{"role": "system", "content": self._instructions}] if self._instructions else []
        request = self._client.api.chat.completions.create(
            model=self._model,
            messages=[*instructions, *messages],
            stream=True,
            **offered,
            **self._parameters,
        )
        stream = await self._client.answered(request)
        try:
            with self._client.translated():
                async for chunk in stream:
                    for choice in (chunk.choices or ())[:1]:  # a chunk of figures has none
                        yield choice.delta
        finally:
            await stream.close()


@dataclass(slots=True)
class _Wanted:
    """A tool call that arrives in pieces."""

    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""


def _text(delta: Any) -> str:
    return str(delta.content or delta.refusal or "")


def _add(wanted: list[_Wanted], piece: Any) -> None:
    """Put a piece to its call: by index or, from services that leave that out, to the last one without an ID."""
    found = next((each for each in wanted if each.index == piece.index), None)
    if piece.index is None:
        found = wanted[-1] if wanted and not piece.id else None
    if found is None:
        found = _Wanted(piece.index)
        wanted.append(found)
    found.id = found.id or piece.id or ""
    if piece.function is not None:
        found.name += piece.function.name or ""
        found.arguments += piece.function.arguments or ""
