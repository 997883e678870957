from __future__ import annotations

import pytest

from quiclb import ConfigError, load_settings
from quiclb.routing.table import UnknownServerId
from quiclb.settings.sections import ConfigEntry

GOOD = """
[forwarder]
listen = "0.0.0.0:443"
inner = "[::]:4434"
metrics = "127.0.0.1:9100"
[[config]]
id = 0
server_id_length = 3
nonce_length = 4
key = "8f95f09245765f80256934e50c66207f"
[[config]]
id = 2
server_id_length = 8
nonce_length = 7
[[backend]]
name = "a"
address = "10.0.0.11:4433"
server_ids = { 0 = "ed793a", 2 = "ed793a51d49b8f5f" }
[[backend]]
name = "b"
address = "[2001:db8::2]:4433"
state = "draining"
"""


@pytest.fixture
def load(tmp_path):
    def load(text=GOOD, environ=None, flags=None):
        path = tmp_path / "lb.toml"
        path.write_text(text)
        return load_settings(path, environ or {}, flags)

    return load


def test_the_file_becomes_settings(load):
    settings = load()
    assert settings.forwarder.listen == ("0.0.0.0", 443)
    assert settings.forwarder.metrics == ("127.0.0.1", 9100)
    table = settings.build_table()
    assert [config.algorithm.value for config in table.configs] == ["four-pass", "plaintext"]
    assert [(b.name, b.state.value, b.address) for b in table.pool] == [
        ("a", "active", ("10.0.0.11", 4433)),
        ("b", "draining", ("2001:db8::2", 4433)),
    ]
    assert table.backends_by_server_id[0, bytes.fromhex("ed793a")].name == "a"


def test_precedence_is_default_file_environment_flag(load):
    assert load().forwarder.unknown_server_id is UnknownServerId.FALLBACK
    text = GOOD.replace("[forwarder]", '[forwarder]\nunknown_server_id = "drop"')
    assert load(text).forwarder.unknown_server_id is UnknownServerId.DROP
    environ = {
        "QUICLB_UNKNOWN_SERVER_ID": "fallback",
        "QUICLB_LISTEN": "192.0.2.1:1",
        "QUICLB_CHECK_CID_LENGTH": "true",
    }
    from_environment = load(text, environ).forwarder
    assert from_environment.unknown_server_id is UnknownServerId.FALLBACK
    assert from_environment.check_cid_length is True
    flags = {"listen": "192.0.2.1:2", "inner": None}
    from_flags = load(text, environ, flags).forwarder
    assert (from_flags.listen, from_flags.inner) == (("192.0.2.1", 2), ("::", 4434))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nonce_length = 4", "nonce_lenth = 4", r"config\[0\]\.nonce_lenth: unknown key"),
        ("nonce_length = 4", "", r"config\[0\]\.nonce_length: is required"),
        ("nonce_length = 4", "nonce_length = 3", r"config\[0\]: nonce must be at least 4 bytes long, got 3"),
        ("id = 0", "id = 7", r"config\[0\]: config ID must be 0 to 6, got 7"),
        ("id = 2", "id = 0", "config ID 0 is given twice"),
        ('207f"', '20"', r"config\[0\]\.key: key must be 32 hexadecimal digits"),
        ('"8f95', '"zz95', r"config\[0\]\.key: key must be 32 hexadecimal digits"),
        ("[forwarder]", "[forwarder]\nverbose = 1", r"forwarder\.verbose: unknown key"),
        ("[forwarder]", "[gateway]\n[forwarder]", "gateway: unknown key"),
        ('"0.0.0.0:443"', '"example.org:443"', r"forwarder\.listen: address must hold an IP address"),
        ('"10.0.0.11:4433"', '"10.0.0.11:0"', r"backend\[0\]\.address: port must be 1 to 65535"),
        ('"draining"', '"asleep"', r"backend\[1\]\.state: must be 'active', 'draining' or 'down'"),
        ('"ed793a",', '"ed793",', r"backend\[0\]\.server_ids\.0\[0\]: must be hexadecimal digits"),
        ('"ed793a",', '"ed79",', "backend 'a': server ID is 2 bytes, config 0 expects 3"),
        ('name = "b"', 'name = "a"', "same name: a"),
        ("[forwarder]", "[forwarder", "not valid TOML"),
    ],
)  # fmt: skip
def test_faults_name_the_key(load, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        load(GOOD.replace(old, new, 1))


def test_missing_file_and_missing_backends(load, tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: no such file or directory"):
        load_settings(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="backend: is required"):
        load(GOOD[: GOOD.index("[[backend]]")])


def test_secrets_show_nowhere(load):
    settings = load()
    shown = repr(settings) + str(settings) + repr(settings.build_table())
    assert "8f95" not in shown
    assert repr(bytes.fromhex("8f95f09245765f80"))[2:-1] not in shown
    with pytest.raises(ConfigError) as caught:
        load(GOOD.replace("8f95", "zz95"))
    assert "f09245765f80" not in str(caught.value)


def test_the_key_may_come_from_a_file_beside_the_settings(load, tmp_path):
    (tmp_path / "lb.key").write_text("8f95f09245765f80256934e50c66207f\n")
    text = GOOD.replace('key = "8f95f09245765f80256934e50c66207f"', 'key_file = "lb.key"')
    assert load(text).config[0].build() == load().config[0].build()
    (tmp_path / "lb.key").write_text("short")
    with pytest.raises(ConfigError, match=r"lb\.key: key must be 32"):
        load(text)
    (tmp_path / "lb.key").unlink()
    with pytest.raises(ConfigError, match=r"lb\.key: no such file"):
        load(text)


def test_key_and_key_file_exclude_each_other(load):
    with pytest.raises(ConfigError, match=r"config\[0\]: give key or key_file, not both"):
        load(GOOD.replace("id = 0", 'id = 0\nkey_file = "lb.key"'))


def test_the_config_entry_stands_alone():
    entry = ConfigEntry.model_validate({"id": 1, "server_id_length": 4, "nonce_length": 12, "key": "00" * 16})
    assert entry.build().key == bytes(16)
