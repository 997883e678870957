"""`voice-client`: call a voice gateway from a terminal or a script."""

from __future__ import annotations

import asyncio
import functools
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from quiclb.logs.command_output import optional_output, print_json, report_error, run_command
from voice_client.access_token import TokenSource, token_file
from voice_client.call.report import failure
from voice_client.cli.dial import CallPlan, ping, place_call
from voice_client.errors import ClientError
from voice_client.options import ConnectionOptions, Security

app = typer.Typer(
    name="voice-client",
    help="Call a voice gateway over WebTransport: speak a file, a text or the microphone, and see what it understood.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class CodecName(StrEnum):
    """What the audio travels as."""

    opus = "opus"
    pcm16 = "pcm16"


class UplinkName(StrEnum):
    """How speech travels."""

    reliable = "reliable"
    hybrid = "hybrid"
    deadline = "deadline"


Token = Annotated[
    str | None,
    typer.Option(
        envvar="VOICE_TOKEN", help="Access token; other users can see it in the process list, so prefer --token-file."
    ),
]
TokenFile = Annotated[Path | None, typer.Option(help="File that holds the access token; read for each connection.")]
Authority = Annotated[
    Path | None,
    typer.Option("--ca", help="PEM file of the authority that vouches for the server. Default: the public ones."),
]
CertificateHash = Annotated[
    str | None, typer.Option(help="SHA-256 fingerprint of the server's certificate, in hex, in place of any authority.")
]
Local = Annotated[str | None, typer.Option("--local", help="Local address to call from.")]
TimeoutS = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the connection.")]


@app.command()
def call(
    wav: Annotated[
        Path | None,
        typer.Argument(help="WAV file to speak; any rate, width and number of channels.", show_default=False),
    ] = None,
    url: Annotated[
        str, typer.Option(help="The service, such as https://gateway.example:4433/v1/voice.")
    ] = "https://127.0.0.1:4433/v1/voice",
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Speak through the microphone; Ctrl-C says goodbye.")
    ] = False,
    say: Annotated[str | None, typer.Option(help="Speak this text with a synthetic voice.")] = None,
    type_text: Annotated[
        list[str] | None,
        typer.Option("--type", help="Send this text in place of speech; repeatable, - reads lines of standard input."),
    ] = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    certificate_hash: CertificateHash = None,
    codec: Annotated[CodecName, typer.Option(help="Codec, both ways.")] = CodecName.opus,
    uplink: Annotated[
        UplinkName,
        typer.Option(
            help="How speech travels: on a stream; in repeated and repaired datagrams, complete and seldom late; or so "
            "that what is older than --uplink-limit is given up."
        ),
    ] = UplinkName.reliable,
    uplink_limit: Annotated[float, typer.Option(help="Seconds, for --uplink deadline.", min=0.02)] = 0.5,
    agent: Annotated[str | None, typer.Option(help="Agent to talk to; default: the server's.")] = None,
    local: Local = None,
    migrate_at: Annotated[
        list[float] | None,
        typer.Option(help="Move to another path this many seconds into the call; repeatable.", min=0),
    ] = None,
    migrate_to: Annotated[
        list[str] | None,
        typer.Option(help="Local address to move to, one for each --migrate-at in turn; without it, another port."),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Write what was played to this WAV file.")] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="Keep what servers hand out for quicker connections in this file, and use it."),
    ] = None,
    qlog: Annotated[
        Path | None, typer.Option(help="Log each QUIC connection to a file in this directory, for qvis.", metavar="DIR")
    ] = None,
    playback: Annotated[
        bool,
        typer.Option(
            "--playback/--no-playback",
            help="Play the answers at the pace of speech, aloud if there is a loudspeaker; or take them as played.",
        ),
    ] = True,
    greeting: Annotated[
        bool, typer.Option("--greeting/--no-greeting", help="Let the agent's greeting end before speaking.")
    ] = True,
    timeout: TimeoutS = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the live view.")] = False,
) -> None:
    """Place a call. Exit status 0 only if the server acknowledged every frame, answered, and said bye.

    Example: voice-client call speech.wav --url https://127.0.0.1:4433/v1/voice --ca certs/dev/ca.pem

    Example, moving to another network 3 s into the call: add --migrate-at 3 --migrate-to 192.0.2.7
    """
    try:
        plan = CallPlan(
            url=url,
            wav=wav,
            text=say,
            typed=tuple(type_text or ()),
            has_microphone=microphone,
            token=_token(token, token_file),
            ca_file=ca,
            certificate_hash=certificate_hash,
            codec=codec.value,
            uplink=uplink.value,
            uplink_limit_s=uplink_limit,
            agent=agent,
            local_address=local,
            migrate_at_s=tuple(migrate_at or ()),
            migrate_to=tuple(migrate_to or ()),
            record=record,
            credentials_file=credentials,
            qlog=qlog,
            has_playback=playback,
            waits_for_greeting=greeting,
            connect_timeout_s=timeout,
        )
        with optional_output(is_background=True):
            report = asyncio.run(place_call(plan, None if as_json else Console(markup=False)))
    except ClientError as error:
        if as_json:
            print_json(failure(error).as_json())
        _fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print_json(report.as_json())
    if report.error is not None:
        _fail(report.error)
    if not report.is_complete:
        _fail("the call ended before every frame was acknowledged")


@app.command(name="ping")
def ping_command(
    url: Annotated[str, typer.Argument(help="The service, such as https://gateway.example:4433/v1/voice.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many round trips to measure.")] = 5,
    token: Token = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    certificate_hash: CertificateHash = None,
    local: Local = None,
    timeout: TimeoutS = 10.0,
) -> None:
    """Open a session, measure the set-up and some round trips, and hang up."""
    try:
        result = asyncio.run(
            ping(
                url,
                count,
                Security(_token(token, token_file), ca, certificate_hash),
                ConnectionOptions(local_address=local, connect_timeout_s=timeout),
            )
        )
    except ClientError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    print(f"worker {result.worker}: session ready after {result.setup_ms:.1f} ms")
    print(f"round trip of {len(result.rtts_ms)} pings: " + ", ".join(f"{rtt:.1f}" for rtt in result.rtts_ms) + " ms")


@app.command()
def devices() -> None:
    """List the microphones and loudspeakers of this computer."""
    from voice_client.audio.microphone import devices as list_devices

    try:
        found = list_devices()
    except ClientError as error:
        _fail(error)
    if not found:
        _fail("this computer has no sound device")
    table = Table("device", "inputs", "outputs", "default", box=None)
    for name, inputs, outputs, is_default in found:
        table.add_row(name, str(inputs), str(outputs), "yes" if is_default else "")
    Console(markup=False).print(table)


def main() -> None:
    """Run the command line; what is wrong is one sentence on standard error and exit status 1."""
    run_command("voice-client", app, (ClientError,))


def _token(token: str | None, file: Path | None) -> str | TokenSource | None:
    """A file is read for each connection, so that its token may be renewed during a call."""
    if file is None:
        return token or None
    token_file(file)
    return functools.partial(token_file, file)


def _fail(error: Exception | str) -> NoReturn:
    report_error("voice-client", str(error))
    raise typer.Exit(1)
