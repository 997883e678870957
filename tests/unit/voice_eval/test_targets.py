"""Which target options mean, where a LiveKit server is wanted."""

from __future__ import annotations

import pytest

from voice_eval.drivers.base import Dialling, Driver, Endpoint, Line
from voice_eval.errors import EvalError
from voice_eval.targets import livekit
from voice_eval.targets.choice import TargetChoice, chosen_target


class LiveKit(Driver):
    """The driver's name decides."""

    name = "livekit"

    def line(self, dialling: Dialling) -> Line:
        raise NotImplementedError


def choice(url: str = "") -> TargetChoice:
    return TargetChoice(endpoint=Endpoint(url), server="python agent.py {port}")


def test_a_livekit_agent_with_a_url_is_refused() -> None:
    with pytest.raises(EvalError, match="runs a LiveKit server of its own: leave --url out"):
        chosen_target(choice("ws://127.0.0.1:7880"), LiveKit)


def test_a_missing_livekit_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livekit, "find_livekit", lambda: None)
    with pytest.raises(EvalError, match="needs livekit-server on the PATH: or give --url of one"):
        chosen_target(choice(), LiveKit)
