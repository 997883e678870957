from __future__ import annotations

import pytest

from voice_gateway.errors import StoreError
from voice_gateway.store.address import split_server_address
from voice_gateway.store.factory import open_store
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.store.implementations.redis import connect

SECRET = "hunter2"


def test_the_memory_store():
    assert isinstance(open_store("memory://").inner, MemoryStore)


@pytest.mark.parametrize(
    "url", ["", "memory", "memory:", "postgres://db/sessions", "/var/lib/sessions", "hunter2", "a:hunter2@b://c"]
)
def test_other_addresses_are_refused_with_those_there_are(url):
    with pytest.raises(StoreError, match="must begin with memory://, sqlite://, redis://") as refusal:
        open_store(url)
    assert SECRET not in str(refusal.value)


def test_the_memory_store_takes_no_path():
    with pytest.raises(StoreError, match="nothing behind it"):
        open_store("memory://here")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("sqlite://sessions.db", "sqlite:///relative.db"),
        ("sqlite:///", "sqlite:///relative.db"),
        ("sqlite:///sessions.db?mode=ro", "write %3F"),
        ("redis+sentinel://localhost", "name of the master"),
        ("redis+cluster://localhost:many", "HOST:PORT"),
        ("redis+cluster://a,b/0", "no databases"),
        ("redis://localhost:many", "the host of .* must be HOST:PORT"),
        ("redis://localhost:0", "port 1 to 65535"),
        ("redis://one,two", "names one host"),
        ("redis://localhost/first", "number of a database"),
        ("redis+sentinel://one,,two/calls", "host 2 of 3"),
        ("redis://localhost#1", "behind #"),
    ],
)
def test_addresses_that_say_too_little_are_refused(url, rule):
    with pytest.raises(StoreError, match=rule):
        open_store(url)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize("character", ["#", "/", "?", "[", "]", " "])
@pytest.mark.parametrize("tail", ["@db:6379/1", "@[::1]:6379/1", "", "@"])
def test_a_password_with_a_reserved_character_is_never_shown(scheme, character, tail):
    """RFC 3986 section 2.2: these delimit the parts of an address, and section 3.2.1 has no place for them there."""
    with pytest.raises(StoreError) as refusal:
        open_store(f"{scheme}://user:{SECRET}{character}{SECRET}{tail}")
    assert SECRET not in str(refusal.value)
    if tail.startswith("@"):
        assert "percent-encode the user name and the password" in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize("tail", [":many", ":0", "?timeout=1", "?db=x", "?ssl_ca_certs=/nowhere"])
def test_a_password_is_not_repeated_whatever_else_is_wrong(tail):
    for scheme in ("mysql", "redis", "rediss", "redis+sentinel", "redis+cluster"):
        with pytest.raises(StoreError) as refusal:
            open_store(f"{scheme}://root:{SECRET}@db{tail}")
        assert SECRET not in str(refusal.value)


def test_a_password_is_split_off_at_the_last_at_sign_and_decoded():
    address = split_server_address("redis://us%40er:p@ss%23%2F%3F%5B:x@[::1]:6380/1?client_name=a%26b")
    assert (address.username, address.password) == ("us@er", "p@ss#/?[:x")
    assert (address.hosts, address.path, address.options) == ("[::1]:6380", "/1", (("client_name", "a&b"),))
    assert "p@ss" not in repr(address)
    (client,) = connect(address)
    kept = client.connection_pool.connection_kwargs
    assert (kept["username"], kept["password"], kept["host"], kept["port"]) == ("us@er", "p@ss#/?[:x", "::1", 6380)
    assert (kept["db"], kept["client_name"]) == (1, "a&b")


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("[::1]:26379", [("::1", 26379)]),
        ("[2001:db8::1],[2001:db8::2]:7000", [("2001:db8::1", 1), ("2001:db8::2", 7000)]),
        ("one,two.example:7000,192.0.2.1", [("one", 1), ("two.example", 7000), ("192.0.2.1", 1)]),
    ],
)
def test_hosts_of_sentinel_and_cluster_may_be_ipv6_addresses(hosts, expected):
    for url in (f"redis+sentinel://{hosts}/calls", f"redis+cluster://{hosts}"):
        assert split_server_address(url).split_hosts(1) == expected
        connect(split_server_address(url))


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("nonsense=1", "option 1 .* is none of tls, db"),
        ("client_name=x&nonsense=1", "option 2 .* is none of tls, db"),
        ("socket_timeout=soon", "option socket_timeout .* cannot be"),
        ("socket_timeout=0", "option socket_timeout .* cannot be"),
        ("tls=maybe", "option tls .* cannot be"),
        ("max_connections=-1", "option max_connections .* cannot be"),
        ("tls=true&ssl_ca_certs=/nowhere/ca.pem", "cannot be used: .*[Nn]o such file"),
        ("tls=true&ssl_cert_reqs=often", "option ssl_cert_reqs .* cannot be"),
    ],
)
def test_options_of_an_address_are_tried_at_the_start(scheme, option, rule):
    with pytest.raises(StoreError, match=rule):
        open_store(f"{scheme}://db/{'calls' if scheme == 'redis+sentinel' else ''}?{option}")


def test_options_of_tls_need_tls():
    with pytest.raises(StoreError, match=r"ssl_ca_certs .* needs rediss:// or tls=true"):
        open_store("redis://db?ssl_ca_certs=/nowhere/ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@db:6379/1",
        "redis://db?socket_timeout=2.5&client_name=worker-1",
        "rediss://db",
        "redis+sentinel://one,two:26380/voice?tls=true&db=2",
        "redis+cluster://u:p@a,b?tls=true&max_connections=10",
    ],
)
async def test_servers_are_not_asked_before_they_are_needed(url):
    await open_store(url).close()
