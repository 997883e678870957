"""`check` and `serve` report each mistake in lb.toml in one line that names the key, and end with status 1."""

from __future__ import annotations

import pytest

GOOD = """
[forwarder]
listen = "0.0.0.0:443"
inner = "10.0.0.1:4434"
metrics = "127.0.0.1:9100"
[health]
interval_s = 2
[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key = "8f95f09245765f80256934e50c66207f"
[[config]]
id = 1
server_id_length = 8
nonce_length = 7
[[backend]]
name = "a"
address = "10.0.0.11:4433"
server_ids = { 0 = "00000001" }
[[backend]]
name = "b"
address = "10.0.0.12:4433"
server_ids = { 0 = ["00000002", "00000003"] }
[[discovery]]
kind = "dns"
host = "workers.test"
port = 4433
server_ids = { 0 = "{address:4}" }
"""
KEY = 'key = "8f95f09245765f80256934e50c66207f"'
DNS = GOOD[GOOD.index('kind = "dns"') :].strip()
ORDINALS = 'kind = "ordinals"\nhost = "w-{ordinal}"\ncount = 3\nport = 4433'
ADDRESS = "address must look like 192.0.2.1:443 or [2001:db8::1]:443"
NAME = "host name must be labels of 1 to 63 letters, digits or hyphens"

MISTAKES = [
    # tables
    ("[forwarder]", "[[forwarder]]", "forwarder: must be a table"),
    ("[health]", "[[health]]", "health: must be a table"),
    ("[forwarder]", "[forwarders]", "forwarder.listen: is required"),
    ("[health]", "[healthy]", "healthy: unknown key"),
    ("[forwarder]", "[forwarder", "not valid TOML: "),
    ("[forwarder]", '[forwarder]\nlisten = "0.0.0.0:1"', "not valid TOML: "),
    ("[[config]]\nid = 0", "[config]\nid = 0", "not valid TOML: "),
    (f"[[discovery]]\n{DNS}", f"[discovery]\n{DNS}", "discovery: must be a list of tables, each written as [["),
    # addresses
    ('"0.0.0.0:443"', "443", "forwarder.listen: must be text such as '192.0.2.1:443'"),
    ('"0.0.0.0:443"', '["0.0.0.0", 443]', "forwarder.listen: must be text such as '192.0.2.1:443'"),
    ('"0.0.0.0:443"', '""', f"forwarder.listen: {ADDRESS}, got ''"),
    ('"0.0.0.0:443"', '"443"', f"forwarder.listen: {ADDRESS}, got '443'"),
    ('"0.0.0.0:443"', '"0.0.0.0"', f"forwarder.listen: {ADDRESS}, got '0.0.0.0'"),
    ('"0.0.0.0:443"', '":::443"', "forwarder.listen: address must look like"),
    ('"0.0.0.0:443"', '"224.0.0.1:443"', "forwarder.listen: must be an address of this machine"),
    ('"0.0.0.0:443"', '"0.0.0.0:4434"', "listen 0.0.0.0:4434 and inner 10.0.0.1:4434 overlap"),
    ('"0.0.0.0:443"', '"[::]:4434"', "listen [::]:4434 and inner 10.0.0.1:4434 overlap"),
    ('"10.0.0.1:4434"', '"lb:4434"', "forwarder.inner: address must hold an IP address, not a name"),
    ('"127.0.0.1:9100"', '"127.0.0.1:70000"', f"forwarder.metrics: {ADDRESS}"),
    ('"10.0.0.11:4433"', '"10.0.0.12:4433"', "backends 'a' and 'b' have the same address: 10.0.0.12:4433"),
    ('"10.0.0.11:4433"', '"10.0.0.11:0"', "backend[0].address: port must be 1 to 65535, got 0"),
    ('"10.0.0.11:4433"', '"10.0.0.1:4434"', "backend[0].address: 10.0.0.1:4434 is forwarder.inner"),
    ('"10.0.0.11:4433"', '"127.0.0.1:443"', "backend[0].address: 127.0.0.1:443 is forwarder.listen"),
    ('"10.0.0.11:4433"', '"0.0.0.0:4433"', "backend[0].address: must be the unicast address of one host"),
    ('"10.0.0.11:4433"', '"worker-1:4433"', "backend[0].address: address must hold an IP address, not a name"),
    ('"10.0.0.11:4433"', '"[fd00::1]:4433"', "backend[0].address: [fd00::1]:4433 is IPv6, which forwarder.inner"),
    # numbers
    ("interval_s = 2", "interval_s = 0", "health.interval_s: must be at least 0.1"),
    ("interval_s = 2", "interval_s = -1", "health.interval_s: must be at least 0.1"),
    ("interval_s = 2", "interval_s = nan", "health.interval_s: must be at most 3600"),
    ("interval_s = 2", "interval_s = inf", "health.interval_s: must be at most 3600"),
    ("interval_s = 2", "interval_s = 99999999999999999999999", "health.interval_s: must be at most 3600"),
    ("interval_s = 2", 'interval_s = "2s"', "health.interval_s: must be a number"),
    ("interval_s = 2", "interval_s = 2026-01-01", "health.interval_s: must be a number"),
    ("interval_s = 2", "interval_s = true", "health: interval_s must be a number, got true"),
    ("interval_s = 2", "interval = 2", "health.interval: unknown key"),
    ("interval_s = 2", "fall = 0", "health.fall: must be at least 1"),
    ("interval_s = 2", "fall = 1.5", "health.fall: must be a whole number"),
    ("interval_s = 2", "enabled = 2", "health.enabled: must be true or false"),
    ("[health]", "processes = 0\n[health]", "forwarder.processes: must be at least 1"),
    ("[health]", "processes = 1000\n[health]", "forwarder.processes: must be at most 64"),
    ("[health]", "orphan_grace_s = -1\n[health]", "forwarder.orphan_grace_s: must be at least 0"),
    ("[health]", 'datapath = "fast"\n[health]', "forwarder.datapath: must be one of the installed datapaths: "),
    ("[health]", "unknown_server_id = true\n[health]", "forwarder.unknown_server_id: must be 'fallback' or 'drop'"),
    # configs and keys
    ("id = 0", "id = 7", "config[0]: config ID must be 0 to 6, got 7"),
    ("id = 0", "id = 99999999999999999999999", "config[0]: config ID must be 0 to 6"),
    ("id = 0", "id = true", "config[0]: id must be a number, got true"),
    ("id = 0", "id = 1", "config[1].id: config ID 1 is given twice"),
    ("server_id_length = 4", "server_id_length = 0", "config[0]: server ID must be at least 1 byte long"),
    ("server_id_length = 4", "server_id_length = 16", "config[0]: server ID and nonce hold at most 19 bytes together"),
    ("nonce_length = 12", "nonce_length = 3", "config[0]: nonce must be at least 4 bytes long"),
    (KEY, "key = 5", "config[0].key: must be text in quotes"),
    (KEY, 'key = ""', "config[0].key: key must be 32 hexadecimal digits"),
    (KEY, 'key_file = "/"', "config[0]: key_file /: is a directory"),
    (KEY, 'key_file = "none.key"', "none.key: no such file or directory"),
    (KEY, 'key_file = "a\\u0000b"', "a file name must not hold a null character"),
    (KEY, 'key_file = "/dev/zero"', "config[0]: key_file /dev/zero: must be at most 16 MiB long"),
    (KEY, "key_file = 5", "config[0].key_file: must be a file name in quotes"),
    (KEY, 'key_file = "8f95f09245765f80256934e50c66207f"', "config[0]: key_file must be the name of a file"),
    # backends
    ('name = "a"', "", "backend[0].name: is required"),
    ('name = "a"', 'name = ""', "backend[0].name: must not be empty"),
    ('name = "a"', "name = 5", "backend[0].name: must be text in quotes"),
    ('name = "a"', 'name = "b"', "backends 'b' and 'b' have the same name: b"),
    ('name = "a"', 'name = "a\\nb"', "backend[0].name: must be printable characters"),
    ('name = "a"', f'name = "{"n" * 5000}"', "backend[0].name: must be at most 128 characters long"),
    ('0 = "00000001"', '0 = "0001"', "backend 'a': server ID is 2 bytes, config 0 expects 4"),
    ('0 = "00000001"', '0 = ""', "backend 'a': server ID is 0 bytes, config 0 expects 4"),
    ('0 = "00000001"', '0 = "0000000g"', "backend[0].server_ids.0[0]: must be hexadecimal digits"),
    ('0 = "00000001"', "0 = 1", "backend[0].server_ids.0: must be hexadecimal digits in quotes, or a list of such"),
    ('0 = "00000001"', '5 = "00000001"', "backend 'a' has a server ID in config 5, which does not exist"),
    ('0 = "00000001"', 'x = "00000001"', "backend[0].server_ids.x: must be a whole number"),
    ('0 = "00000001"', '0 = "00000001", 00 = "00000009"', "backend[0].server_ids: a config ID is given twice"),
    ('0 = "00000001"', '0 = "00000002"', "backends 'a' and 'b' have the same server ID: 00000002 in config 0"),
    ('"00000002", "00000003"', '"00000002", "00000002"', "backend 'b' has a server ID twice: 00000002 in config 0"),
    ('{ 0 = "00000001" }', '"00000001"', "backend[0].server_ids: must be a table"),
    ('name = "a"', 'name = "a"\nstate = "gone"', "backend[0].state: must be 'active', 'draining' or 'down'"),
    ('name = "a"', 'name = "a"\nweight = 5', "backend[0].weight: unknown key"),
    # discovery
    ('kind = "dns"', "", "discovery[0]: kind is required"),
    ('kind = "dns"', 'kind = "srv"', "discovery[0]: kind must be one of 'dns', 'ordinals', 'file'"),
    ('"workers.test"', '""', f"discovery[0].host: {NAME}"),
    ('"workers.test"', '"a..b"', f"discovery[0].host: {NAME}"),
    ('"workers.test"', f'"{"a" * 64}.test"', f"discovery[0].host: {NAME}"),
    ('"workers.test"', '"workers.test:4433"', f"discovery[0].host: {NAME}"),
    ('"workers.test"', f'"{"a." * 127}a"', "discovery[0].host: host name must be at most 253 bytes long"),
    ('"workers.test"', '"10.0.1"', "discovery[0].host: host name must not end in a number"),
    ("port = 4433", "port = 0", "discovery[0].port: must be at least 1"),
    ("port = 4433", "port = 65536", "discovery[0].port: must be at most 65535"),
    ("port = 4433", "port = 4433\ninterval_s = 0", "discovery[0].interval_s: must be at least 0.5"),
    ("port = 4433", "port = 4433\nlinger_s = -1", "discovery[0].linger_s: must be at least 0"),
    ("{address:4}", "{address:3}", "discovery[0].server_ids.0: pattern gives 3 bytes, the config expects 4"),
    ("{address:4}", "{adress:4}", "discovery[0].server_ids: a server ID pattern holds pairs of hexadecimal digits"),
    ('0 = "{address:4}"', '5 = "{address:4}"', "discovery[0].server_ids.5: config 5 does not exist"),
    (DNS, f"{DNS}\n[[discovery]]\n{DNS}", "discovery[1]: asks the same as discovery[0]"),
    (DNS, ORDINALS.replace("{ordinal}", "0"), "discovery[0]: host: must hold {ordinal} where the number stands"),
    (DNS, ORDINALS.replace("-{ordinal}", ".{ordinal}"), "discovery[0]: host: host name must not end in a number"),
    (DNS, ORDINALS.replace("count = 3", "count = 0"), "discovery[0].count: must be at least 1"),
    (DNS, f"{ORDINALS}\nserver_ids = {{ 0 = '00' }}", "discovery[0].server_ids: unknown key"),
    (
        DNS,
        ORDINALS.replace("count = 3", "count = 257") + "\n[[config]]\nid = 5\nserver_id_length = 1\nnonce_length = 15",
        "discovery[0].count: config 5 has server IDs for ordinals 0 to 255, got 256",
    ),
    (DNS, 'kind = "file"\npath = 5', "discovery[0].path: must be a file name in quotes"),
]  # fmt: skip
UNREADABLE = [
    (DNS, 'kind = "file"\npath = "/"', "file:/: /: is a directory"),
    (DNS, 'kind = "file"\npath = "a\\u0000"', "a file name must not hold a null character"),
    (DNS, 'kind = "file"\npath = "none.toml"', "none.toml: no such file or directory"),
]


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[f"{new[:40]!r}" for _, new, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_the_key(quiclb, tmp_path, command, old, new, message):
    assert old in GOOD
    path = tmp_path / "lb.toml"
    path.write_text(GOOD.replace(old, new, 1))
    status, out, err = quiclb(command, "--config", str(path))
    assert (status, out) == (1, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"quiclb: {path}: ")
    assert any(message in line for line in lines)
    # one line for each fault; a table under a wrong name is two
    assert len(lines) <= (3 if new == "[forwarders]" else 1)
    assert "Traceback" not in err
    assert "8f95" not in err


@pytest.mark.parametrize(("old", "new", "message"), UNREADABLE)
def test_a_discovery_file_that_cannot_be_read_is_one_line_of_check(quiclb, tmp_path, old, new, message):
    """`serve` starts without what it lists, as the file may come later."""
    path = tmp_path / "lb.toml"
    path.write_text(GOOD.replace(old, new, 1))
    status, out, err = quiclb("check", "--config", str(path))
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("LISTEN", "0.0.0.0", f"quiclb: QUICLB_LISTEN: {ADDRESS}"),
        ("PROCESSES", "many", "quiclb: QUICLB_PROCESSES: must be a whole number"),
        ("CHECK_CID_LENGTH", "perhaps", "quiclb: QUICLB_CHECK_CID_LENGTH: must be true or false"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(quiclb, tmp_path, monkeypatch, variable, value, message):
    path = tmp_path / "lb.toml"
    path.write_text(GOOD)
    monkeypatch.setenv(f"QUICLB_{variable}", value)
    status, _, err = quiclb("check", "--config", str(path))
    assert (status, len(err.splitlines())) == (1, 1)
    assert err.startswith(message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--log-level", "loud"), "--log-level must be debug, info, warning or error, got 'loud'"),
        (("--listen", "a..b:443"), "forwarder.listen: address must hold an IP address, not a name"),
        (("--inner", "0.0.0.0:443"), "listen 0.0.0.0:443 and inner 0.0.0.0:443 overlap"),
    ],
)
def test_a_mistake_in_a_flag_is_one_line(quiclb, tmp_path, flags, message):
    path = tmp_path / "lb.toml"
    path.write_text(GOOD)
    status, _, err = quiclb("serve", "--config", str(path), *flags)
    assert (status, len(err.splitlines())) == (1, 1)
    assert message in err


@pytest.mark.parametrize("name", ["[/x]", "[red]x", "\\"])
def test_brackets_and_ipv6_addresses_are_shown_as_they_are(quiclb, tmp_path, name):
    path = tmp_path / "lb.toml"
    text = GOOD.replace('"10.0.0.1:4434"', '"[::]:4434"').replace('"10.0.0.11:4433"', '"[fd00::1]:4433"')
    path.write_text(text.replace('name = "a"', f"name = '{name}'"))
    status, out, err = quiclb("check", "--config", str(path))
    assert (status, err) == (0, "")
    assert name in out
    assert "[fd00::1]:44" in out.replace("\n", "")
