"""Calls over an emulated link, one of each transport at the same time, each with a bot and a link of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.figures import percentile
from bench.pipelines.words import LAST_ANSWER, SAID
from testbed.link import SERVER, EmulatedLink, LinkPath, Namespace
from testbed.simnet.links import Profile
from voice_gateway.certificates.development import ensure_certificate

ROOT: Final = Path(__file__).resolve().parents[2]
KINDS: Final = ("gateway", "websocket", "moq")
LINK_NAME: Final = "2 % lost, 50 ms one way"
LINK: Final = Profile(delay_s=0.05, loss=0.02)
_FIRST_PORT: Final = 7_101
_START_TIMEOUT_S: Final = 60.0
_CALL_TIMEOUT_S: Final = 120.0
_WATCHED_EVERY_S: Final = 0.02
_SETTINGS: Final = """
[worker]
name = "worker-1"
listen = "{host}:{port}"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[agent]
name = "bench.pipelines.bot:Bot"
[session]
"""


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call; times in ms, `None` where no answer was heard. `error` where the call failed.

    `silence_ms` is the silence within the first answer, `words_lost` those of the caller's three turns that are not in
    the context, `lost_in_the_dark` of them those of the turn in which the link went dark, `not_played` words of the
    interrupted answer in the context that the caller did not hear, of `in_context`, `answer_words` what was heard of
    the first answer. `stopped_ms` is from the interruption's first sound to the last one of that answer.
    `link_late_ms` is how late the emulated link was at p99: what is above some 10 ms is the machine's.
    """

    kind: str
    connected_ms: float = 0.0
    first_sound_ms: float | None = None
    silence_ms: float | None = None
    words_lost: int = 0
    lost_in_the_dark: int = 0
    not_played: int = 0
    in_context: int = 0
    stopped_ms: float | None = None
    answer_words: int = 0
    link_late_ms: float = 0.0
    error: str = ""


async def hold_round(kinds: Mapping[int, str], seed: int) -> list[CallResult]:
    """Hold calls at once; `kinds` is the transport of each number."""
    ports = {_FIRST_PORT + number: kind for number, kind in kinds.items()}
    paths = {port: LinkPath(LINK, seed=1_000 * seed + port) for port in ports}
    with tempfile.TemporaryDirectory(prefix="pipelines-") as folder:
        async with EmulatedLink(LinkPath(LINK), by_port=paths) as link:
            late_ms: list[float] = []
            watching = asyncio.create_task(_watch(late_ms))
            calls = (_call(link, Path(folder), port, kind) for port, kind in ports.items())
            results = await asyncio.gather(*calls)
            watching.cancel()
            return [replace(each, link_late_ms=round(percentile(late_ms, 99), 1)) for each in results]


async def _watch(late_ms: list[float]) -> None:
    """Note how late this event loop is, which carries the packets."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _WATCHED_EVERY_S
        await asyncio.sleep(_WATCHED_EVERY_S)
        late_ms.append((loop.time() - due) * 1000)


async def _call(link: EmulatedLink, folder: Path, port: int, kind: str) -> CallResult:
    own = folder / str(port)
    ensure_certificate(own, now=time.time(), hosts=(SERVER,))
    context = own / "context.json"
    if kind == "gateway":
        (own / "worker.toml").write_text(_SETTINGS.format(host=SERVER, port=port))
        program = "from voice_gateway.cli.main import main; main()"
        command = ["-c", program, "serve", "--json", "--config", str(own / "worker.toml")]
    else:
        command = ["-m", "bench.pipelines.bot", kind, SERVER, str(port)]
    bot = await _program(link.server, command, own / "bot.log", CONTEXT=str(context))
    caller = None
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await _ready(bot, own / "bot.log")
        arguments = ["-m", "bench.pipelines.call", kind, SERVER, str(port), str(own / "ca.pem")]
        caller = await _program(link.caller, arguments, own / "call.log")
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            heard = await _followed(caller, link, port, own / "call.log")
        return counted(kind, heard, json.loads(context.read_text()))
    except Exception as error:  # a call that fails is an outcome
        return CallResult(kind, error=f"{type(error).__name__}: {error}")
    finally:
        for process in (bot, caller):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


async def _program(end: Namespace, command: list[str], log: Path, **variables: str) -> asyncio.subprocess.Process:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with log.open("ab") as errors:
        return await end.start(
            sys.executable,
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environ,
        )


async def _ready(bot: asyncio.subprocess.Process, log: Path) -> None:
    assert bot.stdout is not None
    while not (line := await bot.stdout.readline()).endswith(b"}\n"):
        if not line:
            raise RuntimeError(f"the bot did not start: {_end(log)}")


async def _followed(caller: asyncio.subprocess.Process, link: EmulatedLink, port: int, log: Path) -> dict[str, Any]:
    assert caller.stdout is not None
    async for line in caller.stdout:
        said: dict[str, Any] = json.loads(line)
        if "dark" in said:
            link.black_out(said["dark"], path=link.path_to(port))
        elif "heard" in said:
            heard: dict[str, Any] = said["heard"]
            return heard
        else:
            raise RuntimeError(str(said))
    raise RuntimeError(f"the caller failed: {_end(log)}")


def _end(log: Path) -> str:
    return log.read_text()[-2_000:]


def counted(kind: str, heard: Mapping[str, Any], context: Sequence[tuple[str, str]]) -> CallResult:
    """Return what was lost in a call, of what the caller heard and of the context's messages, (role, text)."""
    known = {word for role, text in context if role == "user" for word in text.split()}
    began = next((number for number, (role, text) in enumerate(context) if role == "user" and _is_third(text)), None)
    later = context[began:] if began is not None else []
    said = {word for role, text in later if role == "assistant" for word in text.split()} - {LAST_ANSWER}
    return CallResult(
        kind,
        connected_ms=heard["connected_ms"],
        first_sound_ms=heard["first_sound_ms"],
        silence_ms=heard["silence_ms"],
        words_lost=sum(word not in known for turn in SAID for word in turn),
        lost_in_the_dark=sum(word not in known for word in SAID[1]),
        not_played=len(said - set(heard["third_words"])),
        in_context=len(said),
        stopped_ms=heard["stopped_ms"],
        answer_words=len(heard["first_words"]),
    )


def _is_third(text: str) -> bool:
    return any(word in text.split() for word in SAID[2])
