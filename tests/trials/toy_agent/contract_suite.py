"""The toys' own tests: the contract that the gateway ships."""

from __future__ import annotations

from toy_agent.agent import EchoOfKeys

from voice_gateway.agent.base import Agent
from voice_gateway.agent.loading import GivenSettings, load_agent
from voice_gateway.testing.agents import AgentContract


class TestToy(AgentContract):
    def make_agent(self) -> Agent:
        return load_agent("toy", GivenSettings({"pitch_hz": 500}))


class TestEchoOfKeys(AgentContract):
    answers_speech = False

    def make_agent(self) -> Agent:
        return EchoOfKeys()
