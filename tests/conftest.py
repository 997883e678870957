"""What tests of several folders share."""

from __future__ import annotations

import pytest

from voicelink.quic.fast_path.fast_path import FastPath


@pytest.fixture(params=["fast path", "aioquic's way"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test twice: connections with their fast path, and without it."""
    if request.param != "fast path":
        monkeypatch.setattr(FastPath, "_can_serve", lambda self: False)
