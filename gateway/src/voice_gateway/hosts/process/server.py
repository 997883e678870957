"""An agent host: listens for workers in a thread of its own; the agent's calls are on the event loop it is made on.

Messages cross between the two loops whole and in order.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from voice_gateway.agent.base import Agent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.process.calls import HostCalls
from voice_gateway.hosts.process.socket_thread import SocketThread


class HostServer:
    """Make it on the agent's event loop, then `start`; `drain` and `stop` are for that loop too."""

    def __init__(self, agent: Agent, address: HostAddress, credentials: HostCredentials) -> None:
        self.calls = HostCalls(agent)
        self._sockets = SocketThread(self.calls, address, credentials)

    async def start(self) -> None:
        """Listen; raises `BindError`."""
        await self._sockets.start()

    async def drain(self, timeout_s: float) -> None:
        """Take no further calls, tell workers, and return once all have gone elsewhere, or after the timeout."""
        self.calls.is_draining = True
        self._sockets.stop_listening()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.calls.until_empty(), timeout_s)

    async def stop(self) -> None:
        """Close all calls and connections."""
        self.calls.close_all()
        await self._sockets.stop()
