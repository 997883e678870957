"""WebSocket calls over emulated links, all at once and in real time."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.uplink.conditions import ONE_WAY_S, Condition
from bench.uplink.outcome import Outcome
from testbed.link import SERVER, EmulatedLink, LinkPath, Namespace
from testbed.simnet.links import Profile
from voice_gateway.certificates.development import ensure_certificate

_FIRST_PORT = 7_001


async def websocket_calls(conditions: Sequence[Condition], seeds: Sequence[int], seconds: float) -> list[list[Outcome]]:
    """For each condition, the call of each seed."""
    asked = [(condition, seed) for condition in conditions for seed in seeds]
    paths = {_FIRST_PORT + i: LinkPath(condition.profile, seed=seed) for i, (condition, seed) in enumerate(asked)}
    ports = [str(port) for port in paths]
    with tempfile.TemporaryDirectory() as folder:
        certificate = ensure_certificate(Path(folder), now=time.time(), hosts=(SERVER,))
        async with EmulatedLink(LinkPath(Profile()), by_port=paths) as link:
            server = await _program(link.server, "serve", str(certificate.leaf), str(certificate.key), *ports)
            caller = await _program(link.caller, "call", str(seconds), *ports)
            link.start_counting()
            for path, (condition, _) in zip(paths.values(), asked, strict=True):
                for begin, length in condition.blackouts:
                    link.black_out(length, after_s=begin, path=path)
            made_at = await _result(caller, b"go\n")
            received_at = await _result(server, b"")
    outcomes = [_outcome(made_at[port], received_at[port], paths[int(port)].byte_count["up"]) for port in ports]
    return [outcomes[start : start + len(seeds)] for start in range(0, len(outcomes), len(seeds))]


def _outcome(made_at: list[float], received_at: dict[str, float], byte_count: int) -> Outcome:
    late_ms = {int(n): 1000 * (at - made_at[int(n)] - ONE_WAY_S) for n, at in received_at.items()}
    return Outcome(len(made_at), late_ms, byte_count)


async def _program(end: Namespace, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "bench.uplink.emulated.websocket", *arguments]
    program = await end.start(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
    assert program.stdout is not None
    if await program.stdout.readline() != b"ready\n":
        raise SystemExit(f"the WebSocket's {arguments[0]} side did not begin")
    return program


async def _result(program: asyncio.subprocess.Process, said: bytes) -> dict[str, Any]:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(said)
    if not said:
        program.stdin.close()
    result: dict[str, Any] = json.loads(await program.stdout.readline())
    await program.wait()
    return result
