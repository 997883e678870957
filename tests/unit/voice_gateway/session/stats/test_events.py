"""What happens to sessions reaches all who watch, and nothing that one of them raises reaches the session."""

from __future__ import annotations

from structlog.testing import capture_logs

from voice_gateway.session.stats.events import (
    SessionEvent,
    SessionEvents,
    SessionMigrated,
    TurnCompleted,
    event_document,
)
from voice_gateway.session.stats.turn_latency import Figure, TurnLatency

MIGRATED = SessionMigrated(was="192.0.2.1:1", peer="192.0.2.2:1", gap_ms=80.0)


def test_every_subscriber_gets_every_event_until_it_leaves() -> None:
    events, one, other = SessionEvents(), [], []
    leave = events.subscribe(lambda session, event, at: one.append((session, event, at)))
    events.subscribe(lambda session, event, at: other.append(at))
    events.publish("s-1", MIGRATED, 1.0)
    leave()
    events.publish("s-1", MIGRATED, 2.0)
    assert one == [("s-1", MIGRATED, 1.0)]
    assert other == [1.0, 2.0]


def test_a_subscriber_that_raises_is_logged_without_its_words_and_the_next_is_called() -> None:
    def fails(session: str, event: SessionEvent, at: float) -> None:
        raise ValueError("secret words")

    events, seen = SessionEvents(), []
    events.subscribe(fails)
    events.subscribe(lambda session, event, at: seen.append(event))
    with capture_logs() as logs:
        events.publish("s-1", MIGRATED, 1.0)
    assert seen == [MIGRATED]
    assert [(line["event"], line["session"], line["of"]) for line in logs] == [
        ("session_event_failed", "s-1", "SessionMigrated")
    ]
    assert "secret" not in str(logs)


def test_an_event_is_a_document_with_its_figures() -> None:
    turn = TurnLatency(3, utterance_id=4, at=1.0, figures={Figure.STT_TTFB: 40.04})
    assert event_document("s-1", TurnCompleted(turn=turn), 1_790_000_000.0004) == {
        "event": "turn_completed",
        "session": "s-1",
        "time": 1_790_000_000.0,
        "turn": {
            "turn": 3,
            "utterance_id": 4,
            "frames_replayed": 0,
            "was_interrupted": False,
            "figures_ms": {"stt_ttfb": 40.0},
        },
    }
