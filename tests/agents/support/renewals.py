"""The end of a vendor's session, brought near at the moment that a test chooses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from voice_gateway.agents.bridges.bridge.call.session.renewal import Renewal


@dataclass
class Renewals:
    """Once it `is_near`, the session in progress has as good as ended: the next quiet moment replaces it, once."""

    is_near: bool = False


def renewals(monkeypatch: pytest.MonkeyPatch, session_s: float) -> Renewals:
    """Return what brings the end of sessions near that last `session_s`."""
    found = Renewals()
    is_due = Renewal.is_due

    def is_due_ahead(renewal: Renewal, now: float, *, is_quiet: bool) -> bool:
        is_over = is_due(renewal, now + session_s - 60.0 if found.is_near else now, is_quiet=is_quiet)
        found.is_near = found.is_near and not is_over
        return is_over

    monkeypatch.setattr(Renewal, "is_due", is_due_ahead)
    return found
