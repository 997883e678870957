from __future__ import annotations

from quiclb.datapath.base import Datapath
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.memory import MemoryDatapath
from tests.unit.quiclb.pools import CLIENT, INNER, VIP, cid, short_packet, table


async def test_there_and_back():
    datapath = MemoryDatapath(VIP, INNER)
    seam: Datapath = datapath
    seam.serve(ForwardingRules(table(), seam.vip, seam.inner))
    datapath.client_sends(short_packet(cid(3)), CLIENT)
    [(wrapped, backend)] = datapath.to_backends
    datapath.backend_sends(wrapped, backend)
    assert datapath.to_clients == [(short_packet(cid(3)), CLIENT)]
    await seam.close()
    datapath.client_sends(short_packet(cid(3)), CLIENT)
    assert len(datapath.to_backends) == 1
