"""`voice-gateway`: run a worker, check its settings, make certificates, keys and tokens, look at its sessions."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from quiclb.errors import QuicLbError
from quiclb.logs.command_output import optional_output, print_json, run_command
from quiclb.logs.setup import LogFormat, configure_logging
from quiclb.net.address import Address, format_address
from voice_gateway.certificates.development import DevelopmentCertificate, ensure_certificate
from voice_gateway.cli.access import key as make_key
from voice_gateway.cli.access import token as make_token
from voice_gateway.cli.agent import agent_app
from voice_gateway.cli.calls import calls_app
from voice_gateway.cli.config import config_app
from voice_gateway.cli.new_project import init
from voice_gateway.cli.options import (
    Agent,
    AllowRoot,
    ConfigFile,
    InsecureDevelopment,
    JsonOutput,
    LogFormatOption,
    LogLevel,
    Store,
    checked_level,
)
from voice_gateway.cli.sessions import COMMANDS
from voice_gateway.cli.simulate import simulate_twilio
from voice_gateway.cli.up import up
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.errors import ConfigurationError, GatewayError
from voice_gateway.ops.reload import SettingsSource
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings
from voice_gateway.worker.preflight import Insistence, admit, opening_faults, risks
from voice_gateway.worker.worker import Worker, run
from voicelink.errors import VoiceLinkError

app = typer.Typer(
    name="voice-gateway",
    help="A worker that terminates QUIC and WebTransport and holds voice sessions with an agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(init)
app.command("token")(make_token)
app.command("key")(make_key)
app.command()(simulate_twilio)
for command in COMMANDS:
    app.command()(command)
app.add_typer(agent_app, name="agent")
app.command()(up)
app.add_typer(config_app, name="config")
app.add_typer(calls_app, name="calls")


def main() -> None:
    """Run the command line; what is wrong with the input is one sentence on standard error and exit status 1."""
    run_command("voice-gateway", app, (GatewayError, VoiceLinkError, QuicLbError))


@app.command()
def serve(
    config: ConfigFile,
    name: Annotated[str | None, typer.Option(help="This worker's name.")] = None,
    server_id: Annotated[str | None, typer.Option(help="Its QUIC-LB server ID: hexadecimal, or base64:...")] = None,
    listen: Annotated[str | None, typer.Option(help="Where clients come directly, as 192.0.2.1:4433.")] = None,
    inner: Annotated[str | None, typer.Option(help="Where load balancers pass datagrams on to.")] = None,
    trusted_proxies: Annotated[
        str | None,
        typer.Option(
            "--trusted-proxies", "--forwarders", help="Load balancers whose SPP headers name the client, by commas."
        ),
    ] = None,
    agent: Agent = None,
    store: Store = None,
    admin: Annotated[str | None, typer.Option(help="Where to serve metrics, health and sessions.")] = None,
    telephony: Annotated[str | None, typer.Option(help="Where Twilio reaches this worker.")] = None,
    page: Annotated[str | None, typer.Option(help="Where browsers get the page that calls it.")] = None,
    log_format: LogFormatOption = LogFormat.AUTO,
    log_level: LogLevel = "info",
    insecure_development: InsecureDevelopment = False,
    allow_root: AllowRoot = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print where it listens as JSON, once it does.")] = False,
) -> None:
    """Be one worker: hold voice sessions until SIGTERM, which lets calls end first; a second signal ends it at once.

    Flags win over VOICE_GATEWAY_<SECTION>_<KEY> variables, these over the file. Exit status 0 after a signal, 1 where
    the worker cannot start.
    """
    flags = {
        "worker.name": name,
        "worker.server_id": server_id,
        "worker.listen": listen,
        "worker.inner": inner,
        "worker.trusted_proxies": trusted_proxies,
        "agent.name": agent,
        "session.store": store,
        "admin.listen": admin,
        "telephony.listen": telephony,
        "page.listen": page,
    }
    configure_logging(log_format, checked_level(log_level))
    insist = Insistence(insecure=insecure_development, root=allow_root)

    def load() -> GatewaySettings:
        return admit(load_settings(config, os.environ, flags), config, insist)

    source = SettingsSource(config, load)
    status = run(source.load(), _print_start if is_json else None, source)
    raise typer.Exit(status)


@app.command()
def check(
    config: ConfigFile,
    has_ports: Annotated[
        bool, typer.Option("--ports/--no-ports", help="Leave the ports out for a worker that runs.")
    ] = True,
    insecure_development: InsecureDevelopment = False,
    is_json: JsonOutput = False,
) -> None:
    """Open all that `serve` opens: settings, keys, certificate, agent, store and ports; show what they mean.

    Secrets are not shown. Exit status 1, with a sentence for each fault, where `serve` could not start.
    """
    settings = load_settings(config, os.environ)
    found = [risk.sentence for risk in risks(settings, config, user_id=None)]
    faults = asyncio.run(opening_faults(settings, has_ports=has_ports))
    if not insecure_development:
        faults = found + faults
    if faults:
        raise ConfigurationError("\n".join(faults))
    facts, warnings = _facts(settings), found
    if is_json:
        print_json(facts | {"warnings": warnings})
        return
    del facts["forwarders"]
    console = Console(markup=False, highlight=False)
    console.print(f"{config}: good", soft_wrap=True)
    for warning in warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    width = max(map(len, facts))
    for key, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        text = "-" if shown in (None, "") else str(shown)
        console.print(f" {key.replace('_', ' '):<{width}}  {text}", soft_wrap=True)  # a fingerprint is copied whole


@app.command()
def certificate(
    out: Annotated[Path, typer.Option(help="The folder for ca.pem, leaf.pem, leaf.key, fingerprint.txt.")] = Path(
        "certs/dev"
    ),
    host: Annotated[list[str] | None, typer.Option(help="A further name or IP address; repeatable.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make new ones even if those there are good.")] = False,
    is_json: JsonOutput = False,
) -> None:
    """Make a development CA and a certificate for localhost that browsers accept by its fingerprint.

    It is valid for 13 days, and left alone until less than two of them remain.
    """
    made = ensure_certificate(out, now=time.time(), hosts=host or (), is_forced=force)
    if is_json:
        print_json(_certificate_facts(made))
        return
    console = Console(markup=False, highlight=False)
    console.print(f"{made.leaf}: {'new' if made.is_new else 'still good'}, until {made.expires:%Y-%m-%d %H:%M} UTC")
    console.print(f"for {', '.join(made.hosts)}")
    console.print(f"SHA-256 {made.sha256.hex()}", soft_wrap=True)


def _facts(settings: GatewaySettings) -> dict[str, Any]:
    identity = TlsIdentity.load(settings.tls.certificate, settings.tls.key, now=time.time())
    worker = settings.worker
    layout = settings.issuing_config() if settings.has_routable_cids else None
    return {
        "name": worker.name,
        "server_id": None if settings.server_id is None else settings.server_id.hex(),
        "connection_ids": layout.algorithm.value if layout else "unroutable",
        "config_id": layout.config_id if layout else None,
        "cid_length": layout.cid_length if layout else None,
        "direct": _address(worker.listen),
        "inner": _address(worker.inner),
        "trusted_proxies": list(worker.trusted_proxies),
        "forwarders": list(worker.trusted_proxies),  # deprecated: trusted_proxies
        "admin": _address(settings.admin.listen) if settings.admin else None,
        "telephony": _address(settings.telephony.listen) if settings.telephony else None,
        "websocket": _address(settings.websocket.listen) if settings.websocket else None,
        "page": _address(settings.page.listen) if settings.page else None,
        "certificate_expires": f"{identity.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "certificate_sha256": identity.fingerprint_sha256.hex(),
        "agent": settings.agent.name,
        "access": _access(settings),
        "access_keys": [f"{each.id or '(secret)'} {each.algorithm}" for each in settings.access.read_keys()],
        "access_audience": settings.access.audience if settings.access.read_keys() else None,
        "origins": list(settings.access.origins) if settings.access.origins is not None else ["any"],
        "store": settings.session.store.partition("://")[0],
        "max_sessions": settings.session.max_sessions,
    }


def _access(settings: GatewaySettings) -> str:
    ways = {"token": settings.access.read_token(), "signed token": settings.access.read_keys()}
    shown = [name for name, given in ways.items() if given]
    return f"by {' or '.join(shown)}" if shown else "open to all"


def _certificate_facts(made: DevelopmentCertificate) -> dict[str, Any]:
    return {
        "is_new": made.is_new,
        "certificate": str(made.leaf),
        "key": str(made.key),
        "authority": str(made.authority),
        "hosts": list(made.hosts),
        "expires": f"{made.expires:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": made.sha256.hex(),
        "sha256_base64": base64.b64encode(made.sha256).decode(),
    }


def _print_start(worker: Worker) -> None:
    addresses = worker.addresses
    facts = {
        "worker": worker.settings.worker.name,
        "direct": _address(addresses.direct),
        "inner": _address(addresses.inner),
        "admin": _address(addresses.admin),
        "telephony": _address(addresses.telephony),
        "websocket": _address(addresses.websocket),
        "page": _address(addresses.page),
    }
    with optional_output():  # callers are served whether or not this can be printed
        print_json(facts)


def _address(address: Address | None) -> str | None:
    return None if address is None else format_address(address)
