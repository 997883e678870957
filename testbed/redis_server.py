"""A real Redis: found or, for root on Debian, installed; started on free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from testbed.ports import free_port

READY_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 10.0
BUS_OFFSET = 10_000


class RedisMissing(unittest.SkipTest):
    """There is no Redis on this machine; as a `SkipTest` it skips the test that it is raised in."""


class RedisServer:
    """One `redis-server` process on a free port; `stop` (SIGKILL) and `start` let it be away for a while."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port(also=BUS_OFFSET)
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [program(), *options, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--logfile", "redis.log"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self.ask("PING") != "PONG":
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server did not come up")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *command: str) -> str:
        """Send a command and return the answer, empty where there is none."""
        return ask(self.port, *command)

    def wait_for_replica(self) -> None:
        """Return once a replica has all that was written so far; raises `RuntimeError`.

        WAIT counts the replicas that have the writes of its own connection, and without one does not wait at all. So
        this writes, too: replicas get writes in their order.
        """
        wait_ms = round(READY_TIMEOUT_S * 1000)
        with socket.create_connection(("127.0.0.1", self.port), 2 * READY_TIMEOUT_S) as connection:
            connection.sendall(f"SET written-last 1\r\nWAIT 1 {wait_ms}\r\n".encode())
            with connection.makefile("rb") as answers:
                written, replicas = answers.readline(), answers.readline()
        if written != b"+OK\r\n" or replicas != b":1\r\n":
            raise RuntimeError(f"no replica of 127.0.0.1:{self.port} has what was written: {written!r} {replicas!r}")


def ask(port: int, *command: str) -> str:
    """Send a command to the server at this port and return the answer, empty where there is none."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as connection:
        connection.sendall((" ".join(command) + "\r\n").encode())
        return connection.recv(65_536).decode().strip().lstrip("+:")
    return ""


@contextmanager
def redis_server(folder: Path, fsync: str = "always") -> Iterator[RedisServer]:
    """One server, which keeps its data over `stop` and `start`; `fsync` is its `appendfsync`."""
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", fsync)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def redis_cluster(folder: Path, nodes: int = 3) -> Iterator[str]:
    """The address of a Cluster without replicas."""
    servers = [RedisServer(folder / str(n), "--cluster-enabled", "yes", "--appendonly", "no") for n in range(nodes)]
    try:
        for server in servers:
            server.start()
        share = -(-16_384 // nodes)
        for index, server in enumerate(servers):
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(index * share), str(min(16_384, (index + 1) * share) - 1))
            server.ask("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port))
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not all("cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in servers):
            if time.monotonic() > deadline:
                raise RuntimeError("the Redis Cluster did not come up")
            time.sleep(0.05)
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
    finally:
        for server in servers:
            server.stop()


@contextmanager
def redis_sentinel(folder: Path) -> Iterator[tuple[str, RedisServer]]:
    """The address of a master with a replica that one Sentinel would put in its place, and the master to stop."""
    master = RedisServer(folder / "master")
    replica = RedisServer(folder / "replica", "--replicaof", "127.0.0.1", str(master.port))
    settings = folder / "sentinel.conf"
    settings.write_text(
        f"sentinel monitor calls 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds calls 3000\n"
        "sentinel failover-timeout calls 3000\n"
    )
    sentinel = RedisServer(folder / "sentinel", str(settings), "--sentinel")
    servers = (master, replica, sentinel)
    try:
        for server in servers:
            server.start()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while "state=online" not in master.ask("INFO", "replication") or "slaves=1" not in sentinel.ask(
            "INFO", "sentinel"
        ):
            if time.monotonic() > deadline:
                raise RuntimeError("the replica did not come up")
            time.sleep(0.05)
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/calls", master
    finally:
        for server in servers:
            server.stop()


@cache
def program() -> str:
    """Return the path of redis-server. Raises `RedisMissing`, or under STRICT=1 `RuntimeError`, where there is none."""
    if shutil.which("redis-server") is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        subprocess.run(["apt-get", "install", "-qq", "-y", "redis-server"], capture_output=True, check=False)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        error = RuntimeError if os.environ.get("STRICT") == "1" else RedisMissing
        raise error("there is no redis-server on this machine; on Debian: apt-get install redis-server")
    return found
