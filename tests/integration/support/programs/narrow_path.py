"""A load balancer over a path of 1400 bytes, in an own network namespace, where a lower MTU affects no other test.

`unshare --net python -m tests.integration.support.programs.narrow_path v4 vectorised` prints what arrived, what was
counted, and whether every packet forbade fragmentation.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys

from quiclb import LoadBalancer
from quiclb.logs.setup import configure_logging
from tests.integration.support.load_balancer import CHOSEN, Peer, settings_for
from tests.unit.quiclb.pools import cid, short_packet

MTU = 1400
SIZES = {"v4": (1300, 1350), "v6": (1300, 1345)}
"""A datagram that fits with 38 bytes in front, and one that fits without them only."""


async def main(family: str, datapath: str) -> None:
    CHOSEN.set(datapath)
    ip = "127.0.0.1" if family == "v4" else "::1"
    address = f"{ip}:0" if family == "v4" else f"[{ip}]:0"
    backend, client = await Peer().open(ip), await Peer().open(ip)
    balancer = LoadBalancer(settings_for([backend.address], listen=address, inner=address))
    await balancer.start()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    wire.bind(("lo", 0))
    wire.setblocking(False)
    small, large = SIZES[family]
    arrived = []
    for size in (small, large, small):
        client.send(short_packet(cid(1)).ljust(size, b"\x55"), balancer.vip)
    for _ in range(2):
        wrapped, inner = await backend.next()
        arrived.append(len(wrapped))
        backend.send(wrapped, inner)
        await client.next()
    ports = {balancer.vip[1], balancer.inner[1]}
    print(
        json.dumps(
            {
                "arrived": arrived,
                "backlog": backend.received.qsize(),
                "send_errors": [[*key, count] for key, count in balancer.counters.send_errors.items()],
                "sent": [may_be_fragmented(packet) for packet in packets(wire) if source_port(packet) in ports],
            }
        )
    )
    await balancer.stop()


def packets(wire: socket.socket):
    while True:
        try:
            yield wire.recv(65536)
        except BlockingIOError:
            return


def source_port(packet: bytes) -> int:
    return int.from_bytes(packet[20:22] if packet[0] >> 4 == 4 else packet[40:42], "big")


def may_be_fragmented(packet: bytes) -> bool:
    """IPv4 without the DF bit, or a fragment; IPv6 packets are fragments only if they have that header."""
    if packet[0] >> 4 == 4:
        return int.from_bytes(packet[6:8], "big") != 0x4000
    return packet[6] != socket.IPPROTO_UDP


if __name__ == "__main__":
    configure_logging()  # to standard error
    subprocess.run(["ip", "link", "set", "lo", "mtu", str(MTU), "up"], check=True)
    asyncio.run(main(*sys.argv[1:]))
