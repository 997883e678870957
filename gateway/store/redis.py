"""Sessions in Redis or Valkey, for workers on any number of hosts; alone, behind Sentinel, or as a Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qs, unquote

from redis import asyncio as redis
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from gateway.errors import StoreError
from gateway.store.base import Fenced, SessionRecord
from gateway.store.encoding import decode_record, encode_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

_TIMEOUT_S: Final = 1.0
_PREFIX: Final = "voice:session:"
_DEFAULT_PORT, _SENTINEL_PORT = 6379, 26379


def connect(address: SplitResult) -> list[Any]:
    """Return the client for an address and, behind it, what it asks for its server; raises `StoreError`.

    Nothing is connected before it is used.

    `redis://` and `rediss://` name one server, `redis+sentinel://HOST,HOST/NAME` a master that Sentinels know,
    `redis+cluster://HOST,HOST` a Cluster; the last two with `?tls=true` where wanted.
    """
    options: dict[str, Any] = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    if address.scheme in ("redis", "rediss"):
        try:
            return [redis.Redis.from_url(address.geturl(), **options)]
        except ValueError as error:
            raise StoreError(f"the session store's address is wrong: {error}") from None
    if address.password is not None:
        options |= {"username": unquote(address.username or "") or None, "password": unquote(address.password)}
    if parse_qs(address.query).get("tls") == ["true"]:
        options["ssl"] = True
    if address.scheme == "redis+cluster":
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in _hosts(address, _DEFAULT_PORT)]
        return [redis.RedisCluster(startup_nodes=nodes, **options)]
    name = address.path.strip("/")
    if not name:
        raise StoreError("redis+sentinel:// needs the name of the master behind the hosts, as in HOST,HOST/NAME")
    # redis-py gives its Sentinel no types
    sentinel = Sentinel(_hosts(address, _SENTINEL_PORT), **options)  # type: ignore[no-untyped-call]
    return [sentinel.master_for(name), *sentinel.sentinels]


class RedisStore:
    """A `SessionStore` in the first of the clients that `connect` gave; all are closed with it.

    Every record is one hash, changed by one script at a time.
    """

    def __init__(self, clients: Sequence[Any], *, ttl_s: float) -> None:
        self._client, *self._others = clients
        self._ttl_ms = round(ttl_s * 1000)

    async def save(self, record: SessionRecord) -> None:
        """Keep the record."""
        octets = encode_record(record)
        epoch = await self._run(_SAVE, record.session_id, record.epoch, record.revision, octets)
        if epoch > record.epoch:
            raise Fenced(epoch, record.epoch)

    async def claim(self, record: SessionRecord) -> bool:
        """Take the session over from the epoch before."""
        octets = encode_record(record)
        return await self._run(_CLAIM, record.session_id, record.epoch, record.revision, octets) == 1

    async def load(self, session_id: str) -> SessionRecord | None:
        """Return the record last saved."""
        octets = await self._ask(self._client.hget(_PREFIX + session_id, "record"))
        return decode_record(octets) if octets else None

    async def delete(self, session_id: str, epoch: int) -> None:
        """Forget the session, but not that it was there."""
        await self._run(_DELETE, session_id, epoch)

    async def close(self) -> None:
        """Close the connections."""
        for client in (self._client, *self._others):
            await client.aclose()

    async def _run(self, script: str, session_id: str, *arguments: int | bytes) -> int:
        return int(await self._ask(self._client.eval(script, 1, _PREFIX + session_id, self._ttl_ms, *arguments)))

    async def _ask(self, request: Awaitable[Any]) -> Any:
        try:
            return await request
        except RedisError as error:
            raise StoreError(f"the session store failed: {error}") from error


def _hosts(address: SplitResult, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for entry in address.netloc.rpartition("@")[2].split(","):
        host, _, port = entry.partition(":")
        if not host or (port and not port.isdecimal()):
            raise StoreError(f"the session store's hosts are written HOST:PORT,HOST:PORT, got {entry!r}")
        hosts.append((host, int(port or default_port)))
    return hosts


_SAVE: Final = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if epoch > tonumber(ARGV[2]) then return epoch end
if epoch == tonumber(ARGV[2]) and tonumber(redis.call('HGET', KEYS[1], 'revision')) > tonumber(ARGV[3]) then
  return epoch
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'revision', ARGV[3], 'record', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return epoch
"""
_CLAIM: Final = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if epoch ~= tonumber(ARGV[2]) - 1 or redis.call('HEXISTS', KEYS[1], 'record') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'revision', ARGV[3], 'record', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
_DELETE: Final = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if epoch < 0 or epoch > tonumber(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], 'record')
redis.call('HSET', KEYS[1], 'epoch', tonumber(ARGV[2]) + 1, 'revision', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
