"""What a save costs a real Redis and the process that asks for it, over loopback."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from testbed.redis_server import RedisServer, redis_server
from voice_gateway.store.base import Line, SessionRecord, SessionStore
from voice_gateway.store.encoding import RecordCodec
from voice_gateway.store.factory import open_store

AT_A_TIME = 16
_WORDS_A_LINE = 12


@dataclass(frozen=True, slots=True)
class SaveCost:
    """CPU microseconds a save of a record of so many bytes: of Redis, and of the Python process that saves."""

    turns: int
    record_bytes: int
    saves: int
    redis_us: float
    worker_us: float


def measure(turns: Sequence[int], saves: int) -> list[SaveCost]:
    """Save records of calls of so many turns; raises `RedisMissing` where there is no Redis."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name, redis_server(Path(name), "everysec") as server:
        return [asyncio.run(_measure(server, each, saves)) for each in turns]


def record_of(turns: int, revision: int, session_id: str = "s") -> SessionRecord:
    """The record of a call of so many turns, as the order agent's or an echo's: a line of each side a turn."""
    text = " ".join(["order"] * _WORDS_A_LINE)
    lines = [
        Line(at // 2 + 1, ("user", "agent")[at % 2], text, at // 2 + 1 if at % 2 else None) for at in range(2 * turns)
    ]
    state = {"kind": "order", "items": [{"drink": "taro milk tea", "size": "large", "sugar_percent": 75}] * 2}
    return SessionRecord(
        session_id, revision, 50 * turns, turns, tuple(lines), state, token_hashes=(bytes(32), bytes(32))
    )


def record_bytes(turns: int) -> int:
    """Bytes of such a record, as a store keeps it."""
    return len(RecordCodec().encode(record_of(turns, 1)))


async def _measure(server: RedisServer, turns: int, saves: int) -> SaveCost:
    store = open_store(server.url)
    try:
        await _save(store, turns, AT_A_TIME, 1)
        redis_s, worker_s = _redis_cpu_s(server), time.process_time()
        await _save(store, turns, saves, 2)
        worker_s = time.process_time() - worker_s
        redis_s = _redis_cpu_s(server) - redis_s
    finally:
        await store.close()
    return SaveCost(turns, record_bytes(turns), saves, 1e6 * redis_s / saves, 1e6 * worker_s / saves)


async def _save(store: SessionStore, turns: int, saves: int, revision: int) -> None:
    async def some(which: int) -> None:
        record = record_of(turns, revision, f"session-{which}")
        for number in range(saves // AT_A_TIME):
            await store.save(replace(record, revision=revision + number))

    await asyncio.gather(*(some(which) for which in range(AT_A_TIME)))


def _redis_cpu_s(server: RedisServer) -> float:
    lines = dict(line.split(":", 1) for line in server.ask("INFO", "cpu").splitlines() if ":" in line)
    return float(lines["used_cpu_sys"]) + float(lines["used_cpu_user"])
