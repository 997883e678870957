from __future__ import annotations

import asyncio
import math
import socket
from typing import Any

import pytest
import structlog.testing

from quiclb import CidEncoder, ConfigError, QuicLbConfig, Settings
from quiclb.backends.health import Health
from quiclb.control.table_controller import WATCH_INTERVAL_S, TableController
from quiclb.daemon.control_metrics import ControlCollector
from quiclb.daemon.metrics import collector_renderer
from quiclb.datapath.base import DatapathSetup
from quiclb.datapath.memory import MemoryDatapath
from quiclb.net.kernel.routes import RouteMtu
from quiclb.routing.pool import BackendState
from quiclb.routing.table_spec import TableSpec
from tests.unit.quiclb.control.test_prober import Server
from tests.unit.quiclb.pools import CLIENT, INNER, VIP, short_packet
from tests.unit.quiclb.virtual import on_virtual_time

OLD = {"id": 0, "server_id_length": 4, "nonce_length": 12, "key": "00" * 16}
NEW = {"id": 1, "server_id_length": 4, "nonce_length": 12, "key": "11" * 16}
SETTLED_S = 3 * WATCH_INTERVAL_S


def settings(configs=(OLD,), backends=None, **sections) -> Settings:
    server_ids = {config["id"]: "0000000{}" for config in configs}
    if backends is None:
        backends = [
            {
                "name": f"b{number}",
                "address": f"10.0.0.1{number}:4433",
                "server_ids": {key: text.format(number) for key, text in server_ids.items()},
            }
            for number in (1, 2)
        ]
    document = {
        "forwarder": {"listen": "127.0.0.1:443", "inner": "127.0.0.1:4434", **sections.pop("forwarder", {})},
        "health": {"enabled": False},
        "config": list(configs),
        "backend": backends,
    }
    return Settings.model_validate(document | sections)


class Source:
    """Settings that a test changes by assignment; an exception is a bad file."""

    def __init__(self, first: Settings) -> None:
        self.content: Settings | Exception = first
        self.version = 0

    def change(self, content) -> None:
        self.content = content
        self.version += 1

    def signature(self) -> int:
        return self.version

    def load(self) -> Settings:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def wide(inner, address) -> RouteMtu:
    """Every path is as wide as an Ethernet."""
    return RouteMtu(1500)


class Kept:
    """A table controller with everything it published."""

    def __init__(self, first: Settings) -> None:
        self.source = Source(first)
        self.specs: list[TableSpec] = []
        self.controller = TableController(first, self.specs.append, source=self.source, path_mtu=wide)

    async def __aenter__(self):
        self.capture = structlog.testing.capture_logs()
        self.lines = self.capture.__enter__()
        await self.controller.start()
        return self

    async def __aexit__(self, *_):
        await self.controller.stop()
        self.capture.__exit__(None, None, None)

    async def change(self, content):
        self.source.change(content)
        await asyncio.sleep(SETTLED_S)

    def states(self):
        return {backend.name: backend.state.value for backend in self.specs[-1].backends}

    @property
    def logs(self):
        """The lines that are shown by default."""
        return [line for line in self.lines if line["log_level"] != "debug"]

    def debug_lines(self):
        """The lines at debug level since the last call."""
        debug = [line for line in self.lines if line["log_level"] == "debug"]
        self.lines.clear()
        return debug

    def events(self):
        return [line["event"] for line in self.logs]


@on_virtual_time
async def test_the_first_table_is_there_when_start_returns_and_no_other_without_a_change():
    async with Kept(settings()) as kept:
        assert [spec.version for spec in kept.specs] == [0]
        await asyncio.sleep(60)
        assert len(kept.specs) == 1
        assert kept.controller.reloads == {}


@on_virtual_time
async def test_a_changed_file_becomes_the_next_table():
    async with Kept(settings()) as kept:
        await kept.change(settings(forwarder={"unknown_server_id": "drop"}))
        assert [spec.version for spec in kept.specs] == [0, 1]
        assert kept.specs[-1].unknown_server_id == "drop"
        assert kept.controller.reloads == {"applied": 1}


@on_virtual_time
async def test_a_bad_file_leaves_the_table_and_says_so_once():
    async with Kept(settings()) as kept:
        await kept.change(ConfigError("lb.toml: config[0].nonce_length: is required"))
        await asyncio.sleep(30)
        assert len(kept.specs) == 1
        assert kept.controller.reloads == {"refused": 1}
        assert kept.events() == ["settings refused, the old table stays"]
        assert "config[0].nonce_length" in kept.logs[0]["fault"]
        await kept.change(settings((OLD, NEW)))
        assert kept.controller.reloads == {"refused": 1, "applied": 1}
        assert len(kept.specs[-1].configs) == 2


@on_virtual_time
async def test_the_watch_survives_any_exception_of_a_reload():
    async with Kept(settings()) as kept:
        await kept.change(RuntimeError("bug"))
        assert (kept.controller.reloads, kept.logs[0]["fault"]) == ({"refused": 1}, "RuntimeError: bug")
        await kept.change(settings((OLD, NEW)))
        assert kept.controller.reloads == {"refused": 1, "applied": 1}


@on_virtual_time
async def test_a_file_that_is_still_being_written_is_not_read():
    async with Kept(settings()) as kept:
        for _ in range(20):
            kept.source.change(ConfigError("half"))
            await asyncio.sleep(WATCH_INTERVAL_S)
        assert kept.controller.reloads == {}
        await kept.change(settings((OLD, NEW)))
        assert kept.controller.reloads == {"applied": 1}


@on_virtual_time
async def test_sighup_reads_an_unchanged_file_and_publishes_nothing():
    async with Kept(settings()) as kept:
        kept.controller.reload()
        await asyncio.sleep(0.01)
        assert kept.controller.reloads == {"unchanged": 1}
        assert len(kept.specs) == 1


@on_virtual_time
async def test_addresses_that_changed_need_a_restart():
    async with Kept(settings()) as kept:
        await kept.change(settings(forwarder={"listen": "127.0.0.1:444", "check_cid_length": True}))
        assert [line.get("key") for line in kept.logs if "restart" in line["event"]] == ["forwarder.listen"]
        assert kept.specs[-1].check_cid_length


def cid(config: dict, number: int, nonce: int) -> bytes:
    layout = QuicLbConfig(config["id"], 4, 12, bytes.fromhex(config["key"]))
    return CidEncoder(layout, bytes((0, 0, 0, number)), rng=bytes).encode_nonce(nonce.to_bytes(12, "big"))


@on_virtual_time
async def test_configs_rotate_under_traffic_without_an_unroutable_instant():
    async with Kept(settings()) as kept:
        datapath = MemoryDatapath()
        await datapath.start(DatapathSetup(VIP, INNER))
        datapath.install(kept.specs[-1].build())
        issued = [(OLD, "10.0.0.11", 1), (OLD, "10.0.0.12", 2)]
        nonce = 0

        async def traffic(seconds):
            nonlocal nonce
            for _ in range(int(seconds / 0.01)):
                datapath.install(kept.specs[-1].build())
                for config, ip, number in issued:
                    nonce += 1
                    datapath.client_sends(short_packet(cid(config, number, nonce)), CLIENT)
                    assert datapath.to_backends[-1][1] == (ip, 4433)
                await asyncio.sleep(0.01)

        await traffic(0.2)
        # load balancers first, then servers, and the old config goes when its last connection is gone
        kept.source.change(settings((OLD, NEW)))
        await traffic(SETTLED_S)
        issued += [(NEW, "10.0.0.11", 1), (NEW, "10.0.0.12", 2)]
        await traffic(0.2)
        del issued[:2]
        await traffic(0.2)
        kept.source.change(settings((NEW,)))
        await traffic(SETTLED_S)
        assert datapath.counters.packets == {("routable", "ok"): nonce}
        assert [len(spec.configs) for spec in kept.specs] == [1, 2, 1]
        assert len(datapath.to_backends) == nonce > 500


@on_virtual_time
async def test_a_draining_backend_keeps_its_connections_and_gets_no_new_ones():
    async with Kept(settings()) as kept:
        document = settings().model_dump()
        document["backend"][1]["state"] = "draining"
        document["config"] = [OLD]
        await kept.change(Settings.model_validate(document))
        datapath = MemoryDatapath()
        await datapath.start(DatapathSetup(VIP, INNER))
        datapath.install(kept.specs[-1].build())
        datapath.client_sends(short_packet(cid(OLD, 2, 1)), CLIENT)
        assert datapath.to_backends.pop()[1] == ("10.0.0.12", 4433)
        for port in range(1, 201):
            datapath.client_sends(short_packet(b"\xff" * 17), ("198.51.100.7", port))
        assert {address for _, address in datapath.to_backends} == {("10.0.0.11", 4433)}


async def probed_settings(servers, **health) -> Settings:
    backends = [
        {"name": f"b{n}", "address": f"127.0.0.1:{server.address[1]}", "server_ids": {0: f"0000000{n}"}}
        for n, server in enumerate(servers, 1)
    ]
    return settings(backends=backends, health={"interval_s": 1, "timeout_s": 0.2, **health})


@on_virtual_time
async def test_health_takes_backends_out_and_back_and_fails_open():
    servers = [await Server().open() for _ in range(2)]
    async with Kept(await probed_settings(servers)) as kept:
        await asyncio.sleep(3)
        assert len(kept.specs) == 1
        servers[0].is_answering = False
        await asyncio.sleep(3)
        assert kept.states() == {"b1": "down", "b2": "active"}
        servers[1].is_answering = False
        await asyncio.sleep(3)
        assert kept.states() == {"b1": "active", "b2": "active"}
        assert kept.controller.is_fail_open
        servers[1].is_answering = True
        await asyncio.sleep(3)
        assert kept.states() == {"b1": "down", "b2": "active"}
        servers[0].is_answering = True
        await asyncio.sleep(3)
        assert kept.states() == {"b1": "active", "b2": "active"}
        assert kept.events().count("no active backend answers probes, health is ignored") == 1
        for server in servers:
            server.transport.abort()


@on_virtual_time
async def test_the_end_of_fail_open_takes_no_connections_from_backends_that_live():
    """They answer again together, but their answers come one after the other."""
    servers = [await Server().open() for _ in range(4)]
    async with Kept(await probed_settings(servers)) as kept:
        for server in servers:
            server.is_answering = False
        await asyncio.sleep(5)
        assert kept.controller.is_fail_open
        before = len(kept.specs)
        for server in servers[1:]:
            server.is_answering = True
            await asyncio.sleep(0.15)
        await asyncio.sleep(5)
        assert not kept.controller.is_fail_open
        assert kept.states() == {"b1": "down", "b2": "active", "b3": "active", "b4": "active"}
        for spec in kept.specs[before:-1]:
            names = {each.name for each in spec.backends if each.state is BackendState.DOWN}
            assert names <= {"b1"}
        for server in servers:
            server.transport.abort()


@on_virtual_time
async def test_backends_lost_together_make_one_table():
    servers = [await Server().open() for _ in range(8)]
    async with Kept(await probed_settings(servers)) as kept:
        await asyncio.sleep(3)
        for server in servers[1:5]:
            target = kept.controller.prober._monitor._targets[server.address]
            target.health, target.is_waiting, target.next_at = Health.DOWN, False, math.inf  # and no answer comes
            kept.controller._changed()
        await asyncio.sleep(0.1)
        assert list(kept.states().values()).count("down") == 4
        assert [spec.version for spec in kept.specs] == [0, 1]
        for server in servers:
            server.transport.abort()


@on_virtual_time
async def test_a_reload_keeps_what_probes_know_and_down_is_never_probed_up():
    servers = [await Server().open() for _ in range(2)]
    async with Kept(await probed_settings(servers)) as kept:
        servers[0].is_answering = False
        await asyncio.sleep(4)
        await kept.change(await probed_settings(servers, fall=9))
        assert kept.states() == {"b1": "down", "b2": "active"}
        by_hand = (await probed_settings(servers)).model_dump()
        by_hand["backend"][0]["state"] = "down"
        by_hand["config"] = [OLD]
        await kept.change(Settings.model_validate(by_hand))
        servers[0].is_answering = True
        received = len(servers[0].received)
        await asyncio.sleep(5)
        assert kept.states() == {"b1": "down", "b2": "active"}
        assert len(servers[0].received) == received
        await kept.change(await probed_settings(servers, enabled=False))
        assert kept.states() == {"b1": "active", "b2": "active"}
        assert kept.controller.prober is None
        for server in servers:
            server.transport.abort()


def resolve_to(*ips) -> None:
    async def getaddrinfo(host, port, *, type):
        if not ips:
            await asyncio.sleep(1e6)
        return [(socket.AF_INET, type, 17, "", (ip, port)) for ip in ips]

    loop: Any = asyncio.get_running_loop()
    loop.getaddrinfo = getaddrinfo


DNS = {"kind": "dns", "host": "workers.test", "port": 4433, "linger_s": 30}


@on_virtual_time
async def test_discovered_backends_join_listed_ones_and_drain_when_they_go():
    resolve_to("10.0.0.11", "10.0.0.21", "10.0.0.22")
    async with Kept(settings(discovery=[DNS])) as kept:
        # 10.0.0.11 is listed as b1
        assert kept.states() == dict.fromkeys(("b1", "b2", "10.0.0.21:4433", "10.0.0.22:4433"), "active")
        resolve_to("10.0.0.21")
        await asyncio.sleep(6)
        assert kept.states()["10.0.0.22:4433"] == "draining"
        await asyncio.sleep(40)
        assert set(kept.states()) == {"b1", "b2", "10.0.0.21:4433"}
        await kept.change(settings())
        assert set(kept.states()) == {"b1", "b2"}


@on_virtual_time
async def test_a_reload_that_leaves_discovery_alone_makes_no_new_lookup():
    resolve_to("10.0.0.21")
    async with Kept(settings(discovery=[DNS])) as kept:
        [source] = kept.controller.sources
        await kept.change(settings((OLD, NEW), discovery=[DNS]))
        assert kept.controller.sources == [source]
        [found] = [each for each in kept.specs[-1].backends if each.name == "10.0.0.21:4433"]
        assert found.server_ids.keys() == {0, 1}


@on_virtual_time
async def test_a_silent_resolver_does_not_hold_up_the_rest():
    resolve_to()
    async with Kept(settings(discovery=[DNS])) as kept:
        assert kept.states() == {"b1": "active", "b2": "active"}


@on_virtual_time
async def test_what_discovery_cannot_place_is_logged_and_counted():
    resolve_to("0.0.0.1", "10.0.0.21")
    async with Kept(settings(discovery=[DNS])) as kept:
        [conflict] = kept.controller.conflicts
        assert conflict.endswith("is left out: it is that of 'b1'")
        assert kept.states()["10.0.0.21:4433"] == BackendState.ACTIVE


@on_virtual_time
async def test_a_discovered_address_that_would_loop_or_multiply_is_skipped_logged_and_counted():
    resolve_to("127.0.0.1", "224.0.0.1", "10.0.0.21")
    async with Kept(settings(discovery=[DNS | {"port": 443}])) as kept:
        assert set(kept.states()) == {"b1", "b2", "10.0.0.21:443"}
        faults = [line["fault"] for line in kept.logs if line["event"] == "discovery conflict"]
        assert len(faults) == len(kept.controller.conflicts) == 2
        assert "127.0.0.1:443 is forwarder.listen" in faults[0]
        assert "224.0.0.1 is a multicast address" in faults[1]
        text = collector_renderer(ControlCollector(kept.controller))().decode()
        assert "quiclb_discovery_conflicts 2.0" in text.splitlines()


@on_virtual_time
async def test_one_bad_address_in_a_discovery_file_costs_that_entry_alone(tmp_path):
    path = tmp_path / "backends.toml"
    addresses = ("127.0.0.1:4434", "10.0.0.21:0", "255.255.255.255:9", "[2001:db8::2]:4433", "10.0.0.22:4433")
    path.write_text("".join(f'[[backend]]\nname="f{n}"\naddress="{a}"\n' for n, a in enumerate(addresses)))
    async with Kept(settings(discovery=[{"kind": "file", "path": path}])) as kept:
        assert set(kept.states()) == {"b1", "b2", "f4"}
        assert len(kept.controller.conflicts) == 4


@on_virtual_time
async def test_a_reload_that_lists_a_bound_address_as_a_backend_is_refused():
    bound = ("127.0.0.1", 5443), ("127.0.0.1", 5444)
    first = settings()
    source = Source(first)
    specs: list[TableSpec] = []
    controller = TableController(first, specs.append, source=source, sockets=bound, path_mtu=wide)
    await controller.start()
    with structlog.testing.capture_logs() as logs:
        source.change(settings(configs=(), backends=[{"name": "a", "address": "127.0.0.1:5443"}]))
        await asyncio.sleep(SETTLED_S)
    await controller.stop()
    assert (len(specs), controller.reloads) == (1, {"refused": 1})
    assert "backend[0].address: 127.0.0.1:5443 is forwarder.listen" in logs[0]["fault"]


@on_virtual_time
async def test_the_table_controllers_metrics():
    resolve_to("10.0.0.21")
    server = await Server().open()
    first = (await probed_settings([server])).model_dump() | {"discovery": [DNS], "config": [OLD]}
    async with Kept(Settings.model_validate(first)) as kept:
        kept.controller.reload()
        await asyncio.sleep(0.6)
        lines = collector_renderer(ControlCollector(kept.controller))().decode().splitlines()
        b1 = 'backend="b1",health="up",state="active"'
        expected = [
            'quiclb_reloads_total{result="unchanged"} 1.0',
            'quiclb_discovery_total{result="changed",source="dns:workers.test"} 1.0',
            "quiclb_discovery_conflicts 0.0",
            "quiclb_health_fail_open 0.0",
            f'quiclb_backend_info{{address="127.0.0.1:{server.address[1]}",{b1}}} 1.0',
        ]
        await asyncio.sleep(1)
        lines = collector_renderer(ControlCollector(kept.controller))().decode().splitlines()
        assert [line for line in expected if line not in lines] == []
        assert any(line.startswith('quiclb_probes_total{backend="b1",result="answered"}') for line in lines)
        server.transport.abort()


@pytest.mark.parametrize("count", [0, 3])
@on_virtual_time
async def test_stopping_leaves_no_task(count):
    resolve_to("10.0.0.21")
    async with Kept(settings(discovery=[DNS] * min(count, 1), health={})):
        await asyncio.sleep(count)
    assert asyncio.all_tasks() == {asyncio.current_task()}
