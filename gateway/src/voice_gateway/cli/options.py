"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from quiclb.logs.setup import LogFormat
from voice_gateway.errors import ConfigurationError

ConfigFile = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="VOICE_GATEWAY_CONFIG", help="The worker's TOML file."),
]
OptionalConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="VOICE_GATEWAY_CONFIG", help="A TOML file; without one defaults serve."),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
InsecureDevelopment = Annotated[
    bool,
    typer.Option(
        "--insecure-development",
        envvar="VOICE_GATEWAY_INSECURE_DEVELOPMENT",
        help="Serve with exposed secrets, and a public address with a development certificate or open to all.",
    ),
]
AllowRoot = Annotated[
    bool, typer.Option("--allow-root", envvar="VOICE_GATEWAY_ALLOW_ROOT", help="Serve a public address as root.")
]
LogFormatOption = Annotated[LogFormat, typer.Option(envvar="VOICE_GATEWAY_LOG_FORMAT")]
LogLevel = Annotated[str, typer.Option(envvar="VOICE_GATEWAY_LOG_LEVEL", help="debug, info, warning, error.")]
Agent = Annotated[str | None, typer.Option(help="Who answers: an installed agent, or package.module:Class.")]
Store = Annotated[str | None, typer.Option(help="Where sessions are saved, as redis://HOST:PORT/0.")]
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def write_out(out: Path, data: bytes) -> None:
    """Write what a command made to the file of its `--out`; raises `ConfigurationError`."""
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {out}: {(error.strerror or str(error)).lower()}") from None


def checked_level(level: str) -> str:
    """Return the log level; raises `ConfigurationError`."""
    if level.lower() not in LOG_LEVELS:
        raise ConfigurationError(f"--log-level must be debug, info, warning or error, got {level!r}")
    return level.lower()
