from __future__ import annotations

import threading

import pytest

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


@pytest.mark.parametrize("count", [0, 1])
async def test_nothing_is_installed_after_stop(count):
    installed = []
    installer = TableInstaller(lambda table: installed.append(table.version))
    for version in range(count):
        installer.publish(spec(version))
    await installer.stop()
    await installer.wait()
    assert installed == []
