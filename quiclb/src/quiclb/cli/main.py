"""`quiclb`: run the load balancer, check its settings, and take connection IDs apart."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quiclb.codec.config import QuicLbConfig
from quiclb.codec.crypto import cipher_for
from quiclb.codec.decoder import CidDecoder, Unroutable
from quiclb.codec.encoder import CidEncoder
from quiclb.errors import ConfigError, QuicLbError
from quiclb.logs.command_output import print_json, run_command
from quiclb.logs.setup import LogFormat, configure_logging, configure_logging_on_use
from quiclb.net.address import Address, format_address, parse_address
from quiclb.routing.router import Decision, Drop, route
from quiclb.routing.table import UnknownServerId
from quiclb.settings.documents import read_text
from quiclb.settings.files import SettingsFile, exposed_files, secret_files
from quiclb.settings.loader import Settings, load_settings
from quiclb.settings.sections import parse_key

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="quiclb",
    help="A stateless QUIC load balancer: connection IDs say which server they belong to (QUIC-LB).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", envvar="QUICLB_CONFIG", help="The TOML file with configs and backends.")
]
OptionalConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="QUICLB_CONFIG", help="Take the layout from this TOML file.")
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
ConfigId = Annotated[int, typer.Option("--config-id", help="The codepoint, 0 to 6.")]
NonceLength = Annotated[int | None, typer.Option(help="Bytes of the nonce, without --config.")]
KeyFile = Annotated[Path | None, typer.Option(help="File with the key, without --config. None: plaintext.")]
Key = Annotated[str | None, typer.Option(help="The key in hexadecimal; others on this machine can see it.")]


def main() -> None:
    """Run the command line; what is wrong with the input is one sentence on standard error and exit status 1."""
    run_command("quiclb", app, (QuicLbError,))


@app.command()
def serve(
    config: ConfigFile,
    listen: Annotated[str | None, typer.Option(help="The VIP side, as 192.0.2.1:443 or [2001:db8::1]:443.")] = None,
    inner: Annotated[str | None, typer.Option(help="The side towards the backends.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Serve Prometheus text on this address.")] = None,
    unknown_server_id: Annotated[UnknownServerId | None, typer.Option(help="What to do with such CIDs.")] = None,
    check_cid_length: Annotated[bool | None, typer.Option(help="All servers encode the CID length.")] = None,
    allow_loopback_clients: Annotated[bool | None, typer.Option(help="For tests on one machine only.")] = None,
    processes: Annotated[int | None, typer.Option(help="How many processes forward.")] = None,
    log_format: Annotated[LogFormat, typer.Option(envvar="QUICLB_LOG_FORMAT")] = LogFormat.AUTO,
    log_level: Annotated[str, typer.Option(envvar="QUICLB_LOG_LEVEL", help="debug, info, warning, error.")] = "info",
) -> None:
    """Forward datagrams until SIGTERM. Flags win over QUICLB_* variables, these over the file.

    The file is read again when it changes and on SIGHUP; a bad one changes nothing.
    """
    # what a start loads stays: walking it again and again would be an eighth of the time that no client is served
    gc.disable()
    import uvloop

    from quiclb.daemon.load_balancer import run
    from quiclb.daemon.processes.messages import LogChoice

    flags = {
        "listen": listen,
        "inner": inner,
        "metrics": metrics,
        "unknown_server_id": unknown_server_id,
        "check_cid_length": check_cid_length,
        "allow_loopback_clients": allow_loopback_clients,
        "processes": processes,
    }
    if log_level.lower() not in ("debug", "info", "warning", "error"):
        raise ConfigError(f"--log-level must be debug, info, warning or error, got {log_level!r}")
    configure_logging_on_use(log_format, log_level)
    source = SettingsFile(config, os.environ, flags)
    settings = source.load()
    gc.freeze()
    gc.enable()
    uvloop.run(run(settings, source, environ=os.environ, log_choice=LogChoice(log_format, log_level)))


@app.command()
def check(
    config: ConfigFile,
    is_resolving: Annotated[bool, typer.Option("--resolve", help="Look the host names of discovery up, too.")] = False,
    is_json: JsonOutput = False,
) -> None:
    """Check the settings and show the table they give; keys are never shown."""
    from rich.console import Console

    from quiclb.cli.summary import summarise

    configure_logging(level="critical")  # what goes wrong is this command's own output
    settings = load_settings(config, os.environ)
    found = asyncio.run(summarise(settings, is_resolving=is_resolving))
    found["warnings"] = [str(file) for file in exposed_files(secret_files(settings, config))]
    if is_json:
        print_json(found, indent=None)
        return
    section, health = found["forwarder"], found["health"]
    sides = f"Clients at {section['listen']}, backends at {section['inner']}"
    probes = f"a probe every {health['interval_s']:g} s, down after {health['fall']}, up after {health['rise']}"
    lines = [
        f"{config}: good. {sides}, unknown server IDs: {section['unknown_server_id']}",
        f"health: {probes if health['enabled'] else 'no probes'}",
    ]
    for source in found["discovery"]:
        count = source["backends"]
        lines.append(f"{source['source']}: " + ("not looked up, see --resolve" if count is None else f"{count} found"))
    console = Console()
    lines += [f"conflict: {conflict}" for conflict in found["conflicts"]]
    lines += [f"path: {fault}" for fault in found["paths"]]
    lines += [f"warning: {warning}" for warning in found["warnings"]]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    _print_table(console, found["configs"])
    _print_table(console, found["backends"])


@app.command()
def encode(
    server_id: Annotated[str, typer.Argument(help="Hexadecimal, of the length the config expects.")],
    config_id: ConfigId = 0,
    config: OptionalConfigFile = None,
    nonce: Annotated[str | None, typer.Option(help="Hexadecimal; by default a fresh one.")] = None,
    nonce_length: NonceLength = None,
    key_file: KeyFile = None,
    key: Key = None,
    is_json: JsonOutput = False,
) -> None:
    """Make a connection ID for a server."""
    server_bytes = _hex("server ID", server_id)
    nonce_bytes = None if nonce is None else _hex("nonce", nonce)
    length = nonce_length if nonce_bytes is None else len(nonce_bytes)
    if config is not None:
        layout = _layout(load_settings(config, os.environ), config_id)
    else:
        layout = QuicLbConfig(config_id, len(server_bytes), length or 0, _key(key, key_file))
    encoder = CidEncoder(layout, server_bytes, rng=os.urandom)
    cid = encoder.encode() if nonce_bytes is None else encoder.encode_nonce(nonce_bytes)
    if is_json:
        print_json({"cid": cid.hex(), "config_id": config_id, "server_id": server_bytes.hex()}, indent=None)
    else:
        print(cid.hex())


@app.command()
def decode(
    cid: Annotated[str, typer.Argument(help="The connection ID, hexadecimal.")],
    config: OptionalConfigFile = None,
    config_id: ConfigId = 0,
    server_id_length: Annotated[int | None, typer.Option(help="Bytes of the server ID, without --config.")] = None,
    nonce_length: NonceLength = None,
    key_file: KeyFile = None,
    key: Key = None,
    is_json: JsonOutput = False,
) -> None:
    """Take a connection ID apart, with the keys of a file or of the command line."""
    data = _hex("connection ID", cid)
    owners: dict[tuple[int, bytes], str] = {}
    if config is not None:
        table = load_settings(config, os.environ).build_table()
        layouts = table.configs
        owners = {owned: backend.name for owned, backend in table.backends_by_server_id.items()}
    else:
        layouts = (QuicLbConfig(config_id, server_id_length or 0, nonce_length or 0, _key(key, key_file)),)
    outcome = CidDecoder(layouts).decode(data, is_long_header=True)
    if isinstance(outcome, Unroutable):
        found: dict[str, Any] = {"reason": outcome.reason.value, "config_id": outcome.config_id}
        found |= {"server_id": None, "nonce": None, "backend": None}
    else:
        layout = next(layout for layout in layouts if layout.config_id == outcome.config_id)
        plaintext = cipher_for(layout).decrypt(data[1 : layout.cid_length])
        found = {"reason": "ok", "config_id": outcome.config_id, "server_id": outcome.server_id.hex()}
        found["nonce"] = plaintext[layout.server_id_length :].hex()
        found["backend"] = owners.get((outcome.config_id, outcome.server_id))
    if is_json:
        print_json(found, indent=None)
    else:
        print("  ".join(f"{name} {value}" for name, value in found.items() if value is not None))


@app.command("route")
def route_command(
    config: ConfigFile,
    client: Annotated[str | None, typer.Option(help="Where the datagram comes from, as 198.51.100.7:40001.")] = None,
    datagram: Annotated[str | None, typer.Option(help="The datagram, hexadecimal.")] = None,
    vip: Annotated[
        str | None,
        typer.Option(help="Where it was sent to; by default the file's listen. Say it if that is a wildcard."),
    ] = None,
    is_json: JsonOutput = False,
) -> None:
    """Say where datagrams would go: one by --client and --datagram, or JSON lines on standard input.

    A line is {"client": "198.51.100.7:40001", "datagram": "<hexadecimal>"}.
    """
    settings = load_settings(config, os.environ)
    table = settings.build_table()
    vip_address = parse_address(vip) if vip is not None else settings.forwarder.listen
    if (client is None) != (datagram is None):
        raise ConfigError("--client and --datagram go together")
    if client is not None and datagram is not None:
        queries = iter([(_hex("datagram", datagram), parse_address(client))])
    else:
        queries = _read_queries()
    for data, source in queries:
        decision = _describe(route(table, data, source, vip_address))
        line = json.dumps(decision) if is_json else "  ".join(f"{k} {v}" for k, v in decision.items() if v is not None)
        print(line, flush=True)


@app.command("top")
def top_command(
    metrics: Annotated[
        str | None,
        typer.Option(envvar="QUICLB_METRICS", help="The load balancer's metrics, as 127.0.0.1:9100 or a URL."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take the metrics address from here.")] = None,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
    is_once: Annotated[bool, typer.Option("--once", help="Look twice, print once and leave.")] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON, with --once.")] = False,
) -> None:
    """Show what a load balancer does: decisions, backends, losses. Ctrl-C ends it."""
    from rich.console import Console

    from quiclb.cli.scrape import metrics_url
    from quiclb.cli.top import report, watch

    if metrics is None and config is not None:
        address = load_settings(config, os.environ).forwarder.metrics
        metrics = None if address is None else format_address(address)
    if metrics is None:
        raise ConfigError("say where the metrics are: --metrics, QUICLB_METRICS or a --config with forwarder.metrics")
    if is_json and not is_once:
        raise ConfigError("--json goes with --once")
    url, console = metrics_url(metrics), Console()
    try:
        if not is_once:
            asyncio.run(watch(url, interval, console))
        found = asyncio.run(report(url, interval))
    except KeyboardInterrupt:
        return
    if is_json:
        print_json(found.as_json(), indent=None)
    else:
        console.print(found.render())


def _read_queries() -> Iterator[tuple[bytes, Address]]:
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            query = json.loads(line)
            yield _hex("datagram", query["datagram"]), parse_address(query["client"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"misses {error}" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"line {number} of standard input: {what}") from None


def _describe(decision: Decision) -> dict[str, Any]:
    return {
        "decision": type(decision).__name__.lower(),
        "reason": getattr(decision, "reason", "ok"),
        "config_id": decision.config_id,
        "server_id": None if decision.server_id is None else decision.server_id.hex(),
        "backend": None if isinstance(decision, Drop) else decision.backend.name,
    }


def _layout(settings: Settings, config_id: int) -> QuicLbConfig:
    for entry in settings.config:
        if entry.id == config_id:
            return entry.build()
    raise ConfigError(f"config {config_id} does not exist in the file")


def _key(key: str | None, key_file: Path | None) -> bytes | None:
    if key_file is None:
        return None if key is None else parse_key(key)
    try:
        return parse_key(read_text(key_file).strip())
    except ConfigError as error:
        raise ConfigError(f"key file {key_file}: {error}") from None


def _hex(what: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError(f"{what} must be hexadecimal digits, two for each byte, got {text!r}") from None


def _print_table(console: Console, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*(name.replace("_", " ") for name in rows[0]))
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(table)


def _cell(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{key}: {' '.join(items)}" for key, items in value.items())
