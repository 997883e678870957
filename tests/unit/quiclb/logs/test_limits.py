"""Lines that unauthenticated peers cause: bounded by event, and none lost without a count."""

from __future__ import annotations

from typing import Any

from quiclb.logs.limits import LimitedLog, suppressed_lines


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
