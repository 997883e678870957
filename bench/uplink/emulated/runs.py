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
from bench.uplink.emulated.tunnel import SERVER, Tunnel
from bench.uplink.outcome import Outcome
from voice_gateway.certificates.development import ensure_certificate

_FIRST_PORT = 7_001


async def websocket_calls(conditions: Sequence[Condition], seeds: Sequence[int], seconds: float) -> list[list[Outcome]]:
    """For each condition, the call of each seed."""
    asked = [(condition, seed) for condition in conditions for seed in seeds]
    links = {_FIRST_PORT + index: each for index, each in enumerate(asked)}
    ports = [str(port) for port in links]
    with tempfile.TemporaryDirectory() as folder:
        certificate = ensure_certificate(Path(folder), now=time.time(), hosts=(SERVER,))
        async with Tunnel(links) as tunnel:
            caller_in, server_in = tunnel.namespaces
            server = await _program(server_in, "serve", str(certificate.leaf), str(certificate.key), *ports)
            caller = await _program(caller_in, "call", str(seconds), *ports)
            tunnel.speech_begins()
            made_at = await _result(caller, b"go\n")
            received_at = await _result(server, b"")
    outcomes = [_outcome(made_at[port], received_at[port], tunnel.byte_count[int(port)]) for port in ports]
    return [outcomes[start : start + len(seeds)] for start in range(0, len(outcomes), len(seeds))]


def _outcome(made_at: list[float], received_at: dict[str, float], byte_count: int) -> Outcome:
    lateness = [1000 * (at - made_at[int(sequence)] - ONE_WAY_S) for sequence, at in received_at.items()]
    return Outcome(len(made_at), tuple(lateness), byte_count)


async def _program(namespace: str, *arguments: str) -> asyncio.subprocess.Process:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "bench.uplink.emulated.websocket", *arguments]
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
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
