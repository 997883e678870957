"""The first QUIC handshake of a process that has no file descriptor left.

`python -m tests.integration.support.programs.cold_handshake LEAF KEY NOW` prints the modules that the handshake
imported, or fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from pathlib import Path

from quiclb.logs.setup import configure_logging
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.settings.worker_sections import TlsSection
from voice_gateway.transport.webtransport import VoiceOverWebTransport


async def main(leaf: str, key: str, now: float) -> None:
    certificate = ServedCertificate(TlsSection(certificate=Path(leaf), key=Path(key)), lambda: now)

    from testbed.waiting import until
    from tests.integration.support.udp import Client, Sessions, Socket, issuer
    from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
    from voicelink.h3.webtransport import SessionOpened

    endpoint = Endpoint(
        EndpointSettings(retry_after_half_open=0),
        certificate.identity,
        issuer(),
        VoiceOverWebTransport(Sessions().accept),
        wall_clock=lambda: now,
    )
    await endpoint.open()
    client = Client(endpoint.address or ("", 0))
    socket = await Socket.open(client._received)

    async def opened(*_: object) -> Socket:
        return socket

    Socket.open = opened  # type: ignore[assignment,method-assign]  # the one that is open, for all arguments
    use_up_file_descriptors()
    before = set(sys.modules)
    await client.connect()
    await until(lambda: client.has(SessionOpened))
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1:] * 2)
    print(json.dumps({"imported": sorted(set(sys.modules) - before), "errors": endpoint.counters.internal_errors}))
    client.close()
    await endpoint.close()


def use_up_file_descriptors() -> None:
    taken = [os.dup(0)]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, hard))
    while True:
        try:
            taken.append(os.dup(0))
        except OSError:
            return


if __name__ == "__main__":
    configure_logging()  # to standard error
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
