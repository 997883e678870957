"""Agents by name."""

from __future__ import annotations

import pytest

from voice_gateway.agents import registry
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.agents.registry import FACTORIES, make_agent
from voice_gateway.errors import GatewayError


@pytest.mark.parametrize("name", FACTORIES)
def test_an_agent_has_the_name_it_is_made_by(name: str) -> None:
    assert make_agent(name).name == name


def test_an_unknown_agent_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GatewayError, match="no agent 'oracle'; known are echo, echo-pcmu, order"):
        make_agent("oracle")


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda package: None if package == "pocketsphinx" else object())
    with pytest.raises(GatewayError, match=r"needs pocketsphinx: pip install 'voice-gateway\[agent\]'"):
        make_agent("order")
    assert isinstance(make_agent("echo"), EchoAgent)
