"""Lines that unauthenticated peers cause: bounded by event, and none lost without a count."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
import structlog
from structlog import DropEvent

from quiclb.logs.limits import DEBUG_LINES_AT_ONCE, DebugLimit, LimitedLog, suppressed_lines
from quiclb.logs.setup import LogFormat, configure_logging


class Lines:
    def __init__(self) -> None:
        self.written: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **facts: self.written.append((level, event, facts))


def test_ten_lines_of_an_event_at_once_and_then_one_a_second() -> None:
    lines, now = Lines(), 100.0
    log = LimitedLog(lines, clock=lambda: now)
    for _ in range(5_000):
        log.warning("signature_refused", peer="p")
    assert len(lines.written) == 10
    now += 1.0
    for _ in range(100):
        log.warning("signature_refused", peer="p")
    assert len(lines.written) == 11


def test_the_next_line_says_how_many_were_suppressed() -> None:
    lines, now = Lines(), 0.0
    log = LimitedLog(lines, burst=1, clock=lambda: now)
    before = suppressed_lines["refused"]
    for _ in range(4):
        log.info("refused", peer="p")
    now = 1.0
    log.info("refused", peer="p")
    assert [facts for _, _, facts in lines.written] == [{"peer": "p"}, {"peer": "p", "suppressed": 3}]
    assert suppressed_lines["refused"] - before == 3


def test_events_have_limits_of_their_own() -> None:
    lines = Lines()
    log = LimitedLog(lines, burst=1, clock=lambda: 0.0)
    log.info("one")
    log.warning("two")
    log.exception("three")
    assert [(level, event) for level, event, _ in lines.written] == [
        ("info", "one"),
        ("warning", "two"),
        ("exception", "three"),
    ]


def test_debug_lines_are_limited_by_event_and_others_are_not() -> None:
    now = 0.0
    limit = DebugLimit(per_s=2, burst=3, clock=lambda: now)
    passed = 0
    for _ in range(10):
        with contextlib.suppress(DropEvent):
            passed += limit(None, "debug", {"event": "connection_accepted"}) is not None
    assert passed == 3
    assert limit(None, "debug", {"event": "cid_issued"}) == {"event": "cid_issued"}
    for _ in range(10):
        assert limit(None, "info", {"event": "connection_accepted"}) == {"event": "connection_accepted"}
    now = 0.5
    assert limit(None, "debug", {"event": "connection_accepted"})["suppressed"] == 7


def test_configured_logs_limit_debug_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quiclb.logs.setup.DebugLimit", lambda: DebugLimit(clock=lambda: 0.0))
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, "debug", stream)
    try:
        for number in range(int(DEBUG_LINES_AT_ONCE) + 500):
            structlog.get_logger().debug("flood", number=number)
    finally:
        structlog.reset_defaults()
    assert len(stream.getvalue().splitlines()) == DEBUG_LINES_AT_ONCE
