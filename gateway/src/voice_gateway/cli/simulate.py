"""`voice-gateway simulate-twilio`: a telephone call without a telephone."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from quiclb.logs.command_output import print_json
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import read_text
from voice_gateway.telephony.vendors.twilio_simulator.plan import check_url
from voice_gateway.telephony.vendors.twilio_simulator.simulated_call import TwilioCall, TwilioSimulator
from voice_gateway.telephony.vendors.twilio_simulator.sound import read_telephone_wav, telephone_wav


def simulate_twilio(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.wav", help="What the caller says; any rate, width and number of channels.")
    ],
    urls: Annotated[
        list[str],
        typer.Argument(
            metavar="URL...", help="A worker's /twiml (https:), then those of others; or one stream (wss:)."
        ),
    ],
    call_sid: Annotated[str | None, typer.Option(help="The call's SID; a new one unless given.")] = None,
    auth_token_file: Annotated[Path | None, typer.Option(help="Sign with the auth token in this file.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="A custom parameter as NAME=VALUE; repeatable.")] = None,
    record: Annotated[Path | None, typer.Option(metavar="OUT.wav", help="Write what the caller heard.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="The authority that vouches for the worker.")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Play Twilio's side of a telephone call in real time: say FILE.wav, hear the answer, hang up.

    When the stream breaks, Twilio asks again what to do: the same worker, and the others where that is gone.
    Exit status 0 after an answer, 1 without one.
    """
    page, *others = (check_url(url) for url in urls)
    call = TwilioCall(
        page,
        others=tuple(others),
        call_sid=call_sid or f"CA{secrets.token_hex(16)}",
        auth_token=None if auth_token_file is None else read_text(str(auth_token_file), auth_token_file),
        parameters=dict(_parameter(each) for each in param or ()),
    )
    simulator = TwilioSimulator(call, tls=_tls(ca_file) if page.startswith(("https:", "wss:")) else None)
    result = asyncio.run(simulator.run(read_telephone_wav(file)))
    if record is not None:
        _write(record, telephone_wav(simulator.recording))
    facts = result.as_json()
    if is_json:
        print_json(facts)
    else:
        console = Console(markup=False, highlight=False)
        for name, value in facts.items():
            console.print(f"{name.replace('_', ' ')}: {'-' if value is None else value}", soft_wrap=True)
    raise typer.Exit(0 if result.is_answered and result.closed is None else 1)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigurationError(f"--param must be NAME=VALUE, got {text!r}")
    return name, value


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:  # ssl.SSLError too
        raise ConfigurationError(f"{ca_file}: {(error.strerror or str(error)).lower()}") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{path}: {(error.strerror or str(error)).lower()}") from None
