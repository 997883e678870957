"""Server-sent events for a client that reads slowly."""

from __future__ import annotations

from voice_gateway.ops.admin.event_streams import MOST_WAITING, EventStreams
from voice_gateway.session.stats.events import SessionEvents, SessionMigrated


async def test_a_stream_ends_with_its_first_unread_events_and_keeps_none_that_follow() -> None:
    events = SessionEvents()
    parts = EventStreams(events).open().parts
    await anext(parts)
    assert len(events._subscribers) == 1
    for _ in range(MOST_WAITING + 500):
        events.publish("s-1", SessionMigrated("192.0.2.8:1", "192.0.2.9:1", 1.0), 0.0)
    assert events._subscribers == ()
    assert len([part async for part in parts]) == MOST_WAITING
