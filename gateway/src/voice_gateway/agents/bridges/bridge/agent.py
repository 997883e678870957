"""The agent that a worker opens for a vendor, and the settings that all bridges have."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from voice_gateway.agent.apology import make_apology
from voice_gateway.agent.base import Agent, Conversation, Emit
from voice_gateway.agents.bridges.bridge.call.functions import Functions
from voice_gateway.agents.bridges.bridge.conversation import BridgeConversation
from voice_gateway.agents.bridges.bridge.options import Bridge, BridgeTimes
from voice_gateway.agents.bridges.bridge.upstream import UpstreamTimes, ended
from voice_gateway.agents.bridges.bridge.vendor import Vendor
from voice_gateway.errors import AgentError
from voice_gateway.settings.fields import List


class BridgeSettings(BaseModel):
    """`[agent.settings]` of every bridge.

    The key comes by the vendor's environment variable or `api_key_file`, never as a value. `tools` are
    `package.module:function`. The bridge says `greeting` first, and `asks_again` to a caller who is back after words
    were lost; empty is silence. Where the vendor fails, callers hear `apology` by the offline voice, or `apology_wav`.
    A vendor that is away is tried for `give_up_s` (default 30; 0 tries once), and taken for lost after `silent_s`.
    """

    model_config = ConfigDict(extra="forbid")

    api_key_file: Path | None = None
    base_url: str = ""
    instructions: str = ""
    tools: List = ()
    greeting: str = ""
    asks_again: str = "Sorry, we were cut off. What did you say last?"
    apology: str = "Sorry, something went wrong. Please call again."
    apology_wav: Path | None = None
    give_up_s: float = Field(default=30.0, ge=0)
    silent_s: float = Field(default=10.0, gt=0)


class BridgeAgent(Agent):
    """Opens a `BridgeConversation` a call. Subclass it with a `settings_model`, and give it the vendor's part."""

    def __init__(self, vendor: Vendor, settings: BridgeSettings, times: BridgeTimes | None = None) -> None:
        self._vendor = vendor
        self._settings = settings
        self._times = times or BridgeTimes(UpstreamTimes(settings.give_up_s, settings.silent_s))
        self.audio_format = vendor.audio_format
        self.input_rate_hz = vendor.input_rate_hz
        self.output_rate_hz = vendor.output_rate_hz
        self._functions = Functions(settings.tools)
        self._malformed: Counter[str] = Counter()
        self._bridge: Bridge | None = None
        self._conversations: set[BridgeConversation] = set()

    @property
    def malformed_messages(self) -> Mapping[str, int]:
        return self._malformed

    async def open(self) -> None:
        """Read the key and make the apology; raises `AgentError`. The vendor is first asked when a call comes."""
        settings, vendor = self._settings, self._vendor
        apology = await make_apology(settings.apology, settings.apology_wav, vendor.audio_format, vendor.output_rate_hz)
        target = vendor.target(_key(vendor, settings.api_key_file))
        self._bridge = Bridge(
            vendor,
            target,
            self._functions,
            apology,
            settings.greeting,
            settings.asks_again,
            self._times,
            self._malformed,
        )

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        if self._bridge is None:
            raise AgentError(f"the agent for {self._vendor.name} must be opened before it converses")
        conversation = BridgeConversation(self._bridge, emit, state)
        self._conversations.add(conversation)
        conversation.task.add_done_callback(lambda _task: self._conversations.discard(conversation))
        return conversation

    async def close(self) -> None:
        conversations = list(self._conversations)
        for conversation in conversations:
            conversation.close()
        await asyncio.gather(*(ended(each.task) for each in conversations))


def _key(vendor: Vendor, file: Path | None) -> str:
    if file is None:
        key = os.environ.get(vendor.key_variable, "").strip()
        if not key:
            raise AgentError(f"{vendor.name} needs a key: set {vendor.key_variable} or agent.settings.api_key_file")
    else:
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            # the file's name is not repeated: it is the key itself where the wrong setting was used
            raise AgentError(f"agent.settings.api_key_file cannot be read: {type(error).__name__}") from None
        if not key:
            raise AgentError("agent.settings.api_key_file is empty: write the key into it")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AgentError(f"the key for {vendor.name} must be printable ASCII on one line, without spaces")
    return key
