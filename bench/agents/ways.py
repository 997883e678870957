"""The ways to bring an agent, and the settings of a worker for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

_BRIDGES: Final = "voice_gateway.agents.bridges"
ORDER: Final = "can i have a brown sugar milk tea with half sugar and grass jelly"
_ORDER_S: Final = 4.4
"""An utterance of the order as the example for Node.js finds it, with the pause that ends it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to bring an agent.

    `agent` is what a worker or `voice-gateway agent run` loads, or, with `host_arguments`, a program of Node.js that is
    a host by itself. `answered` is a part of the answer to the order, `key_variable` where the vendor's key is read
    from, `vendor` the name of the local vendor, where there is one. `is_hosted` for an agent that runs in hosts of its
    own.
    """

    name: str
    agent: str
    answered: str
    words: str = ORDER
    vendor: str | None = None
    key_variable: str = ""
    key: str = "secret-key"
    scheme: str = "ws"
    path: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    tool: str = "tests.agents.support.vendors.tools:recorded_order_once_open"
    is_hosted: bool = False
    host_arguments: tuple[str, ...] = ()

    @property
    def victims(self) -> tuple[str, ...]:
        """Return what can be killed in a call."""
        return ("worker", *(("host",) if self.is_hosted else ()), *(("vendor",) if self.vendor else ()))

    def agent_sections(self, vendor_port: int | None, hosts: Sequence[str]) -> str:
        """Return the sections of a worker's settings that say what its agent is."""
        if self.is_hosted:
            return f"[agent.hosts]\naddresses = {json.dumps(list(hosts))}"
        lines = ["[agent]", f'name = "{self.agent}"']
        if vendor_port is not None:
            url = f"{self.scheme}://127.0.0.1:{vendor_port}{self.path}"
            lines += ["[agent.settings]", f'base_url = "{url}"', f'tools = ["{self.tool}"]']
            lines += [f'{key} = "{value}"' for key, value in self.settings.items()]
        return "\n".join(lines)


_CALL_AGENT: Final = Way("call agent", "bench.agents.waiter:Waiter", "I have that")
_PIPECAT: Final = Way("Pipecat", "tests.agents.pipecat.shop:Shop", "anything else with it today?")
_LIVEKIT: Final = Way("LiveKit", "tests.agents.livekit.shop:QuickShop", "anything else with it today?")


NODE: Final = Way(
    "Node in a host",
    "gateway/examples/node_host/waiter.mjs",
    "I have that",
    is_hosted=True,
    host_arguments=(ORDER, str(_ORDER_S)),
)


def _hosted(way: Way) -> Way:
    return replace(way, name=f"{way.name} in a host", is_hosted=True)


WAYS: Final = (
    _CALL_AGENT,
    _hosted(_CALL_AGENT),
    NODE,
    _PIPECAT,
    _hosted(_PIPECAT),
    _LIVEKIT,
    _hosted(_LIVEKIT),
    Way(
        "OpenAI Realtime",
        f"{_BRIDGES}.openai_realtime:OpenAIRealtimeAgent",
        "Your order is",
        vendor="openai",
        key_variable="OPENAI_API_KEY",
        key="sk-local",
        path="/v1",
        tool="tests.agents.support.shop_program:add_item_once_open",
    ),
    Way(
        "GPT-Live",
        f"{_BRIDGES}.gpt_live:GPTLiveAgent",
        "Your order is",
        vendor="gpt-live",
        key_variable="OPENAI_API_KEY",
        key="sk-local",
        path="/v1",
        tool="tests.agents.support.shop_program:add_item_once_open",
    ),
    Way(
        "Deepgram",
        f"{_BRIDGES}.deepgram:DeepgramAgent",
        "Sentence",
        vendor="deepgram",
        key_variable="DEEPGRAM_API_KEY",
    ),
    Way(
        "ElevenLabs",
        f"{_BRIDGES}.elevenlabs:ElevenLabsAgent",
        "Sentence",
        vendor="elevenlabs",
        key_variable="ELEVENLABS_API_KEY",
        scheme="http",
        settings={"agent_id": "agent"},
    ),
    Way(
        "Gemini",
        f"{_BRIDGES}.gemini:GeminiAgent",
        "Sentence",
        vendor="gemini",
        key_variable="GEMINI_API_KEY",
        settings={"model": "gemini-live"},
    ),
)
FORGETFUL: Final = Way("call agent without journal", "bench.agents.waiter:ForgetfulWaiter", "I have that")
