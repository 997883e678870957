from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import Section
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings, secret_files

KEY = "8f95f09245765f80256934e50c66207f"
FULL = f"""
[worker]
name = "worker-1"
server_id = "00000001"
listen = "0.0.0.0:4433"
inner = "10.0.0.11:4434"
trusted_proxies = ["10.0.0.1", "10.0.0.2:4433"]

[tls]
certificate = "certs/leaf.pem"
key = "/etc/voice/leaf.key"

[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key = "{KEY}"

[quic]
routable_cids = true
retry_key = "{KEY}"
reset_key = "{KEY}{KEY}"
retry_after_half_open = 10
idle_timeout_s = 15.5

[agent]
name = "echo"

[access]
token = "sesame-the-secret"
origins = ["https://shop.example"]

[session]
store = "memory://"
store_key = "{KEY} {KEY}"
max_sessions = 5

[admin]
listen = "127.0.0.1:9090"

[telephony]
listen = "127.0.0.1:8443"
public_url = "https://gateway.example.com"
auth_token = "sesame-of-twilio"
shared_key = "sesame-of-webhooks"
tls = false

[websocket]
listen = "127.0.0.1:4433"

[page]
listen = "127.0.0.1:8080"
tls = false
shared_port = true
voice_url = "https://127.0.0.1:4433/v1/voice"
development = true
demo_url = "http://127.0.0.1:8081"
"""
LEAST = """
[worker]
listen = "127.0.0.1:4433"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
"""


@pytest.fixture
def load(tmp_path: Path):
    def load(text: str, environ: dict[str, str] | None = None, flags: dict[str, object] | None = None):
        path = tmp_path / "worker.toml"
        path.write_text(text)
        return load_settings(path, environ, flags)

    return load


def fault(load, text: str, *arguments: object) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        load(text, *arguments)
    return str(refusal.value)


def test_a_full_file(load, tmp_path):
    settings = load(FULL)
    assert settings.worker.server_id == bytes.fromhex("00000001")
    assert settings.worker.listen == ("0.0.0.0", 4433)
    assert settings.worker.trusted_proxies == ("10.0.0.1", "10.0.0.2:4433")
    assert settings.tls.certificate == tmp_path / "certs/leaf.pem"
    assert settings.tls.key == Path("/etc/voice/leaf.key")
    assert settings.issuing_config().cid_length == 17
    assert settings.quic.read_secrets().retry == (bytes.fromhex(KEY),)
    assert settings.quic.read_reset_key() == bytes.fromhex(KEY * 2)
    assert settings.quic.idle_timeout_s == 15.5
    assert settings.access.read_token() == "sesame-the-secret"
    assert settings.access.origins == ("https://shop.example",)
    assert settings.session.max_sessions == 5
    assert settings.session.read_store_keys() == (bytes.fromhex(KEY),) * 2
    assert settings.admin.listen == ("127.0.0.1", 9090)
    assert settings.telephony.listen == ("127.0.0.1", 8443)
    assert settings.telephony.read_auth_token() == "sesame-of-twilio"
    assert settings.telephony.read_shared_key() == "sesame-of-webhooks"
    assert not settings.telephony.tls
    assert settings.websocket.listen == ("127.0.0.1", 4433)
    assert settings.websocket.tls
    assert settings.page.listen == ("127.0.0.1", 8080)
    assert settings.page.shared_port
    assert settings.page.demo_url == "http://127.0.0.1:8081"


def test_the_least_that_serves(load):
    settings = load(LEAST)
    assert not settings.has_routable_cids
    assert settings.may_unroutable_clients_migrate
    assert settings.access.read_token() is None
    assert settings.admin is None
    assert settings.telephony is None
    assert settings.websocket is None
    assert settings.page is None
    assert settings.agent.name == "order"


def test_what_is_for_development_stays_on_this_machine(load):
    page = LEAST + '[page]\nlisten = "0.0.0.0:8080"\n'
    assert not load(page).page.development
    assert "page: development gives the access token away" in fault(load, page + "development = true\n")
    assert "page: demo_url is for development" in fault(load, page + 'demo_url = "http://127.0.0.1:1"\n')


def test_a_page_needs_somewhere_to_call(load):
    text = FULL.replace('voice_url = "https://127.0.0.1:4433/v1/voice"\n', "").replace('listen = "0.0.0.0:4433"\n', "")
    assert "page.voice_url is required where worker.listen is not given" in fault(load, text)
    assert "page.voice_url" in fault(load, FULL.replace("https://127.0.0.1:4433/v1/voice", "http://127.0.0.1/v1/voice"))


def test_clients_behind_a_load_balancer_migrate_only_with_routable_cids(load):
    settings = load(FULL.replace("routable_cids = true", "routable_cids = false"))
    assert not settings.has_routable_cids
    assert not settings.may_unroutable_clients_migrate


class TestPrecedence:
    def test_variables_win_over_the_file(self, load):
        environ = {
            "VOICE_GATEWAY_SESSION_MAX_SESSIONS": "7",
            "VOICE_GATEWAY_WORKER_TRUSTED_PROXIES": "10.0.0.7, 10.0.0.8",
            "VOICE_GATEWAY_QUIC_ROUTABLE_CIDS": "false",
            "VOICE_GATEWAY_ACCESS_TOKEN": "other",
            "VOICE_GATEWAY_SERVICE_HOST": "10.96.0.1",
            "HOME": "/root",
        }
        settings = load(FULL, environ)
        assert settings.session.max_sessions == 7
        assert settings.worker.trusted_proxies == ("10.0.0.7", "10.0.0.8")
        assert not settings.has_routable_cids
        assert settings.access.read_token() == "other"

    def test_forwarders_is_the_former_name_of_trusted_proxies(self, load):
        former = FULL.replace("trusted_proxies", "forwarders")
        assert load(former).worker == load(FULL).worker
        environ = {"VOICE_GATEWAY_WORKER_FORWARDERS": "10.0.0.7"}
        assert load(FULL, environ).worker.trusted_proxies == ("10.0.0.7",)
        with pytest.raises(ConfigurationError, match="forwarders is the former name of trusted_proxies"):
            load(FULL.replace("trusted_proxies", 'forwarders = ["10.0.0.3"]\ntrusted_proxies'))

    def test_flags_win_over_variables(self, load):
        environ = {"VOICE_GATEWAY_WORKER_NAME": "from-environment", "VOICE_GATEWAY_AGENT_NAME": "order"}
        settings = load(FULL, environ, {"worker.name": "from-flag", "agent.name": None})
        assert settings.worker.name == "from-flag"
        assert settings.agent.name == "order"

    def test_the_admin_interface_may_come_from_a_flag_alone(self, load):
        assert load(LEAST, {}, {"admin.listen": "127.0.0.1:1"}).admin.listen == ("127.0.0.1", 1)

    def test_the_agents_settings_may_come_from_variables(self, load):
        environ = {"VOICE_GATEWAY_AGENT_SETTINGS_GREETING": "Hello", "VOICE_GATEWAY_AGENT_MENU": "mine.toml"}
        settings = load(FULL + '[agent.settings]\nshop = "here"\n', environ).agent.settings
        assert settings.values == {"shop": "here"}
        assert settings.variables == {"greeting": "Hello", "menu": "mine.toml"}
        assert settings.directory.joinpath("worker.toml").exists()

    def test_paths_of_variables_are_not_looked_up_beside_the_file(self, load):
        settings = load(FULL, {"VOICE_GATEWAY_TLS_KEY": "mine.key"})
        assert settings.tls.key == Path("mine.key")


class TestFaults:
    @pytest.mark.parametrize(
        ("was", "becomes", "message"),
        [
            ("max_sessions", "max_sesions", "session.max_sesions: unknown key"),
            ("[session]", "[sesion]", "sesion: unknown key"),
            ("nonce_length = 12", "nonce_length = 12\nnonce = 1", "config[0].nonce: unknown key"),
            ("max_sessions = 5", "max_sessions = 0", "session.max_sessions: "),
            ('listen = "0.0.0.0:4433"', 'listen = "localhost"', "worker.listen: "),
            (f'key = "{KEY}"', 'key = "abc"', "config[0].key: "),
            ('server_id = "00000001"', 'server_id = "0001"', "worker.server_id is 2 bytes, config 0 expects 4"),
            ('server_id = "00000001"', "", "worker.server_id is required"),
            ('server_id = "00000001"', 'server_id = "base64:AAA"', "must be base64 after 'base64:'"),
            ('server_id = "00000001"', 'server_id = "base64:AAE="', "worker.server_id is 2 bytes, config 0 expects 4"),
            ('server_id = "00000001"', 'server_id = "00000001"\nordinal = 1', "give server_id or ordinal, not both"),
            ('server_id = "00000001"', "ordinal = -1", "worker.ordinal: must be at least 0"),
            ('server_id = "00000001"', "ordinal = 4294967296", "worker.ordinal: config 0 has server IDs for ordinals"),
            ('"10.0.0.2:4433"', '"10.0.0.2/8"', "trusted_proxies: a trusted proxy is an IP address, IP:port or a netw"),
            ('trusted_proxies = ["10.0.0.1", "10.0.0.2:4433"]', "", "inner requires trusted_proxies"),
            ('"10.0.0.2:4433"', '"10.0.0.2:0"', "port must be 1 to 65535, got '10.0.0.2:0'"),
            (
                '"10.0.0.2:4433"',
                '"lb.test:4433"',
                "worker: trusted_proxies: a trusted proxy is an IP address or IP:port",
            ),
            (
                'inner = "10.0.0.11:4434"',
                'inner = "10.0.0.11:4433"',
                "and inner 10.0.0.11:4433 overlap",
            ),
            (
                'inner = "10.0.0.11:4434"',
                'inner = "224.0.0.1:4434"',
                "worker: inner must be an address",
            ),
            (f'retry_key = "{KEY}"', 'retry_key = "aabb"', "quic.retry_key: must be 16 to 64 bytes"),
            ("id = 0", "id = 9", "config[0]"),
            ("[worker]", "[worker", "not valid TOML"),
            (f'store_key = "{KEY} {KEY}"', 'store_key = "sesame"', "session.store_key: must be 16 to 64 bytes"),
            (f'store_key = "{KEY} {KEY}"', 'store_key = ""', "session.store_key: must be 16 to 64 bytes"),
            ('token = "sesame-the-secret"', 'token = ""', "access.token: is empty"),
            ("routable_cids = true", "config_id = 3", "there are: 0"),
            ("gateway.example.com", "gateway.example.com/voice", "telephony.public_url: "),
            ('auth_token = "sesame-of-twilio"', 'auth_token = ""', "telephony.auth_token: is empty"),
            (
                'public_url = "https://gateway.example.com"',
                "",
                "telephony.auth_token requires telephony.public_url, the address that Twilio calls",
            ),
            (
                'public_url = "https://gateway.example.com"\nauth_token = "sesame-of-twilio"',
                "",
                "telephony.shared_key requires telephony.public_url",
            ),
        ],
    )
    def test_name_the_file_and_the_key(self, load, was, becomes, message):
        assert was in FULL
        text = fault(load, FULL.replace(was, becomes, 1))
        assert message in text
        assert "worker.toml: " in text

    def test_of_variables_name_the_variable(self, load):
        message = fault(load, FULL, {"VOICE_GATEWAY_SESSION_STOER": "memory://"})
        assert message == "VOICE_GATEWAY_SESSION_STOER: [session] has no key stoer"

    def test_of_a_missing_file_name_it(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"nope\.toml: no such file"):
            load_settings(tmp_path / "nope.toml")

    def test_of_a_worker_without_a_socket(self, load):
        assert "give listen, inner or both" in fault(load, LEAST.replace("listen", "#"))

    def test_never_repeat_a_secret(self, load):
        for text in (FULL + "\nextra = 1", FULL.replace("max_sessions = 5", "max_sessions = -1")):
            message = fault(load, text)
            assert KEY not in message
            assert "sesame" not in message

    def test_of_routable_cids_without_a_config(self, load):
        assert "needs a [[config]]" in fault(load, LEAST + "[quic]\nroutable_cids = true")


class TestSecrets:
    def test_are_not_shown(self, load):
        shown = repr(load(FULL)) + str(load(FULL)) + repr(load(FULL).model_dump())
        assert KEY not in shown
        assert "sesame" not in shown

    def test_in_addresses_and_agent_settings_are_not_shown(self, load):
        text = LEAST + '[agent]\nname = "echo"\nsettings = { api_key = "sesame" }\n'
        text += '[session]\nstore = "redis://:sesame@localhost:6379/0"\n[recording]\nfolder = "/r"\n'
        text += 'storage = "s3://sesame:sesame@bucket/calls"\n'
        text += f'[webhooks]\nurls = "https://hooks.example.com/sesame"\nsecret = "sesame{KEY}"\n'
        settings = load(text, {"VOICE_GATEWAY_AGENT_SETTINGS_TOKEN": "sesame"})
        assert settings.agent.settings.variables == {"token": "sesame"}
        assert "sesame" not in repr(settings) + str(settings)

    def test_may_come_from_files(self, load, tmp_path):
        (tmp_path / "token").write_text("from-file\n")
        text = FULL.replace('token = "sesame-the-secret"', 'token_file = "token"')
        assert load(text).access.read_token() == "from-file"

    def test_come_from_one_place(self, load, tmp_path):
        (tmp_path / "token").write_text("from-file\n")
        assert "not both" in fault(load, FULL.replace("[access]", '[access]\ntoken_file = "token"'))

    def test_in_a_missing_file_are_one_sentence(self, load):
        message = fault(load, FULL.replace('token = "sesame-the-secret"', 'token_file = "nope"'))
        assert "access.token_file" in message
        assert "no such file" in message


class TestSeveralConfigs:
    SECOND = f'\n[[config]]\nid = 1\nserver_id_length = 8\nnonce_length = 8\nkey = "{KEY}"\n'

    def test_need_a_choice(self, load):
        assert "there are: 0, 1" in fault(load, FULL + self.SECOND)

    def test_are_chosen_from_by_their_id(self, load):
        text = (FULL + self.SECOND).replace("[quic]", "[quic]\nconfig_id = 1")
        settings = load(text.replace('server_id = "00000001"', 'server_id = "0000000000000001"'))
        assert settings.issuing_config().config_id == 1


class TestServerId:
    def test_may_be_base64_as_aws_gives_it(self, load):
        text = FULL.replace("server_id_length = 4", "server_id_length = 8").replace(
            "nonce_length = 12", "nonce_length = 8"
        )
        settings = load(text, {"VOICE_GATEWAY_WORKER_SERVER_ID": "base64:LWV1oW+gjqQ="})
        assert settings.server_id == bytes.fromhex("2d6575a16fa08ea4")

    def test_follows_from_the_ordinal_in_each_config(self, load):
        text = FULL.replace('server_id = "00000001"', "") + TestSeveralConfigs.SECOND
        environ = {"VOICE_GATEWAY_WORKER_ORDINAL": "11"}
        ids = [load(text.replace("[quic]", f"[quic]\nconfig_id = {n}"), environ).server_id for n in (0, 1)]
        assert [each.hex() for each in ids] == ["0000000b", "000000000000000b"]

    def test_is_none_where_connection_ids_name_no_worker(self, load):
        assert load(FULL.replace("routable_cids = true", "routable_cids = false")).server_id is None


PUBLIC_FILES = {("up", "state"), ("tls", "certificate"), ("quic", "qlog_folder"), ("recording", "folder")}


def test_every_file_of_the_settings_is_known_to_be_secret_or_public(tmp_path):
    """A new key with a path must be added to `secret_files`, or to `PUBLIC_FILES` here."""
    text = re.sub(
        r'^(retry_key|reset_key|store_key|token|auth_token|shared_key|key) = "[^"]*"\n', "", FULL, flags=re.MULTILINE
    )
    text = text.replace("[tls]\n", '[tls]\nkey = "tls.key"\n')
    (tmp_path / "access.secret_file").write_text("s" * 32)
    expected = {"tls.key", "old.key", "config.key_file"}
    document = tomllib.loads(text)
    for name, field in GatewaySettings.model_fields.items():
        section = next((each for each in (field.annotation, *get_args(field.annotation)) if is_section(each)), None)
        for key, path in section.model_fields.items() if section is not None else ():
            if path.annotation == Path | None and (name, key) not in PUBLIC_FILES:
                document.setdefault(name, {})[key] = f"{name}.{key}"
                (tmp_path / f"{name}.{key}").write_text(KEY)
                expected.add(f"{name}.{key}")
            else:
                assert path.annotation is not Path or (name, key) in {*PUBLIC_FILES, ("tls", "key")}
    document["access"]["key_files"] = ["old.key", "new.pub"]
    (tmp_path / "old.key").write_text("s" * 32)
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "new.pub").write_bytes(pem)
    document["config"][0]["key_file"] = "config.key_file"
    (tmp_path / "config.key_file").write_text(KEY)
    path = tmp_path / "worker.toml"
    path.write_text(as_toml(document))
    found = secret_files(load_settings(path), path)
    assert {file.name for file in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("text", "holds_secrets"),
    [
        (FULL, True),
        (LEAST, False),
        (LEAST + '[quic]\nreset_key = "' + KEY + '"\n', True),
        (LEAST + '[session]\nstore = "redis://user:password@127.0.0.1/0"\n', True),
        (LEAST + '[session]\nstore = "redis://127.0.0.1/0"\n', False),
    ],
    ids=["full", "least", "key", "password", "no-password"],
)
def test_a_settings_file_with_secrets_in_it_is_one_of_the_secret_files(tmp_path, text, holds_secrets):
    path = tmp_path / "worker.toml"
    path.write_text(text)
    assert (path in secret_files(load_settings(path), path)) is holds_secrets


def is_section(annotation):
    return isinstance(annotation, type) and issubclass(annotation, Section)


def as_toml(document):
    lines = []
    for name, section in document.items():
        for each in section if isinstance(section, list) else [section]:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in each.items()]
    return "\n".join(lines)


def test_a_byte_order_mark_is_no_part_of_settings_and_key_files(tmp_path):
    bom = b"\xef\xbb\xbf"
    (tmp_path / "worker.toml").write_bytes(bom + FULL.replace(f'retry_key = "{KEY}"', 'retry_key_file = "a"').encode())
    (tmp_path / "a").write_bytes(bom + KEY.encode() + b"\r\n")
    settings = load_settings(tmp_path / "worker.toml")
    assert settings.quic.read_secrets().retry == (bytes.fromhex(KEY),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FULL.encode("utf-16"), "worker.toml: is UTF-16; save it as UTF-8"),
        (b"a = '\xfc'", "worker.toml: is not UTF-8 text: byte 6 is 0xfc"),
        (b"a = " + b"[" * 100_000, "worker.toml: not valid TOML: nested too deeply"),
    ],
    ids=["utf-16", "latin-1", "deep"],
)
def test_settings_that_are_no_text_are_one_sentence(tmp_path, content, message):
    (tmp_path / "worker.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path / "worker.toml")
    assert str(caught.value).endswith(message)


def test_a_key_file_in_utf_16_is_named_by_its_key(tmp_path):
    (tmp_path / "worker.toml").write_text(FULL.replace(f'retry_key = "{KEY}"', 'retry_key_file = "a"'))
    (tmp_path / "a").write_text(KEY, "utf-16")
    with pytest.raises(ConfigurationError, match=r"quic\.retry_key_file: is UTF-16; save it as UTF-8"):
        load_settings(tmp_path / "worker.toml")


def test_settings_can_be_made_without_a_file():
    document = {
        "worker": {"listen": "127.0.0.1:0"},
        "tls": {"certificate": "leaf.pem", "key": "leaf.key"},
    }
    assert GatewaySettings.model_validate(document).worker.name == "worker"


def test_admin_hosts_are_names_from_file_or_environment(load):
    assert load(FULL).admin.hosts == ()
    environ = {"VOICE_GATEWAY_ADMIN_HOSTS": "worker-1.example.com, *.voice.svc"}
    assert load(FULL, environ).admin.hosts == ("worker-1.example.com", "*.voice.svc")
    for wrong in ("https://a.example", "a.example:9090", "a b", "*"):
        with pytest.raises(ConfigurationError, match=r"admin\.hosts\[0\]: host name must be labels"):
            load(FULL, {"VOICE_GATEWAY_ADMIN_HOSTS": wrong})


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("quic", "idle_timeout_s = inf", "quic.idle_timeout_s: must be a finite number"),
        ("quic", "handshake_timeout_s = nan", "quic.handshake_timeout_s: must be a finite number"),
        ("quic", "idle_timeout_s = 1e17", "quic.idle_timeout_s: must be at most 86400"),
        ("session", "resume_window_s = inf", "session.resume_window_s: must be a finite number"),
        ("limits", "address_attempts_per_s = 1e999", "limits.address_attempts_per_s: must be a finite number"),
        ("quic", "max_half_open = true", "quic: max_half_open must be a number, got true"),
        ("limits", "session_bytes_per_s = false", "limits: session_bytes_per_s must be a number, got false"),
        ("limits", "address_sessions = true", "limits: address_sessions must be a number, got true"),
    ],
)
def test_numbers_are_finite_and_no_truth_values(load, section, line, message):
    """An infinite idle timeout has no transport parameter (RFC 9000 section 18.2): no caller would get in."""
    assert message in fault(load, f"{LEAST}\n[{section}]\n{line}\n")


def test_an_infinite_number_in_a_variable_is_refused(load):
    assert "quic.idle_timeout_s: must be a finite number" in fault(
        load, LEAST, {"VOICE_GATEWAY_QUIC_IDLE_TIMEOUT_S": "inf"}
    )


@pytest.mark.parametrize(
    "host", ["a..b", "gateway.example.com:0", "gateway.example.com:65536", "-a.test", "user@a.test"]
)
def test_urls_in_settings_name_a_host_and_a_port_that_can_be_called(load, host):
    for section in (
        f'[telephony]\nlisten = "127.0.0.1:0"\npublic_url = "https://{host}"',
        f'[page]\nlisten = "127.0.0.1:0"\nvoice_url = "https://{host}/v1/voice"',
    ):
        assert re.search(r"(public|voice)_url: (host name|port|address) must", fault(load, f"{LEAST}\n{section}\n"))


@pytest.mark.parametrize("host", ["gateway.example.com", "bücher.test", "[2001:db8::1]:8443", "192.0.2.1:65535"])
def test_urls_in_settings_are_kept_as_they_are_typed(load, host):
    text = f"""{LEAST}
[telephony]
listen = "127.0.0.1:0"
public_url = "https://{host}"
[page]
listen = "127.0.0.1:0"
voice_url = "https://{host}/v1/voice"
"""
    assert load(text).telephony.public_url == f"https://{host}"
    assert load(text).page.voice_url == f"https://{host}/v1/voice"


def test_a_url_with_too_much_or_too_little_is_answered_with_an_example(load):
    text = f'{LEAST}\n[telephony]\nlisten = "127.0.0.1:0"\npublic_url = "https://gateway.example.com/"\n'
    assert "without a path, such as https://gateway.example.com, got 'https://gateway.example.com/'" in fault(
        load, text
    )
    text = f'{LEAST}\n[page]\nlisten = "127.0.0.1:0"\nvoice_url = "http://gateway.example.com/v1/voice"\n'
    assert "such as https://gateway.example.com/v1/voice, got 'http:" in fault(load, text)


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example/",
        "https://Shop.example",
        "https://shop.example:443",
        "http://shop.example:80",
        "shop.example",
        "https://",
        "*",
        "https://shop.example/page",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(load, origin):
    """RFC 6454 section 6.2: scheme and host in lower case, and the port unless it is the scheme's own."""
    assert "access.origins[0]: an origin is written as browsers send it" in fault(
        load, f'{LEAST}\n[access]\norigins = ["{origin}"]\n'
    )


def test_origins_that_browsers_send_are_taken(load):
    origins = (
        "https://shop.example",
        "http://localhost:8080",
        "capacitor://localhost",
        "null",
        "https://[2001:db8::1]",
    )
    assert load(f"{LEAST}\n[access]\norigins = {list(origins)}\n").access.origins == origins
