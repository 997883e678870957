"""`voice-gateway agent`: run an agent in a process of its own, which workers dial."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from quiclb.logs.command_output import optional_output, print_json
from quiclb.logs.setup import LogFormat, configure_logging
from voice_gateway.agent.base import Agent
from voice_gateway.agent.loading import GivenSettings
from voice_gateway.cli.options import LogFormatOption, LogLevel, checked_level
from voice_gateway.errors import ConfigurationError
from voice_gateway.hosts.addresses import HostAddress, parse_host_address, server_credentials
from voice_gateway.hosts.process.run import HostOptions, run_host, supervise
from voice_gateway.settings.fields import read_text

_VARIABLES = "VOICE_GATEWAY_AGENT_SETTINGS_"
_MOST_PROCESSES = 256

agent_app = typer.Typer(help="Agents in processes of their own.", no_args_is_help=True, add_completion=False)


@agent_app.callback()
def agent() -> None:
    """Agents in processes of their own."""


@agent_app.command()
def run(
    name: Annotated[str, typer.Argument(help="An installed agent, or package.module:Class.")],
    listen: Annotated[str, typer.Option(help="Where workers dial: unix:PATH or tcp:HOST:PORT.")],
    settings: Annotated[Path | None, typer.Option(help="A TOML file of the agent's own settings.")] = None,
    processes: Annotated[
        int, typer.Option(help="More than one listen at the path or port with 1, 2, ... added to its name.")
    ] = 1,
    token_file: Annotated[Path | None, typer.Option(help="The token that workers show.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="The certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
    drain_timeout_s: Annotated[float, typer.Option(help="How long calls have after SIGTERM to go elsewhere.")] = 30.0,
    log_format: LogFormatOption = LogFormat.AUTO,
    log_level: LogLevel = "info",
    is_json: Annotated[bool, typer.Option("--json", help="Print where it listens as JSON, once it does.")] = False,
) -> None:
    """Hold an agent until SIGTERM, which lets calls go to other hosts first; a second signal ends it at once."""
    level = checked_level(log_level)
    if not 1 <= processes <= _MOST_PROCESSES:
        raise ConfigurationError(f"--processes must be 1 to {_MOST_PROCESSES}, got {processes}")
    configure_logging(log_format, level)
    address = parse_host_address(listen)
    if processes > 1:
        raise typer.Exit(supervise([_command(address.numbered(each)) for each in range(1, processes + 1)]))
    token = None if token_file is None else read_text(f"--token-file {token_file}", token_file)
    if token == "":
        raise ConfigurationError("--token-file: the file is empty")
    options = HostOptions(
        name,
        address,
        server_credentials(address, token, tls_certificate, tls_key),
        _given(settings),
        drain_timeout_s,
    )
    raise typer.Exit(run_host(options, (lambda agent: _print_start(agent, address)) if is_json else lambda agent: None))


def _command(address: HostAddress) -> list[str]:
    """The same command for one process at this address."""
    arguments = sys.argv[1:]
    for option in ("--listen", "--processes"):
        for position in range(len(arguments) - 1, -1, -1):
            if arguments[position] == option:
                del arguments[position : position + 2]
            elif arguments[position].startswith(f"{option}="):
                del arguments[position]
    entry = "from voice_gateway.cli.main import main; main()"
    return [sys.executable, "-c", entry, *arguments, "--listen", str(address)]


def _given(path: Path | None) -> GivenSettings:
    named = {key: value for key, value in os.environ.items() if key.startswith(_VARIABLES)}
    variables = {key.removeprefix(_VARIABLES).lower(): value for key, value in named.items()}
    if path is None:
        return GivenSettings({}, variables)
    try:
        values: dict[str, Any] = tomllib.loads(read_text(f"--settings {path}", path))
    except ValueError as error:
        raise ConfigurationError(f"--settings: {path}: not valid TOML: {error}") from None
    return GivenSettings(values, variables, path.parent)


def _print_start(agent: Agent, address: HostAddress) -> None:
    with optional_output():
        print_json({"agent": agent.name, "listen": str(address), "pid": os.getpid()})
