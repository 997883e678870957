"""Each state change of a backend is one line at debug level, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from quiclb import ConfigError
from quiclb.backends.health import Health
from quiclb.control.backend_log import HEALTH_EVENTS
from tests.unit.quiclb.control.test_prober import Server
from tests.unit.quiclb.control.test_table_controller import DNS, Kept, probed_settings, resolve_to, settings
from tests.unit.quiclb.virtual import on_virtual_time

ONE = {"name": "one", "address": "10.0.0.11:4433", "server_ids": {0: "00000001"}}
TWO = {"name": "two", "address": "10.0.0.12:4433", "server_ids": {0: ["00000002", "00000003"]}}


def named(lines, *keys):
    return [(line["event"], line["backend"], *(line[key] for key in keys)) for line in lines]


@on_virtual_time
async def test_a_backend_is_added_once_with_address_and_server_ids():
    async with Kept(settings(backends=[ONE, TWO])) as kept:
        assert named(kept.debug_lines(), "address", "server_ids", "state") == [
            ("backend added", "one", "10.0.0.11:4433", {0: ["00000001"]}, "active"),
            ("backend added", "two", "10.0.0.12:4433", {0: ["00000002", "00000003"]}, "active"),
        ]


@on_virtual_time
async def test_without_a_change_nothing_is_logged():
    async with Kept(settings(backends=[ONE, TWO])) as kept:
        kept.debug_lines()
        kept.controller.reload()
        await kept.change(settings(backends=[TWO, ONE]))
        await kept.change(settings(backends=[ONE, TWO], forwarder={"unknown_server_id": "drop"}))
        await asyncio.sleep(60)
        assert len(kept.specs) == 3
        assert kept.debug_lines() == []


@pytest.mark.parametrize(
    ("changed", "event", "facts"),
    [
        ([ONE, TWO | {"state": "draining"}], "backend draining", {"former_state": "active"}),
        ([ONE, TWO | {"state": "down"}], "backend down", {"former_state": "active"}),
        (
            [ONE, TWO | {"address": "10.0.0.99:4433"}],
            "backend address changed",
            {"address": "10.0.0.99:4433", "former_address": "10.0.0.12:4433"},
        ),
        (
            [ONE, TWO | {"server_ids": {0: "00000009"}}],
            "backend server IDs changed",
            {"server_ids": {0: ["00000009"]}, "former_server_ids": {0: ["00000002", "00000003"]}},
        ),
        ([ONE], "backend removed", {"address": "10.0.0.12:4433", "server_ids": {0: ["00000002", "00000003"]}}),
    ],
)
@on_virtual_time
async def test_a_change_of_one_backend_is_one_line(changed, event, facts):
    async with Kept(settings(backends=[ONE, TWO])) as kept:
        kept.debug_lines()
        await kept.change(settings(backends=changed))
        [line] = kept.debug_lines()
        assert (line["event"], line["backend"]) == (event, "two")
        assert {key: line[key] for key in facts} == facts


@on_virtual_time
async def test_a_discovered_backend_is_added_drains_and_is_removed():
    resolve_to("10.0.0.1", "10.0.0.2")
    discovery = [DNS | {"interval_s": 1, "linger_s": 5}]
    async with Kept(settings(backends=[], discovery=discovery)) as kept:
        resolve_to("10.0.0.1")
        await asyncio.sleep(10)
        assert named(kept.debug_lines()) == [
            ("backend added", "10.0.0.1:4433"),
            ("backend added", "10.0.0.2:4433"),
            ("backend draining", "10.0.0.2:4433"),
            ("backend removed", "10.0.0.2:4433"),
        ]


@on_virtual_time
async def test_each_change_of_health_is_one_line():
    servers = [await Server().open() for _ in range(2)]
    async with Kept(await probed_settings(servers)) as kept:
        await asyncio.sleep(10)
        servers[0].is_answering = False
        await asyncio.sleep(10)
        servers[0].is_answering = True
        await asyncio.sleep(10)
        lines = [line for line in kept.debug_lines() if line["backend"] == "b1"]
        assert [(line["event"], line.get("former_health")) for line in lines] == [
            ("backend added", None),
            ("backend healthy", "unknown"),
            ("backend unhealthy", "up"),
            ("backend doubtful", "down"),
            ("backend healthy", "doubtful"),
        ]
        assert {line["server_ids"][0][0] for line in lines} == {"00000001"}
        for server in servers:
            server.transport.abort()


@on_virtual_time
async def test_a_refused_table_is_one_line_with_its_version():
    async with Kept(settings(backends=[ONE, TWO])) as kept:
        kept.debug_lines()
        await kept.change(settings(backends=[ONE, TWO, TWO | {"address": "10.0.0.13:4433", "name": "three"}]))
        [line] = [line for line in kept.debug_lines() if line["event"].startswith("table")]
        assert (line["event"], line["version"], line["backends"]) == ("table refused", 1, 3)
        assert "00000002" in line["fault"]
        assert len(kept.specs) == 1


@on_virtual_time
async def test_a_table_refused_at_start_has_version_0():
    kept = Kept(settings(backends=[ONE, ONE]))
    with pytest.raises(ConfigError):
        await kept.__aenter__()
    kept.capture.__exit__(None, None, None)
    assert [line["version"] for line in kept.lines if line["event"] == "table refused"] == [0]


def test_every_health_has_an_event_of_its_own():
    assert HEALTH_EVENTS.keys() == set(Health)
    assert len(set(HEALTH_EVENTS.values())) == len(Health)
