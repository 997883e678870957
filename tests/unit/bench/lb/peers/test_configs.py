"""One pool in four languages."""

import json
import tomllib
from pathlib import Path

from bench.lb.peers import configs
from bench.lb.traffic.pool import BACKEND_IPS, CONFIGS, Pool, Traffic, server_id, server_ids
from quiclb.settings.loader import Settings

POOL = Pool(("127.0.1.1", 4433), ("127.0.1.2", 4434), tuple((ip, 4435) for ip in BACKEND_IPS))


def test_quiclb_accepts_its_settings_and_builds_the_pool() -> None:
    settings = Settings.model_validate(tomllib.loads(configs.quiclb(POOL)))
    table = settings.build_table()
    assert settings.forwarder.listen == POOL.vip
    assert settings.forwarder.inner == POOL.inner
    assert settings.forwarder.allow_loopback_clients
    assert [backend.address for backend in table.pool] == list(POOL.backends)
    assert {config.config_id: config for config in table.configs} == {c.config_id: c for c in CONFIGS.values()}


def test_the_reference_hears_of_each_config_and_backend() -> None:
    arguments = configs.reference_arguments(POOL)
    assert arguments[arguments.index("--outer") + 1] == "127.0.1.1:4433"
    assert arguments.count("--config") == len(CONFIGS)
    assert arguments.count("--backend") == len(POOL.backends)
    assert "127.0.2.1:4435=0:a0a0a0,1:a0a0a0a0,2:a0a0a0a0a0" in arguments
    assert "--shared" not in arguments
    assert "--shared" in configs.reference_arguments(POOL, is_shared=True)


def test_nginx_gets_the_module_only_if_it_is_one() -> None:
    built_in = configs.nginx(POOL, Path("/run/x"), module=None)
    assert "load_module" not in built_in
    assert "listen 127.0.1.1:4433 udp reuseport" in built_in
    assert all(f"server {ip}:4435;" in built_in for ip in BACKEND_IPS)
    assert configs.nginx(POOL, Path("/run/x"), module=Path("/m.so")).startswith("load_module /m.so;\n")


def test_envoy_listens_on_the_vip_and_knows_the_backends() -> None:
    static = json.loads(configs.envoy(POOL))["static_resources"]
    listener = static["listeners"][0]["address"]["socket_address"]
    assert (listener["address"], listener["port_value"], listener["protocol"]) == ("127.0.1.1", 4433, "UDP")
    endpoints = static["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    addresses = [endpoint["endpoint"]["address"]["socket_address"] for endpoint in endpoints]
    assert [(a["address"], a["port_value"]) for a in addresses] == list(POOL.backends)


def test_plaintext_and_encrypted_server_ids_differ() -> None:
    for backend in range(len(BACKEND_IPS)):
        ids = server_ids(backend)
        assert len(set(ids.values())) == len(ids)
        assert ids[0] == server_id(Traffic.PLAINTEXT, backend)
