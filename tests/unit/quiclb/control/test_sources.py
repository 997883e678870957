from __future__ import annotations

import asyncio
import errno
import json
import socket
from typing import Any

import pytest
import structlog.testing

from quiclb import QuicLbConfig
from quiclb.control.sources import make_source
from quiclb.routing.pool import BackendState
from quiclb.settings.sections import DnsDiscovery, FileDiscovery, OrdinalDiscovery
from tests.unit.quiclb.virtual import on_virtual_time

CONFIGS = (QuicLbConfig(0, 4, 12),)
DNS = DnsDiscovery(kind="dns", host="workers.test", port=4433, interval_s=5, linger_s=60)


class Resolver:
    """Stands for the event loop's `getaddrinfo`."""

    def __init__(self, *ips):
        self.ips = list(ips)
        self.asked = 0
        loop: Any = asyncio.get_running_loop()
        loop.getaddrinfo = self

    async def __call__(self, host, port, *, type):
        assert (host, port, type) == ("workers.test", 4433, socket.SOCK_DGRAM)
        self.asked += 1
        if isinstance(self.ips[0], Exception):
            raise self.ips[0]
        return [(socket.AF_INET, type, 17, "", (ip, port)) for ip in self.ips]


class Changes:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def names(source, state=BackendState.ACTIVE):
    return [each.name for each in source.backends(CONFIGS) if each.state is state]


@on_virtual_time
async def test_a_name_is_looked_up_again_and_again():
    resolver, changed = Resolver("10.0.0.2", "10.0.0.1"), Changes()
    source = make_source(DNS, changed)
    assert await source.refresh()
    assert names(source) == ["10.0.0.1:4433", "10.0.0.2:4433"]
    assert source.backends(CONFIGS)[0].server_ids == {0: (bytes((10, 0, 0, 1)),)}
    source.start()
    resolver.ips = ["10.0.0.1", "10.0.0.2"]
    await asyncio.sleep(26)
    assert (resolver.asked, changed.count) == (6, 0)
    resolver.ips = ["10.0.0.1", "10.0.0.3"]
    await asyncio.sleep(5)
    assert changed.count == 1
    assert names(source) == ["10.0.0.1:4433", "10.0.0.3:4433"]
    assert names(source, BackendState.DRAINING) == ["10.0.0.2:4433"]
    await asyncio.sleep(70)
    assert changed.count == 2
    assert names(source, BackendState.DRAINING) == []
    assert source.results["changed"] == 2
    await source.stop()


@pytest.mark.parametrize("fault", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OSError("no net")])
@on_virtual_time
async def test_a_failed_lookup_changes_nothing_and_is_said_once(fault):
    resolver, changed = Resolver("10.0.0.1"), Changes()
    source = make_source(DNS, changed)
    await source.refresh()
    source.start()
    resolver.ips = [fault]
    with structlog.testing.capture_logs() as logs:
        await asyncio.sleep(51)
    await source.stop()
    assert names(source) == ["10.0.0.1:4433"]
    assert (source.results["failed"], changed.count) == (10, 0)
    assert [line["event"] for line in logs] == ["discovery failed, the last answer stays"]


@pytest.mark.parametrize("fault", [UnicodeError("label empty or too long"), RuntimeError("bug"), MemoryError()])
@on_virtual_time
async def test_a_source_survives_any_exception_and_asks_again(fault):
    resolver, changed = Resolver("10.0.0.1"), Changes()
    source = make_source(DNS, changed)
    await source.refresh()
    source.start()
    resolver.ips = [fault]
    with structlog.testing.capture_logs() as logs:
        await asyncio.sleep(12)
    assert (names(source), source.results["failed"]) == (["10.0.0.1:4433"], 2)
    [line] = logs
    assert line["fault"].startswith(type(fault).__name__)
    resolver.ips = ["10.0.0.2"]
    await asyncio.sleep(5)
    await source.stop()
    assert names(source) == ["10.0.0.2:4433"]


@on_virtual_time
async def test_a_resolver_that_hangs_is_given_up():
    async def hang(*_, **__):
        await asyncio.sleep(1e6)

    loop: Any = asyncio.get_running_loop()
    loop.getaddrinfo = hang
    source = make_source(DNS, Changes())
    assert not await source.refresh()
    assert source.results == {"failed": 1}


ORDINALS = OrdinalDiscovery(kind="ordinals", host="w-{ordinal}.test", count=3, port=4433, interval_s=5, linger_s=60)
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def resolve(answers):
    """Have the event loop's `getaddrinfo` answer from `answers`, host name to IP address or exception."""

    async def getaddrinfo(host, port, *, type):
        answer = answers.get(host, NO_NAME)
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, type, 17, "", (answer, port))]

    loop: Any = asyncio.get_running_loop()
    loop.getaddrinfo = getaddrinfo


@on_virtual_time
async def test_a_numbered_name_keeps_its_server_id_when_its_address_changes():
    answers = {"w-0.test": "10.0.0.7", "w-2.test": "10.0.0.5"}
    resolve(answers)
    source = make_source(ORDINALS, Changes())
    assert await source.refresh()
    found = {each.name: (each.address, each.server_ids[0][0].hex()) for each in source.backends(CONFIGS)}
    assert found == {
        "w-0.test": (("10.0.0.7", 4433), "00000000"),
        "w-2.test": (("10.0.0.5", 4433), "00000002"),
    }
    answers["w-2.test"] = "10.0.0.9"
    assert await source.refresh()
    assert [(each.address[0], each.state) for each in source.backends(CONFIGS)] == [
        ("10.0.0.7", BackendState.ACTIVE),
        ("10.0.0.9", BackendState.ACTIVE),
    ]


@on_virtual_time
async def test_a_numbered_name_that_is_gone_drains_with_its_server_id():
    answers = {"w-0.test": "10.0.0.7", "w-1.test": "10.0.0.8"}
    resolve(answers)
    source = make_source(ORDINALS, Changes())
    await source.refresh()
    del answers["w-1.test"]
    source.start()
    await asyncio.sleep(6)
    assert (names(source), names(source, BackendState.DRAINING)) == (["w-0.test"], ["w-1.test"])
    assert source.backends(CONFIGS)[1].server_ids == {0: (bytes((0, 0, 0, 1)),)}
    await asyncio.sleep(70)
    await source.stop()
    assert names(source, BackendState.DRAINING) == []


@pytest.mark.parametrize(
    "answers", [{}, {"w-0.test": "10.0.0.7", "w-1.test": socket.gaierror(socket.EAI_AGAIN, "Temporary failure")}]
)
@on_virtual_time
async def test_numbered_names_stay_where_none_exists_or_the_resolver_fails(answers):
    resolve({"w-0.test": "10.0.0.7", "w-1.test": "10.0.0.8"})
    source = make_source(ORDINALS, Changes())
    await source.refresh()
    resolve(answers)
    assert not await source.refresh()
    assert names(source) == ["w-0.test", "w-1.test"]


@on_virtual_time
async def test_a_file_that_could_not_be_read_is_read_again_unchanged(tmp_path, monkeypatch):
    path, changed = tmp_path / "backends.toml", Changes()
    path.write_text('[[backend]]\nname = "a"\naddress = "10.0.0.1:4433"\n')

    def exhausted(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    source = make_source(FileDiscovery(kind="file", path=path), changed)
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", exhausted)
        assert not await source.refresh()
    assert source.fault == f"{path}: too many open files"
    source.start()
    await asyncio.sleep(1)
    assert (names(source), changed.count) == (["a"], 1)
    path.write_text("{")
    await asyncio.sleep(5)
    await source.stop()
    assert source.results == {"failed": 2, "changed": 1}


@pytest.mark.parametrize("name", ["backends.toml", "backends.json"])
@on_virtual_time
async def test_a_file_is_read_when_it_changes(tmp_path, name):
    path, changed = tmp_path / name, Changes()

    def write(*states):
        entries = [{"name": f"b{n}", "address": f"10.0.0.{n}:4433", "state": s} for n, s in enumerate(states, 1)]
        if name.endswith("json"):
            text = json.dumps({"backend": entries})
        else:
            lines = (
                f'[[backend]]\nname="{e["name"]}"\naddress="{e["address"]}"\nstate="{e["state"]}"' for e in entries
            )
            text = "\n".join(lines)
        path.write_text(text)

    source = make_source(FileDiscovery(kind="file", path=path), changed)
    assert not await source.refresh()
    assert source.results == {"failed": 1}
    source.start()
    write("active", "active")
    await asyncio.sleep(1)
    assert (names(source), changed.count) == (["b1", "b2"], 1)
    await asyncio.sleep(5)
    assert source.results == {"failed": 1, "changed": 1}
    write("draining", "active")
    await asyncio.sleep(1)
    assert (names(source), names(source, BackendState.DRAINING)) == (["b2"], ["b1"])
    path.write_text("{")
    await asyncio.sleep(1)
    path.unlink()
    await asyncio.sleep(1)
    assert names(source) == ["b2"]
    assert source.results == {"failed": 3, "changed": 2}
    write("draining", "draining", "active")
    await asyncio.sleep(1)
    assert names(source) == ["b3"]
    await source.stop()
