"""A telephone call whose stream breaks, and whose session another worker finds in Redis by the call's SID."""

from __future__ import annotations

import time
from pathlib import Path

from testbed.redis_server import redis_server
from tests.integration.support.telephone import LOUD, QUIET, emptied, line, serving
from voice_gateway.certificates.development import ensure_certificate


async def test_a_call_that_breaks_goes_on_at_another_worker_by_its_sid(tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    ensure_certificate(certificates, now=time.time())
    with redis_server(tmp_path / "redis") as server:
        session = {"store": server.url}
        async with (
            serving(certificates, session=session) as first,
            serving(certificates, session=session, name="worker-2") as second,
        ):
            async with line(first) as caller:
                await caller.start()
                await caller.say(LOUD + QUIET)
                await caller.next("mark")
                caller.socket.transport.abort()
            async with line(second) as caller:
                await caller.start()
                await caller.say(LOUD + QUIET)
                await caller.next("mark")
                await caller.event("stop")
                await emptied(second)
            (left,), (ended,) = first.sessions.snapshot(), second.sessions.ended()
    assert left.id == ended.id
    assert (left.turn, ended.turn) == (1, 2), "what was said before the break is known"
    assert (second.sessions.counters.resumes, ended.close_reason) == (1, "bye")
