"""No secret is printed: by no command, in no log, metric, error or description."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import traceback
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.waiting import until
from tests.integration.support.worker_process import PROGRAM, run, started
from tests.unit.voice_gateway.access.access_keys import pair
from voice_client import AccessRefused, AudioOptions, Security, VoiceClient
from voice_client.cli.dial import CallPlan
from voice_gateway.access.keys import signing_key
from voice_gateway.access.tokens import mint
from voice_gateway.agents.order.command import app as menu_command
from voice_gateway.agents.order.menu import MenuError
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.cli import main as cli
from voice_gateway.errors import GatewayError
from voice_gateway.settings.gateway_settings import load_settings
from voice_gateway.transport.base import SessionRequest
from voice_gateway.worker.worker import Worker

TEXTS = {
    name: f"sentinel-{name}-of-at-least-thirty-two-bytes"
    for name in ("token", "secret", "key", "auth", "shared", "password", "offered")
}
HEXES = {"quic-lb": "a1" * 16, "retry": "b2" * 16, "reset": "c3" * 32, "ticket": "d4" * 32, "store": "e5" * 32}
SETTINGS = f"""
[worker]
name = "worker-1"
server_id = "00000001"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key = "{HEXES["quic-lb"]}"
[quic]
retry_key = "{HEXES["retry"]}"
reset_key_file = "reset.key"
ticket_key = "{HEXES["ticket"]}"
[agent]
name = "echo"
[access]
token_file = "token"
key_files = ["one.key", "two.pub"]
[session]
store = "redis://user:{TEXTS["password"]}@127.0.0.1:1/0"
store_key = "{HEXES["store"]}"
drain_timeout_s = 0.5
[telephony]
listen = "127.0.0.1:0"
public_url = "https://gateway.example.com"
auth_token = "{TEXTS["auth"]}"
shared_key = "{TEXTS["shared"]}"
[websocket]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"""
VARIABLES = {
    "VOICE_GATEWAY_ACCESS_SECRET": TEXTS["secret"],
    # secrets stand in the settings file, too, since all ways to give them are tried
    "VOICE_GATEWAY_INSECURE_DEVELOPMENT": "1",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    ensure_certificate(tmp_path, now=time.time())
    (tmp_path / "token").write_text(TEXTS["token"])
    (tmp_path / "one.key").write_text(TEXTS["key"])
    (tmp_path / "two.pub").write_text(pair()[1])
    (tmp_path / "two.key").write_text(pair()[0])
    (tmp_path / "reset.key").write_text(HEXES["reset"])
    (tmp_path / "worker.toml").write_text(SETTINGS)
    return tmp_path / "worker.toml"


def secrets(config: Path) -> Iterator[str]:
    yield from TEXTS.values()
    yield from HEXES.values()
    for pem in ("leaf.key", "two.key"):
        yield from (
            line for line in (config.parent / pem).read_text().splitlines() if len(line) > 30 and "--" not in line
        )


def leaked(config: Path, text: str) -> list[str]:
    data = {bytes.fromhex(each).decode("latin-1") for each in HEXES.values()}
    return [each for each in (*secrets(config), *data) if each in text or repr(each)[1:-1] in text]


def test_the_search_finds_what_it_is_for(config: Path) -> None:
    assert len(list(secrets(config))) > len(TEXTS) + len(HEXES) + 2
    assert leaked(config, f"x{TEXTS['auth']}x {HEXES['retry']} {bytes.fromhex(HEXES['reset'])!r}") != []
    assert len(leaked(config, (config.parent / "leaf.key").read_text())) >= 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--config"),
        ("check", "--json", "--config"),
        ("token", "--subject", "alice", "--json", "--config"),
        ("token", "--subject", "alice", "--expires-in", "0s", "--config"),
        ("serve", "--log-level", "loud", "--config"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_show_none(config: Path, arguments: tuple[str, ...]) -> None:
    arguments = (*arguments, str(config))
    result = CliRunner().invoke(cli.app, arguments, env=VARIABLES)
    shown = f"{result.output} {result.exception}"
    assert result.exit_code in (0, 1)
    assert len(shown) > 20
    assert leaked(config, shown) == []


def test_a_menu_that_is_another_file_shows_none(config: Path) -> None:
    result = CliRunner().invoke(menu_command, ["--file", str(config)])
    assert isinstance(result.exception, MenuError)
    assert leaked(config, f"{result.output} {result.exception}") == []


async def test_a_worker_that_cannot_start_shows_none(config: Path) -> None:
    arguments = ("serve", "--listen", "192.0.2.1:1", "--log-level", "debug", "--config", str(config))
    status, out, errors = await run(*arguments, **VARIABLES)
    assert status == 1
    assert leaked(config, out + errors) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("[session]", "[sesion]"),
        ("auth_token =", "auth_token_file ="),
        ("auth_token =", "auth_tokn ="),
        (f'"{TEXTS["auth"]}"', f'["{TEXTS["auth"]}"]'),
        (f'"{TEXTS["auth"]}"', f'{{ x = "{TEXTS["auth"]}" }}'),
        ("retry_key =", "retry_key_file ="),
        ("ticket_key =", "ticket_key_file ="),
        (HEXES["ticket"], HEXES["ticket"][:10]),
        (HEXES["retry"], HEXES["retry"] + "0"),
        (HEXES["quic-lb"], HEXES["quic-lb"] + "zz"),
        ('reset_key_file = "reset.key"', 'reset_key_file = "reset.key"\nreset_key = "00"'),
        ("redis://", "mongo://"),
        ("127.0.0.1:1/0", "127.0.0.1:many/0"),
        ("127.0.0.1:1/0", "127.0.0.1:1/0?unknown=1"),
        ('"one.key"', '"two.key"'),
        ('"one.key"', '"leaf.key"'),
        ('"leaf.key"', '"token"'),
        ("token_file =", "token ="),
        ("[admin]", f'"{TEXTS["token"]}'),
    ],
)
def test_faults_in_the_settings_show_none(config: Path, was: str, becomes: str) -> None:
    assert was in SETTINGS
    config.write_text(SETTINGS.replace(was, becomes, 1))
    try:
        settings = load_settings(config, VARIABLES)
        shown = f"{settings!r} {settings}"
        Worker(settings)
    except GatewayError as error:
        shown = "".join(traceback.format_exception(error))
        # what an error arose from is not printed, but may end in a report all the same
        while (context := error.__context__) is not None:
            shown += repr(context) if isinstance(context, GatewayError) else ""
            error = context  # type: ignore[assignment]
    assert leaked(config, shown) == []


def test_descriptions_show_none(config: Path) -> None:
    settings = load_settings(config, VARIABLES)
    worker = Worker(settings)
    plan = CallPlan("https://127.0.0.1:1/v1/voice", token=TEXTS["offered"])
    described = [settings, settings.access.read_keys(), worker.endpoint._settings, vars(worker), plan]
    described += [
        vars(worker.access_control),
        vars(worker.access_control.admission),
        vars(worker.listeners),
        worker.certificate.identity,
    ]
    described += [
        vars(VoiceClient(plan.url, security=Security(token=plan.token))),
        SessionRequest("/", "192.0.2.1:1", str(plan.token)),
    ]
    assert leaked(config, " ".join(map(repr, described))) == []


async def test_a_worker_in_trouble_logs_none(config: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--log-level", "debug", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | VARIABLES,
    )
    errors = bytearray()

    async def read_errors() -> None:
        assert process.stderr
        while part := await process.stderr.read(1 << 16):
            errors.extend(part)

    reading = asyncio.create_task(read_errors())
    try:
        facts = await started(process)
        url, ca = f"https://{facts['direct']}/v1/voice", config.parent / "ca.pem"
        good = mint(signing_key("two", pair()[0]), subject="alice", now=time.time(), lifetime_s=60)
        expired = mint(signing_key("one", TEXTS["key"]), subject="alice", now=0, lifetime_s=60)
        for token in (TEXTS["offered"], expired):
            with pytest.raises(AccessRefused) as refused:
                async with VoiceClient(url, security=Security(token=token, ca_file=ca)):
                    pass
            assert leaked(config, str(refused.value)) == []
            assert token not in str(refused.value)
        async with VoiceClient(
            url, security=Security(token=good, ca_file=ca), audio=AudioOptions(has_playback=False, codec="pcm16")
        ) as call:
            call.send_pcm(b"\x00\x20\x00\xe0" * 8_000 + bytes(32_000))
            await until(lambda: b"session_save_failed" in errors)
            report = json.dumps(call.report().as_json())
        (config.parent / "one.key").write_text(TEXTS["key"][:20])
        (config.parent / "leaf.key").write_text(TEXTS["token"])
        process.send_signal(signal.SIGHUP)
        async with VoiceClient(url, security=Security(token=TEXTS["token"], ca_file=ca)):
            pages = [await page(facts["admin"], name) for name in ("metrics", "sessions")]
            await until(lambda: b"reload_refused" in errors)
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        out = await asyncio.wait_for(process.stdout.read(), 40)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
    log = errors.decode()
    assert {"session_refused", "session_save_failed", "reload_refused"} <= {
        json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")
    }
    shown = log + out.decode() + report + "".join(pages)
    assert leaked(config, shown) == []
    assert not [token for token in (good, expired, TEXTS["key"][:20]) if token in shown]


async def page(admin: str, name: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://{admin}/{name}") as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)
