from __future__ import annotations

import pytest

from tests.unit.gateway.session.sessions import new_session
from voice_gateway.session.core.session import Session
from voicelink.wire import Start


@pytest.fixture
def session() -> Session:
    session = new_session()
    session.message_received(Start(), 0.0)
    return session
