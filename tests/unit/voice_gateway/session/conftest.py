from __future__ import annotations

import asyncio

import pytest

from tests.unit.voice_gateway.session.sessions import new_session, start
from voice_gateway.session.core.session import Session


@pytest.fixture
def session() -> Session:
    session = new_session()
    start(session, 0.0)
    return session


@pytest.fixture
async def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the event loop does not pass: what a rate limiter has given is not given again."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
