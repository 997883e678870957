"""A running load balancer whose settings, backends and files change under it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

from quiclb import LoadBalancer, Settings
from testbed.waiting import until
from tests.integration.support.load_balancer import CHOSEN, TIMEOUT_S, LoadBalancerProcess, exchange, on_every_datapath
from tests.integration.support.scripted_server import self_signed
from tests.unit.quiclb.pools import cid, short_packet
from voice_gateway.endpoint.cids.issuers import UnroutableIssuer
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.endpoint.served import ConnectionHandler, ServedConnection
from voice_gateway.endpoint.tls.identity import TlsIdentity


def replace_file(path: Path, old: str, new: str) -> None:
    """As careful writers do: a complete file, renamed over the old one."""
    text = path.read_text()
    assert old in text
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text.replace(old, new))
    fresh.rename(path)


def until_event(daemon: LoadBalancerProcess, **wanted: object) -> dict[str, object]:
    """Return the next event with these values; a file may be read twice, for its change and for the signal."""
    while True:
        line = daemon.process.stderr.readline()
        assert line, f"the load balancer ended without {wanted}"
        event = json.loads(line)
        if event.items() >= wanted.items():
            return event


REFUSED = "settings refused, the old table stays"


def test_a_changed_file_and_sighup_take_effect_and_a_bad_file_does_not(config, client, backends):
    with LoadBalancerProcess(config) as daemon:
        for number, backend in enumerate(backends, start=1):
            exchange(client, backend, daemon.vip, number)
        # the backends change places
        replace_file(config, '"01010101"', '"0f0f0f0f"')
        until_event(daemon, event="settings reloaded", result="applied", version=1)
        replace_file(config, '"02020202"', '"01010101"')
        daemon.process.send_signal(signal.SIGHUP)
        until_event(daemon, event="settings reloaded", result="applied", version=2)
        deadline = time.monotonic() + TIMEOUT_S
        while receiver(client, backends, daemon.vip, 1) is not backends[1]:  # the table is built beside the traffic
            assert time.monotonic() < deadline
        replace_file(config, "nonce_length = 12", "nonce_length = 1")
        event = until_event(daemon, event=REFUSED)
        assert "nonce must be at least 4 bytes long, got 1" in str(event["fault"])
        exchange(client, backends[1], daemon.vip, 1)
        daemon.process.send_signal(signal.SIGHUP)
        until_event(daemon, event=REFUSED)
        replace_file(config, "nonce_length = 1\n", "nonce_length = 12\n")
        daemon.process.send_signal(signal.SIGHUP)
        until_event(daemon, event="settings reloaded", result="unchanged")
        replace_file(config, 'inner = "127.0.0.1:0"', 'inner = "127.0.0.1:1"')
        daemon.process.send_signal(signal.SIGHUP)
        until_event(daemon, key="forwarder.inner")
        exchange(client, backends[1], daemon.vip, 1)


def receiver(client, backends, vip, number):
    """Return the backend that got the datagram."""
    client.sendto(short_packet(cid(number)), vip)
    while True:
        for backend in backends:
            backend.settimeout(0.01)
            try:
                backend.recvfrom(2048)
            except TimeoutError:
                continue
            finally:
                backend.settimeout(TIMEOUT_S)
            return backend


def test_reloads_under_load_lose_and_misroute_nothing(config, client, backends):
    with LoadBalancerProcess(config) as daemon:
        sent = 0
        events: list[dict[str, object]] = []

        def read() -> None:
            for line in daemon.process.stderr:
                events.append(json.loads(line))

        def applied() -> int:
            return [event.get("result") for event in events].count("applied")

        reading = threading.Thread(target=read)
        reading.start()
        for number in range(8):
            former, latest = (f'"02020202", "aaaaaa{n:02x}"' for n in (number - 1, number))
            replace_file(config, f"[{former}]" if number else '"02020202"', f"[{latest}]")
            daemon.process.send_signal(signal.SIGHUP)
            deadline, exchanges = time.monotonic() + TIMEOUT_S, 0
            while exchanges < 100 or applied() <= number:
                for owner, backend in enumerate(backends, start=1):
                    exchange(client, backend, daemon.vip, owner)
                    sent += 1
                exchanges += 1
                assert time.monotonic() < deadline
        daemon.process.terminate()
        reading.join(TIMEOUT_S)
        assert events[-1]["packets"] == sent


def no_application(served: ServedConnection) -> ConnectionHandler:
    raise AssertionError("a probe opens no connection")


async def gateway_endpoint() -> Endpoint:
    """The QUIC endpoint of a worker, which knows nothing of probes but what QUIC asks of every server."""
    certificate, key = self_signed()
    issuer = UnroutableIssuer(
        length_bytes=17, reset_key=bytes(32), rng=os.urandom, is_migration_disabled=False, active_limit=4
    )
    identity = TlsIdentity.from_pem(certificate, key, now=time.time())
    settings = EndpointSettings(host=None, inner_host="127.0.0.1", trusted_proxies=("127.0.0.1",))
    endpoint = Endpoint(settings, identity, issuer, no_application, wall_clock=time.time, rng=os.urandom)
    await endpoint.open()
    return endpoint


@on_every_datapath
async def test_a_gateway_answers_probes_and_its_loss_is_noticed():
    endpoints = [await gateway_endpoint() for _ in range(2)]
    ports = [endpoint.inner_address[1] for endpoint in endpoints if endpoint.inner_address is not None]
    settings = Settings.model_validate(
        {
            "forwarder": {"listen": "127.0.0.1:0", "inner": "127.0.0.1:0", "datapath": CHOSEN.get()},
            "health": {"interval_s": 0.1, "timeout_s": 0.1, "fall": 2},
            "backend": [{"name": f"b{n}", "address": f"127.0.0.1:{port}"} for n, port in enumerate(ports, start=1)],
        }
    )
    balancer = LoadBalancer(settings)
    await balancer.start()

    def states() -> list[str]:
        return [backend.state.value for backend in balancer.host.table.pool]

    try:
        await until(lambda: all(endpoint.counters.version_negotiations_sent >= 2 for endpoint in endpoints))
        await until(lambda: states() == ["active", "active"])  # again, where a busy machine answered late
        await endpoints[0].close()
        await until(lambda: states() == ["down", "active"])
        assert endpoints[1].counters.untrusted_source == endpoints[1].counters.malformed == 0
    finally:
        await balancer.stop()
        await endpoints[1].close()


@on_every_datapath
async def test_host_names_are_found_by_the_event_loop():
    settings = Settings.model_validate(
        {
            "forwarder": {"listen": "127.0.0.1:0", "inner": "127.0.0.1:0", "datapath": CHOSEN.get()},
            "health": {"enabled": False},
            "config": [{"id": 0, "server_id_length": 4, "nonce_length": 12}],
            "discovery": [{"kind": "dns", "host": "localhost", "port": 4433}],
        }
    )
    balancer = LoadBalancer(settings)
    await balancer.start()
    try:
        found = {backend.address: backend for backend in balancer.host.table.pool}
        assert found["127.0.0.1", 4433].server_ids == {0: (bytes((127, 0, 0, 1)),)}
    finally:
        await balancer.stop()
