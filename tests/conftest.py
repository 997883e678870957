"""What tests of several folders share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from voicelink.quic.fast_path.fast_path import FastPath

# How long an example takes says nothing on a machine with other work. The examples are the same in each run, so that
# a change fails by what it did; `make search` takes new ones.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("searching", _UNHURRIED)
settings.register_profile("repeatable", _UNHURRIED, derandomize=True, database=None)
settings.load_profile("repeatable")


@pytest.fixture(params=["fast path", "aioquic's way"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test twice: connections with their fast path, and without it."""
    if request.param != "fast path":
        monkeypatch.setattr(FastPath, "_can_serve", lambda self: False)
