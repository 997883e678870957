"""Sessions in Redis or Valkey, for workers on any number of hosts; alone, behind Sentinel, or as a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import ConstantBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from voice_gateway.errors import StoreError
from voice_gateway.store.base import Fenced, SessionRecord
from voice_gateway.store.encoding import RecordCodec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from voice_gateway.store.address import StoreAddress

_TIMEOUT_S: Final = 1.0
_RETRY: Final = Retry(ConstantBackoff(0.05), 2)
"""Of a connection that broke, within the bound of `voice_gateway.store.guarded`."""
_ASK_AGAIN_AFTER_S: Final = (0.0, 0.1, 0.3, 0.6)
"""How long to wait before each further attempt at a server that does not take writes now."""
_PREFIX: Final = "voice:session:"
_DEFAULT_PORT, _SENTINEL_PORT = 6379, 26379


def connect(address: StoreAddress) -> list[Any]:
    """Return the client for an address and, behind it, what it asks for its server; raises `StoreError`.

    Nothing is connected before it is used, but every option is tried.

    `redis://` and `rediss://` name one server, `redis+sentinel://HOST,HOST/NAME` a master that Sentinels know,
    `redis+cluster://HOST,HOST` a Cluster; the last two with `?tls=true` where wanted.
    """
    options = _options(address)
    try:
        clients = _CLIENTS[address.scheme](address, options)
        _try_options(clients[0])
    except StoreError:
        raise
    except Exception as error:  # redis-py raises of many kinds; none of them repeats a value of the options
        raise StoreError(f"the options of the session store's address cannot be used: {error}") from None
    return clients


class RedisStore:
    """A `SessionStore` in the first of the clients that `connect` gave; all are closed with it.

    Every record is one hash, changed by one script at a time. A server that was demoted, is loading or lacks replicas
    is asked again over a new connection, for which Sentinel, DNS or the Cluster may name another server. What redis-py
    raises beyond that is for `voice_gateway.store.guarded`.
    """

    def __init__(self, clients: Sequence[Any], *, ttl_s: float, codec: RecordCodec) -> None:
        self._client, *self._others = clients
        self._ttl_ms = round(ttl_s * 1000)
        self._codec = codec

    async def save(self, record: SessionRecord) -> None:
        stored = self._codec.encode(record)
        epoch = await self._run(_SAVE, record.session_id, record.epoch, record.revision, stored)
        if epoch > record.epoch:
            raise Fenced(epoch, record.epoch)

    async def claim(self, record: SessionRecord) -> bool:
        stored = self._codec.encode(record)
        return await self._run(_CLAIM, record.session_id, record.epoch, record.revision, stored) == 1

    async def load(self, session_id: str) -> SessionRecord | None:
        stored = await self._ask(lambda: self._client.hget(_PREFIX + session_id, "record"))
        return self._codec.decode(session_id, stored) if stored else None

    async def delete(self, session_id: str, epoch: int) -> None:
        """Forget the session, but not that it was there."""
        await self._run(_DELETE, session_id, epoch)

    async def close(self) -> None:
        for client in (self._client, *self._others):
            await client.aclose()

    async def _run(self, script: str, session_id: str, *arguments: int | bytes) -> int:
        key = _PREFIX + session_id
        return int(await self._ask(lambda: self._client.eval(script, 1, key, self._ttl_ms, *arguments)))

    async def _ask(self, request: Callable[[], Awaitable[Any]]) -> Any:
        for delay_s in _ASK_AGAIN_AFTER_S:
            try:
                return await request()
            except Exception as error:
                if not _was_refused(error):
                    raise
            await self._drop_connections()
            await asyncio.sleep(delay_s)
        return await request()

    async def _drop_connections(self) -> None:
        """Connect anew for the next request; a Cluster is asked for its layout too."""
        if isinstance(self._client, redis.RedisCluster):
            await self._client.aclose()
        else:
            await self._client.connection_pool.disconnect(inuse_connections=False)


def _was_refused(error: Exception) -> bool:
    """Whether the server did nothing with the command, and another one, or the same one later, may take it."""
    if isinstance(error, _REFUSALS) or isinstance(error.__context__, ReadOnlyError):  # Sentinel's client wraps it
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_REFUSAL_CODES)


_REFUSALS: Final = (ReadOnlyError, BusyLoadingError, ClusterDownError, TryAgainError, MasterNotFoundError)
"""READONLY, LOADING, CLUSTERDOWN and MASTERDOWN, TRYAGAIN; Sentinel names no master."""
_REFUSAL_CODES: Final = ("READONLY ", "LOADING ", "CLUSTERDOWN ", "MASTERDOWN ", "TRYAGAIN ", "NOREPLICAS ")
"""The same where redis-py has no class for it."""


def _options(address: StoreAddress) -> dict[str, Any]:
    """Return what the part behind `?` says, as arguments of redis-py; raises `StoreError`."""
    options: dict[str, Any] = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S, "retry": _RETRY}
    for number, (name, text) in enumerate(address.options, 1):
        if name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise StoreError(f"option {number} of the session store's address is none of {known}")
        try:
            options[name] = _OPTIONS[name](text)
        except (ValueError, KeyError):
            raise StoreError(f"option {name} of the session store's address has a value that cannot be") from None
    if address.scheme == "rediss":
        options["tls"] = True
    if options.pop("tls", False):
        options["ssl"] = True
    elif tls := [name for name in options if name.startswith("ssl_")]:
        raise StoreError(f"option {tls[0]} of the session store's address needs rediss:// or tls=true")
    if address.password is not None or address.username is not None:
        options |= {"username": address.username, "password": address.password}
    return options


def _single(address: StoreAddress, options: dict[str, Any]) -> list[Any]:
    if "," in address.hosts:
        raise StoreError(f"{address.scheme}:// names one host; several are for redis+sentinel:// and redis+cluster://")
    (host, port), *_ = address.split_hosts(_DEFAULT_PORT)
    if (database := address.path.strip("/")) and "db" not in options:
        if not (database.isascii() and database.isdecimal()):
            raise StoreError(f"{address.scheme}:// takes the number of a database behind the host, as in HOST:PORT/0")
        options["db"] = int(database)
    return [redis.Redis(host=host, port=port, **options)]


def _behind_sentinel(address: StoreAddress, options: dict[str, Any]) -> list[Any]:
    name = address.path.strip("/")
    if not name:
        raise StoreError("redis+sentinel:// needs the name of the master behind the hosts, as in HOST,HOST/NAME")
    hosts = address.split_hosts(_SENTINEL_PORT)
    asked = {key: value for key, value in options.items() if key.startswith("socket_") or key == "retry"}
    # redis-py gives its Sentinel no types
    sentinel = Sentinel(hosts, sentinel_kwargs=asked, **options)  # type: ignore[no-untyped-call]
    return [sentinel.master_for(name), *sentinel.sentinels]


def _cluster(address: StoreAddress, options: dict[str, Any]) -> list[Any]:
    if address.path.strip("/"):
        raise StoreError("redis+cluster:// takes nothing behind the hosts: a Cluster has no databases")
    nodes = [redis.cluster.ClusterNode(host, port) for host, port in address.split_hosts(_DEFAULT_PORT)]
    return [redis.RedisCluster(startup_nodes=nodes, **options)]


_CLIENTS: Final[Mapping[str, Callable[[StoreAddress, dict[str, Any]], list[Any]]]] = {
    "redis": _single,
    "rediss": _single,
    "redis+sentinel": _behind_sentinel,
    "redis+cluster": _cluster,
}


def _try_options(client: Any) -> None:
    """Make a connection that connects nowhere, and read the files of its TLS."""
    if isinstance(client, redis.RedisCluster):
        (node, *_) = client.startup_nodes
        connection = node.connection_class(**node.connection_kwargs)
    else:
        pool = client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
    if isinstance(connection, redis.SSLConnection):
        connection.ssl_context.get()


def _flag(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3600:
        raise ValueError
    return seconds


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return check


_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "tls": _flag,
    "db": int,
    "client_name": str,
    "max_connections": _positive,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _flag,
    "health_check_interval": int,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_check_hostname": _flag,
    "ssl_ciphers": str,
}
"""The options of an address, as redis-py names them, and `tls`."""

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
