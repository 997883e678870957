"""An agent of LiveKit Agents keeps the contract of all agents."""

from __future__ import annotations

import pytest

from tests.agents.livekit.calls import recording
from tests.agents.livekit.parts import Scripted, Words, last_user
from voice_gateway.agent.base import Agent
from voice_gateway.testing.agents import AgentContract


@pytest.mark.slow
class TestLiveKitAgent(AgentContract):
    timeout_s = 40.0

    def make_agent(self) -> Agent:
        return Scripted(lambda items: f"You said {last_user(items)}.", speech=Words())

    def utterance(self) -> bytes:
        return recording("slt_total")
