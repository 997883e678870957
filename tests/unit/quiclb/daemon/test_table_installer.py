from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from quiclb import LoadBalancer, Settings
from quiclb.daemon.table_installer import TableInstaller
from quiclb.routing.table_spec import TableSpec
from tests.unit.quiclb.pools import CONFIGS, backend


def spec(version: int) -> TableSpec:
    return TableSpec(CONFIGS, (backend(1),), version=version)


async def test_tables_are_built_elsewhere_and_installed_here(monkeypatch):
    threads = set()
    build = TableSpec.build
    monkeypatch.setattr(TableSpec, "build", lambda self: threads.add(threading.current_thread()) or build(self))
    installed = []
    installer = TableInstaller(lambda table: installed.append((table.version, threading.current_thread())))
    installer.publish(spec(1))
    assert installed == []
    await installer.wait()
    assert installed == [(1, threading.current_thread())]
    assert threading.current_thread() not in threads
    installer.publish(spec(2))
    await installer.wait()
    assert [version for version, _ in installed] == [1, 2]


async def test_only_the_newest_of_many_is_installed():
    installed = []
    installer = TableInstaller(lambda table: installed.append(table.version))
    for version in range(100):
        installer.publish(spec(version))
    await installer.wait()
    assert installed == [99]


async def test_each_table_is_logged_when_it_is_built():
    installer = TableInstaller(lambda table: None)
    with capture_logs() as lines:
        for version in (3, 4):
            installer.publish(spec(version))
            await installer.wait()
    assert lines == [
        {"event": "table built", "version": version, "backends": 1, "log_level": "debug"} for version in (3, 4)
    ]


async def test_a_load_balancer_logs_that_its_table_is_built_and_installed():
    section = {"listen": "127.0.0.1:0", "inner": "127.0.0.1:0", "datapath": "asyncio"}
    backends = [{"name": "b1", "address": "127.0.0.1:9"}]
    settings = Settings.model_validate({"forwarder": section, "health": {"enabled": False}, "backend": backends})
    balancer = LoadBalancer(settings)
    with capture_logs() as lines:
        await balancer.start()
        balancer.host.publish(spec(1))
        await balancer.host._installer.wait()
        await balancer.stop()
    tables = [line for line in lines if line["event"].startswith("table")]
    assert [(line["event"], line["version"], line["backends"]) for line in tables] == [
        ("table built", 0, 1),
        ("table installed", 0, 1),
        ("table built", 1, 1),
        ("table installed", 1, 1),
    ]


@pytest.mark.parametrize("count", [0, 1])
async def test_nothing_is_installed_after_stop(count):
    installed = []
    installer = TableInstaller(lambda table: installed.append(table.version))
    for version in range(count):
        installer.publish(spec(version))
    await installer.stop()
    await installer.wait()
    assert installed == []
