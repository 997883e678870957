"""Finds an address of the server at which a session can be opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from client.connection import WebTransportConnection
from client.credentials import CredentialStore
from client.errors import ClientError, InvalidSetting, Unreachable
from client.session_handler import SessionHandler
from client.target import Target
from client.trust import Trust
from client.udp import resolve


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
) -> WebTransportConnection:
    """Open the session at the first of the host's addresses that answers; raises `ConnectError` or `InvalidSetting`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    addresses = await resolve(target)
    failure: ClientError = Unreachable(f"the host {target.host} has no address")
    for position, remote in enumerate(addresses):
        account = credentials.of(target, trust)
        connection = WebTransportConnection(target, trust, handler, remote, account=account, headers=headers, rng=rng)
        try:
            # an address that swallows everything leaves time for those after it
            async with asyncio.timeout_at(loop.time() + (deadline - loop.time()) / (len(addresses) - position)):
                await connection.open(local_address)
        except TimeoutError:
            connection.abandon()
            failure = Unreachable(f"no answer from {target.authority} within {timeout_s:g} s")
        except (Unreachable, InvalidSetting) as error:
            connection.abandon()
            failure = error
        except BaseException:
            connection.abandon()
            raise
        else:
            return connection
    raise failure
