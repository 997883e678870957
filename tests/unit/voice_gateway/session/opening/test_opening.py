"""From an accepted connection to its session: the first message, what may come before it, and what ends it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from testbed.waiting import until
from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport, run_ready
from voice_gateway.agent.base import UserAudio
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.saving.ownership import call_session_id
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, Bye, CloseCode, Codec, Error, Ping, Played, Ready, Resume, Start, UplinkMode

T = TypeVar("T", bound=FakeTransport)
LIMITS = SessionLimits(early_frames=40, early_bytes=512 * 1024)


def frame(sequence: int, size: int = 160) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.PCMU, b"\xff" * size)


class DatagramTransport(FakeTransport):
    """One that could take frames in datagrams."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[UplinkMode, int, int]] = []
        self.datagram_uplink = self  # type: ignore[assignment]

    def begin(self, mode: UplinkMode, next_sequence: int) -> None:
        self.begun.append((mode, next_sequence, len(self.messages)))


class Worker:
    def __init__(self, limits: SessionLimits = LIMITS) -> None:
        self.agent = FakeAgent()
        ids, tokens = itertools.count(1), itertools.count(1)
        self.manager = SessionManager(
            "w-1",
            self.agent,
            MemoryStore(),
            new_id=lambda: f"s-{next(ids)}",
            new_token=lambda: f"t-{next(tokens)}",
            limits=limits,
        )

    def connect(self, transport: T, **changes: Any) -> tuple[ClientConnection, T]:
        connection = self.manager.accept(replace(REQUEST, **changes), transport)
        assert isinstance(connection, ClientConnection)
        return connection, transport

    @property
    def frames_decoded(self) -> list[int]:
        [conversation] = self.agent.conversations
        return [call.sequence for call in conversation.calls if isinstance(call, UserAudio)]


def closing(transport: FakeTransport) -> CloseCode:
    """The caller gets the error, and the transport closes with the same code."""
    [(code, reason)] = transport.closed
    assert transport.messages[-1] == Error(code=code, message=reason)
    return code


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    await worker.manager.close()


class TestFirstMessage:
    async def test_chooses_the_first_codec_that_is_known(self, worker):
        connection, transport = worker.connect(FakeTransport())
        connection.message_received(Start(accept=(99, Codec.PCMU, Codec.OPUS), agent="fake"))
        assert transport.of(Ready)[0].codec is Codec.PCMU
        assert worker.manager.count == 1

    @pytest.mark.parametrize("message", [Ping(id=1), Played(utterance_id=1, position_ms=0), Bye(frames=0)])
    async def test_is_start_or_resume(self, worker, message):
        connection, transport = worker.connect(FakeTransport())
        connection.message_received(message)
        assert closing(transport) is CloseCode.WRONG_ORDER

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            (Start(version=2), CloseCode.UNSUPPORTED_VERSION),
            (Start(accept=(77,)), CloseCode.UNSUPPORTED_CODEC),
            (Start(accept=()), CloseCode.UNSUPPORTED_CODEC),
            (Start(agent="florist"), CloseCode.MALFORMED),
            (Resume(session="s-1", token="t-1", version=2), CloseCode.UNSUPPORTED_VERSION),
            (Resume(session="s-1", token="t-1", accept=(99,)), CloseCode.UNSUPPORTED_CODEC),
        ],
    )
    async def test_is_checked(self, worker, message, code):
        connection, transport = worker.connect(FakeTransport())
        connection.message_received(message)
        assert closing(transport) is code
        assert worker.manager.counters.ended == {code.name.lower(): 1}
        assert worker.manager.count == 0

    async def test_a_resume_that_cannot_be_agreed_on_leaves_the_session_as_it_is(self, worker):
        connection, transport = worker.connect(FakeTransport())
        connection.message_received(Start())
        await run_ready()
        token = transport.of(Ready)[0].token
        bad, refused = worker.connect(FakeTransport())
        bad.message_received(Resume(session="s-1", token=token, accept=(99,)))
        await run_ready()
        assert closing(refused) is CloseCode.UNSUPPORTED_CODEC
        assert transport.closed == []

    async def test_must_come_in_time(self):
        worker = Worker(SessionLimits(start_timeout_s=0.01))
        _, transport = worker.connect(FakeTransport())
        await until(lambda: transport.closed, "that the connection is closed")
        assert closing(transport) is CloseCode.IDLE
        assert await worker.manager.wait_empty(10.0)

    @pytest.mark.parametrize("end", ["lost", "left"])
    async def test_may_never_come(self, worker, end):
        connection, transport = worker.connect(FakeTransport())
        getattr(connection, end)("gone")
        assert transport.closed == []
        assert await worker.manager.wait_empty(10.0)

    async def test_is_refused_once_the_worker_goes_away(self, worker):
        _, transport = worker.connect(FakeTransport())
        worker.manager.drain(5.0)
        assert closing(transport) is CloseCode.DRAINING


class TestEarlyFrames:
    async def test_are_decoded_in_order_behind_ready(self, worker):
        connection, transport = worker.connect(FakeTransport())
        for sequence in (0, 1, 1, 2):
            connection.audio_received(frame(sequence))
        connection.message_received(Start())
        await run_ready()
        assert worker.frames_decoded == [0, 1, 2]
        assert transport.of(Ready)[0].next_sequence == 0
        counters = worker.manager.counters
        assert (counters.frames_received, counters.frames_dropped) == (4, 1)

    async def test_may_leave_none_out(self, worker):
        connection, transport = worker.connect(FakeTransport())
        connection.audio_received(frame(1))
        assert closing(transport) is CloseCode.WRONG_ORDER

    async def test_are_few(self, worker):
        connection, transport = worker.connect(FakeTransport())
        for sequence in range(40):
            connection.audio_received(frame(sequence))
        assert transport.closed == []
        connection.audio_received(frame(40))
        assert closing(transport) is CloseCode.WRONG_ORDER

    async def test_are_512_kb_at_most(self, worker):
        connection, transport = worker.connect(FakeTransport())
        for sequence in range(32):
            connection.audio_received(frame(sequence, 16_384))
        assert transport.closed == []
        connection.audio_received(frame(32, 1))
        assert closing(transport) is CloseCode.OVERLOADED

    async def test_may_not_come_before_resume(self, worker):
        connection, transport = worker.connect(FakeTransport())
        connection.audio_received(frame(0))
        connection.message_received(Resume(session="s-1", token="t-1"))
        assert closing(transport) is CloseCode.WRONG_ORDER


class TestUplinkMode:
    @pytest.mark.parametrize("mode", [UplinkMode.HYBRID, UplinkMode.DEADLINE])
    async def test_begins_right_before_ready_names_it(self, worker, mode):
        connection, transport = worker.connect(DatagramTransport())
        connection.message_received(Start(uplink=mode))
        assert transport.begun == [(mode, 0, 0)]
        assert transport.of(Ready)[0].uplink == mode

    @pytest.mark.parametrize("mode", ["reliable", "telepathy", ""])
    async def test_is_the_stream_where_it_is_not_known(self, worker, mode):
        connection, transport = worker.connect(DatagramTransport())
        connection.message_received(Start(uplink=mode))
        assert transport.begun == []
        assert transport.of(Ready)[0].uplink == "reliable"

    async def test_is_the_stream_where_the_transport_has_no_datagrams(self, worker):
        connection, transport = worker.connect(FakeTransport())
        connection.message_received(Start(uplink="hybrid"))
        assert transport.of(Ready)[0].uplink == "reliable"

    async def test_is_agreed_on_again_by_a_resume(self, worker):
        connection, transport = worker.connect(FakeTransport())
        connection.message_received(Start())
        connection.audio_received(frame(0))
        await run_ready()
        returning, second = worker.connect(DatagramTransport())
        returning.message_received(Resume(session="s-1", token=transport.of(Ready)[0].token, uplink="hybrid"))
        await run_ready()
        assert second.begun == [(UplinkMode.HYBRID, 1, 0)]
        assert second.of(Ready)[0].uplink == "hybrid"


async def test_a_call_that_came_back_is_not_opened_by_an_empty_resume_token(worker):
    for _ in range(2):
        call, transport = worker.connect(FakeTransport(), key="CA1", is_key_signed=True)
        call.message_received(Start())
        await run_ready()
    session_id = call_session_id("CA1")
    assert transport.of(Ready)[0].session == session_id
    thief, refused = worker.connect(FakeTransport())
    thief.message_received(Resume(session=session_id, token=""))
    await run_ready()
    assert closing(refused) is CloseCode.UNKNOWN_SESSION
    assert transport.closed == []
