"""A client and an endpoint without sockets, on the test's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.support.udp import issuer
from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, client_configuration, identity, seeded
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.endpoint.served import ServedConnection
from voicelink.quic import Connection, ResumptionCallbacks
from voicelink.quic.cid_source import RandomCids

HOME = ("198.51.100.1", 4000)


class Handler:
    def event_received(self, event: object) -> None: ...

    def terminated(self, reason: str) -> None: ...


class Line:
    """Each datagram arrives at once, the client's from `address`."""

    def __init__(self, *, seed: int = 1, **settings: Any) -> None:
        self.address = HOME
        self.tokens: list[bytes] = []
        self.accepted: list[ServedConnection] = []
        self.client = Connection(
            configuration=client_configuration(),
            cids=RandomCids(8, seeded(seed)),
            resumption=ResumptionCallbacks(token_received=self.tokens.append),
        )
        self.endpoint = Endpoint(EndpointSettings(host=None, **settings), identity(), issuer(), self._accept)
        self.endpoint.send = self._to_client  # type: ignore[method-assign]  # there is no socket

    def _accept(self, connection: ServedConnection) -> Handler:
        self.accepted.append(connection)
        return Handler()

    def _to_client(self, datagram: bytes, path: Any, forwarder: Any) -> None:
        self.client.receive_datagram(datagram, SERVER_ADDRESS, self.now)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def exchange(self, turns: int = 12) -> None:
        for _ in range(turns):
            for datagram, _address in self.client.datagrams_to_send(self.now):
                self.endpoint._public_received(datagram, self.address)
            await asyncio.sleep(0)

    async def connect(self) -> None:
        self.client.connect(SERVER_ADDRESS, self.now)
        await self.exchange()


@asynccontextmanager
async def line(**settings: Any) -> AsyncIterator[Line]:
    opened = Line(**settings)
    await opened.endpoint.open()
    yield opened
    await opened.endpoint.close()
