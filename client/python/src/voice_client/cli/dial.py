"""A call from beginning to end, as the command line places it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from voice_client.access_token import TokenSource
from voice_client.audio.microphone import Loudspeaker, Microphone
from voice_client.audio.player import Sink
from voice_client.audio.recording import Recording
from voice_client.audio.source import Source, open_wav, spoken
from voice_client.call.report import CallReport
from voice_client.cli.display import Display
from voice_client.errors import ClientError, InvalidSetting, MigrationFailed, SourceError
from voice_client.options import AudioOptions, ConnectionOptions, Security, UplinkOptions
from voice_client.transport.credentials import CredentialStore
from voice_client.transport.link import PLAYBACK_RATE_HZ
from voice_client.voice_client import VoiceClient

_GREETING_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What is asked for; `place_call` refuses what does not fit together."""

    url: str
    wav: Path | None = None
    text: str | None = None
    typed: tuple[str, ...] = ()
    has_microphone: bool = False
    token: str | TokenSource | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_hash: str | None = None
    codec: Literal["opus", "pcm16"] = "opus"
    uplink: Literal["reliable", "hybrid", "deadline"] = "reliable"
    uplink_limit_s: float = 0.5
    agent: str | None = None
    local_address: str | None = None
    migrate_at_s: tuple[float, ...] = ()
    migrate_to: tuple[str, ...] = ()
    record: Path | None = None
    credentials_file: Path | None = None
    qlog: Path | None = None
    has_playback: bool = True
    waits_for_greeting: bool = True
    connect_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class PingResult:
    """`setup_ms` is from the first packet to the session being ready."""

    worker: str
    setup_ms: float
    rtts_ms: tuple[float, ...]


async def place_call(plan: CallPlan, console: Console | None) -> CallReport:
    """Speak, move, finish; show the call on `console`. Raises `ClientError` where no call came about."""
    _check(plan)
    source = _source(plan)
    sinks = _sinks(plan)
    try:
        client = VoiceClient(
            plan.url,
            security=Security(token=plan.token, ca_file=plan.ca_file, certificate_hash=plan.certificate_hash),
            audio=AudioOptions(codec=plan.codec, has_playback=plan.has_playback, sinks=sinks),
            connection=ConnectionOptions(
                local_address=plan.local_address,
                credentials=None if plan.credentials_file is None else CredentialStore(plan.credentials_file),
                connect_timeout_s=plan.connect_timeout_s,
                qlog=plan.qlog,
            ),
            uplink=UplinkOptions(mode=plan.uplink, limit_s=plan.uplink_limit_s),
            agent=plan.agent,
        )
        async with client as call, _shown(call, console):
            error: Exception | None = await _hold(call, plan, source)
            report = call.report()
            error = error or next(iter(call.sink_errors), None)
    finally:
        for sink in sinks:
            with suppress(Exception):  # the call has reported it
                sink.close()
    if error is not None:
        report = replace(report, error=str(error))
    if console is not None:
        Display(console).summarise(report)
    return report


async def ping(url: str, count: int, security: Security, connection: ConnectionOptions) -> PingResult:
    """Open a session, measure `count` round trips and hang up."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    async with VoiceClient(url, security=security, connection=connection) as call:
        setup_ms = (loop.time() - began_at) * 1000
        rtts_ms = tuple([await call.ping() for _ in range(count)])
        return PingResult(call.worker or "", setup_ms, rtts_ms)


async def _hold(call: VoiceClient, plan: CallPlan, source: Source | None) -> ClientError | None:
    moving = asyncio.create_task(_move(call, plan))
    try:
        if plan.waits_for_greeting and not (source is not None and source.is_live):
            await call.listen(_GREETING_GRACE_S)
        if source is None:
            await _type(call, plan.typed)
        else:
            await _speak(call, source)
        await call.finish()
    except ClientError as error:
        moving.cancel()
        with suppress(asyncio.CancelledError, ClientError):
            await moving
        return error
    if not moving.done():
        moving.cancel()
    try:
        await moving
    except MigrationFailed as error:
        return error
    except asyncio.CancelledError:
        return MigrationFailed("the call was over before it could move to another path")
    return None


async def _type(call: VoiceClient, texts: Sequence[str]) -> None:
    """Send each text once the answer to the one before was played; "-" stands for the lines of standard input."""
    for text in texts:
        if text != "-":
            call.send_text(text)
            await call.listen()
            continue
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip():
                call.send_text(line.strip())
                await call.listen()


async def _speak(call: VoiceClient, source: Source) -> None:
    """Speak until the source ends or the caller interrupts; a second interrupt ends the program as usual."""
    loop = asyncio.get_running_loop()
    speaking = asyncio.create_task(call.speak(source))
    with suppress(NotImplementedError, RuntimeError):  # on Windows, or outside the main thread
        loop.add_signal_handler(signal.SIGINT, speaking.cancel)
    try:
        await asyncio.wait([speaking])
    finally:
        with suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)
        speaking.cancel()
    if not speaking.cancelled():
        speaking.result()


async def _move(call: VoiceClient, plan: CallPlan) -> None:
    began_at = asyncio.get_running_loop().time()
    for position, at_s in enumerate(sorted(plan.migrate_at_s)):
        await asyncio.sleep(max(0.0, began_at + at_s - asyncio.get_running_loop().time()))
        await call.migrate(plan.migrate_to[position] if position < len(plan.migrate_to) else None)


@asynccontextmanager
async def _shown(call: VoiceClient, console: Console | None) -> AsyncIterator[None]:
    if console is None:
        yield
        return
    with Display(console) as display:

        async def follow() -> None:
            async for event in events:
                display.show(event)

        events = call.events()
        following = asyncio.create_task(follow())
        try:
            yield
        finally:
            call.close()
            await following


def _check(plan: CallPlan) -> None:
    chosen = [plan.wav is not None, plan.text is not None, bool(plan.typed), plan.has_microphone]
    if sum(chosen) != 1:
        raise InvalidSetting(
            "say what to speak: a WAV file, --say TEXT, --type TEXT or --microphone, and only one of them"
        )
    if len(plan.migrate_to) > len(plan.migrate_at_s):
        raise InvalidSetting("each --migrate-to belongs to a --migrate-at, and there are fewer of those")
    if plan.record is not None and not plan.has_playback:
        raise InvalidSetting("--record writes what was played, and --no-playback plays nothing")


def _source(plan: CallPlan) -> Source | None:
    if plan.typed:
        return None
    if plan.wav is not None:
        return open_wav(plan.wav)
    if plan.text is not None:
        return spoken(plan.text)
    return Microphone()


def _sinks(plan: CallPlan) -> Sequence[Sink]:
    sinks: list[Sink] = []
    if plan.record is not None:
        sinks.append(Recording(plan.record, PLAYBACK_RATE_HZ))
    if plan.has_playback:
        try:
            sinks.append(Loudspeaker(PLAYBACK_RATE_HZ))
        except SourceError:
            if plan.has_microphone:
                raise
    return sinks
