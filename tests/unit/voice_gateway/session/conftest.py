from __future__ import annotations

import pytest

from tests.unit.voice_gateway.session.sessions import new_session, start
from voice_gateway.session.core.session import Session


@pytest.fixture
def session() -> Session:
    session = new_session()
    start(session, 0.0)
    return session
