"""Finds an address of the server at which a session can be opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from voice_client.errors import ClientError, InvalidSetting, Unreachable
from voice_client.transport.credentials import CredentialStore
from voice_client.transport.target import Target
from voice_client.transport.trust import Trust
from voice_client.transport.webtransport.connection import WebTransportConnection
from voice_client.transport.webtransport.session_handler import SessionHandler
from voice_client.transport.webtransport.udp import resolve
from voicelink.quic.qlog import Qlog

_MOST_RESETS: Final = 4


async def connect(
    target: Target,
    trust: Trust,
    handler: SessionHandler[WebTransportConnection],
    *,
    credentials: CredentialStore,
    headers: dict[str, str],
    local_address: str | None,
    timeout_s: float,
    rng: Callable[[int], bytes],
    qlog: Qlog | None = None,
) -> WebTransportConnection:
    """Open the session at the first of the host's addresses that answers; raises `ConnectError` or `InvalidSetting`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    addresses = await resolve(target)
    failure: ClientError = Unreachable(f"the host {target.typed or target.host} has no address")
    for position, remote in enumerate(addresses):
        for _ in range(_MOST_RESETS):
            account = credentials.of(target, trust)
            connection = WebTransportConnection(
                target, trust, handler, remote, account=account, headers=headers, rng=rng, qlog=qlog
            )
            try:
                await _open(connection, local_address, deadline, len(addresses) - position)
            except TimeoutError:
                failure = Unreachable(f"no answer from {target.shown} within {timeout_s:g} s")
            except Unreachable as error:
                failure = error
                if error.is_reset:
                    continue  # its worker was just replaced; from another port the load balancer chooses another
            except InvalidSetting as error:
                failure = error
            else:
                return connection
            break
    raise failure


async def _open(
    connection: WebTransportConnection, local_address: str | None, deadline: float, addresses_left: int
) -> None:
    """Open the session, or abandon the connection; an address that swallows everything leaves time for the others."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(loop.time() + (deadline - loop.time()) / addresses_left):
            await connection.open(local_address)
    except BaseException:
        connection.abandon()
        raise
