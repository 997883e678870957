"""`voice-gateway config`: the settings for readers and for editors, as the models have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from voice_gateway.cli.options import write_out
from voice_gateway.settings.reference import reference_page, settings_schema

config_app = typer.Typer(help="Show all settings.", no_args_is_help=True, add_completion=False)

Out = Annotated[Path | None, typer.Option("--out", "-o", help="A file to write in place of standard output.")]


@config_app.command()
def reference(out: Out = None) -> None:
    """Write a page in Markdown: every setting with default, range, unit, and when to change it."""
    _write(reference_page(), out)


@config_app.command()
def schema(out: Out = None) -> None:
    """Write the JSON schema of the settings file, for editors that complete and check TOML by it."""
    _write(json.dumps(settings_schema(), indent=2) + "\n", out)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    write_out(out, text.encode())
