"""The way between a browser and the load balancer: it may lose packets, go dark, or change the address."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.support.relay import Address, Relay


class LossyRelay(Relay):
    """While `is_dark` nothing passes in either direction, as behind a firewall that drops UDP.

    Of what the browser sends, the share `loss` is lost.
    """

    def __init__(self, server: Address) -> None:
        super().__init__(server)
        self.is_dark = False
        self.loss = 0.0
        self.lost = 0
        self._random = random.Random(5)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if self._random.random() < self.loss:
            self.lost += 1
        elif not self.is_dark:
            super().datagram_received(data, addr)

    def passes_back(self) -> bool:
        """Not while it is dark."""
        return not self.is_dark

    async def black_out(self, seconds: float) -> None:
        """Let nothing through for a while."""
        self.is_dark = True
        await asyncio.sleep(seconds)
        self.is_dark = False


@asynccontextmanager
async def path_to(server: Address, host: str = "127.0.0.1") -> AsyncIterator[LossyRelay]:
    loop = asyncio.get_running_loop()
    _, path = await loop.create_datagram_endpoint(lambda: LossyRelay(server), local_addr=(host, 0))
    try:
        yield path
    finally:
        path.close()
