"""A stream whose session is looked for, and one that has to go on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from tests.unit.voice_gateway.telephony.test_call import READY, SPEECH, Line, frame
from voice_gateway.telephony import call
from voice_gateway.telephony.call import Vouched
from voice_gateway.web.websocket import Ending
from voicelink.wire import Bye, Drain, Dtmf


def begun() -> Line:
    """A stream whose session is not ready."""
    line = Line()
    facts = {"streamSid": "MZ1", "callSid": "CA1", "customParameters": {}}
    form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    line.event("start", start=facts | {"mediaFormat": form})
    return line


async def test_what_is_said_before_the_session_is_ready_is_held_back_and_numbered_by_it() -> None:
    line = begun()
    line.media()
    line.event("dtmf", dtmf={"digit": "5"})
    line.media()
    assert line.received == []
    line.call.send(msgspec.structs.replace(READY, next_sequence=40))
    line.media()
    first, digit, second, third = line.received
    assert [each.sequence for each in (first, second, third)] == [40, 41, 42]
    assert digit == Dtmf(digit="5")


async def test_audio_of_a_caller_who_hangs_up_before_ready_reaches_the_session_to_the_end() -> None:
    line = begun()
    line.media()
    line.event("stop", stop={"callSid": "CA1"})
    line.media()
    line.call.send(READY)
    assert line.received == [msgspec.structs.replace(frame(0), payload=SPEECH), Bye(frames=1, reason="the call ended")]
    assert line.counters.skipped == {"after_stop": 1}


async def test_no_more_than_ten_seconds_are_held_back() -> None:
    line = begun()
    for _ in range(call._MOST_HELD + 2):
        line.media()
    assert line.counters.skipped == {"before_ready": 2}
    line.call.send(READY)
    assert len(line.received) == call._MOST_HELD


async def test_a_signed_stream_ends_when_its_worker_drains_so_that_the_call_goes_on_elsewhere() -> None:
    line = Line(is_signed=True)
    line.start()
    line.call.send(msgspec.structs.replace(READY, resume_window_s=60.0))
    line.call.send(Drain(deadline_s=5.0))
    assert line.socket.closed == (1001, "this worker is going away")
    assert line.received == ["this worker is going away"]
    assert line.session.calls[-1][0] == "lost"


async def test_a_stream_that_nobody_vouches_for_stays_with_its_worker() -> None:
    line = Line().start()
    line.call.send(msgspec.structs.replace(READY, resume_window_s=60.0))
    line.call.send(Drain(deadline_s=5.0))
    assert line.socket.closed is None


class Vouching:
    """Vouches for a stream once the test lets it."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Vouched | None] = asyncio.get_running_loop().create_future()
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def __call__(self, call_sid: str, parameters: Mapping[str, str]) -> Vouched | None:
        self.asked.append((call_sid, dict(parameters)))
        return await self.answer


def begun_by(vouch: Vouching) -> Line:
    line = Line(is_signed=True, vouch=vouch)
    form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    facts = {"streamSid": "MZ1", "callSid": "CA1", "customParameters": {"stream_token": "x", "agent": "echo"}}
    line.event("start", start=facts | {"mediaFormat": form})
    return line


async def pending_tasks_done() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_what_is_said_while_a_stream_is_vouched_for_is_held_back() -> None:
    vouch = Vouching()
    line = begun_by(vouch)
    await pending_tasks_done()
    line.media()
    assert line.session.requests == []
    vouch.answer.set_result(Vouched("for CA1", is_key_signed=True))
    await pending_tasks_done()
    (request,) = line.session.requests
    assert (request.access_token, request.key, request.is_key_signed) == ("for CA1", "CA1", True)
    assert vouch.asked == [("CA1", {"stream_token": "x", "agent": "echo"})]
    line.call.send(READY)
    assert line.received == [msgspec.structs.replace(frame(0), payload=SPEECH)]


async def test_a_stream_for_which_nothing_speaks_is_closed_with_1008() -> None:
    vouch = Vouching()
    line = begun_by(vouch)
    vouch.answer.set_result(None)
    await pending_tasks_done()
    assert line.socket.closed == (1008, "nothing says that this stream is the call's")
    assert line.session.requests == []


async def test_a_stream_that_ends_while_it_is_vouched_for_asks_for_no_session() -> None:
    vouch = Vouching()
    line = begun_by(vouch)
    await pending_tasks_done()
    line.call.closed("gone", Ending.BROKEN)
    await pending_tasks_done()
    assert vouch.answer.cancelled()
    assert line.session.requests == []
