"""Who gets a session, who gets one back, and who has had enough."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.unit.voice_gateway.access.access_keys import SECRET
from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport, run_ready
from voice_gateway.access.gate import Gate
from voice_gateway.access.keys import signing_key, verification_key
from voice_gateway.access.limits import AccessLimits
from voice_gateway.access.session_quota import MAX_WAITING, MAX_WAITING_OF_ADDRESS
from voice_gateway.access.tokens import TokenVerifier, mint
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.store.base import SessionStore
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.transport.base import Refusal, SessionRequest
from voicelink.wire import AudioFrame, CloseCode, Codec, Error, Malformed, Ping, Ready, Resume, Start

NOW = 1_800_000_000.0
GATE = Gate(verifier=TokenVerifier([verification_key("k", SECRET)], audience="voice", issuer=None))


def token(subject: str, **changes: object) -> str:
    options = {"now": NOW, "lifetime_s": 60.0, "audience": "voice"} | changes
    return mint(signing_key("k", SECRET), subject=subject, **options)  # type: ignore[arg-type]


def request(subject: str = "alice", peer: str = "192.0.2.1:5000", **changes: object) -> SessionRequest:
    return replace(REQUEST, access_token=token(subject), peer=peer, **changes)  # type: ignore[arg-type]


class Worker:
    """A manager with resumable sessions, whose wall clock stands at `NOW` unless a test moves it."""

    def __init__(self, limits: AccessLimits | None = None, store: SessionStore | None = None, name: str = "w") -> None:
        ids, tokens = itertools.count(1), itertools.count(1)
        self.now = NOW
        self.agent = FakeAgent()
        self.store = store or MemoryStore()
        self.manager = SessionManager(
            name,
            self.agent,
            self.store,
            new_id=lambda: f"{name}-{next(ids)}",
            new_token=lambda: f"{name}-token-{next(tokens)}",
            admission=Admission(GATE, limits, max_sessions=50, wall_clock=lambda: self.now),
        )

    def knock(self, asked: SessionRequest) -> tuple[ClientConnection, FakeTransport] | Refusal:
        transport = FakeTransport()
        answer = self.manager.accept(asked, transport)
        return answer if isinstance(answer, Refusal) else (answer, transport)

    def enter(self, asked: SessionRequest) -> tuple[ClientConnection, FakeTransport]:
        answer = self.knock(asked)
        assert not isinstance(answer, Refusal), answer
        return answer

    def begin(self, asked: SessionRequest) -> tuple[ClientConnection, FakeTransport, Ready]:
        connection, transport = self.enter(asked)
        connection.message_received(Start(accept=(Codec.PCM16_24K,)))
        return connection, transport, transport.of(Ready)[0]

    async def resume(
        self, asked: SessionRequest, session: str, resume_token: str
    ) -> tuple[ClientConnection, FakeTransport]:
        connection, transport = self.enter(asked)
        connection.message_received(Resume(session=session, token=resume_token, accept=(Codec.PCM16_24K,)))
        await run_ready()
        return connection, transport


@pytest.fixture
async def workers() -> AsyncIterator[list[Worker]]:
    """Two that share a store."""
    store = MemoryStore()
    workers = [Worker(store=store, name=name) for name in ("one", "two")]
    yield workers
    for worker in workers:
        await worker.manager.close()


def refused_with(answer: object) -> tuple[int, str]:
    assert isinstance(answer, Refusal)
    return answer.status, answer.cause


class TestResume:
    @pytest.mark.parametrize("elsewhere", [0, 1])
    async def test_is_for_the_subject_that_began(self, workers, elsewhere):
        first, second = workers[0], workers[elsewhere]
        connection, _, ready = first.begin(request("alice"))
        await run_ready()
        connection.lost("gone")
        _, transport = await second.resume(request("mallory"), ready.session, ready.token or "")
        assert transport.closed[0][0] is CloseCode.UNKNOWN_SESSION
        _, transport = await second.resume(request("alice"), ready.session, ready.token or "")
        assert transport.of(Ready)[0].session == ready.session
        _, transport = await second.resume(request("mallory"), ready.session, transport.of(Ready)[0].token)
        assert transport.closed[0][0] is CloseCode.UNKNOWN_SESSION

    async def test_does_not_tell_a_foreign_session_from_none(self, workers):
        connection, _, ready = workers[0].begin(request("alice"))
        await run_ready()
        connection.lost("gone")
        _, foreign = await workers[0].resume(request("mallory"), ready.session, ready.token or "")
        _, none = await workers[0].resume(request("mallory"), "nowhere", ready.token)
        assert foreign.closed == none.closed
        assert foreign.of(Error) == none.of(Error)

    async def test_needs_an_access_token_that_is_still_good(self, workers):
        connection, _, ready = workers[0].begin(request("alice"))
        await run_ready()
        connection.lost("gone")
        workers[0].now += 60
        assert refused_with(workers[0].knock(request("alice"))) == (401, "token_expired")
        assert refused_with(workers[0].knock(replace(REQUEST, access_token=None))) == (401, "token_missing")
        fresh = replace(REQUEST, access_token=token("alice", now=workers[0].now))
        _, transport = await workers[0].resume(fresh, ready.session, ready.token or "")
        assert transport.of(Ready)

    @pytest.mark.parametrize("elsewhere", [0, 1])
    async def test_takes_each_resume_token_once(self, workers, elsewhere):
        connection, _, ready = workers[0].begin(request("alice"))
        await run_ready()
        connection.lost("gone")
        connection, transport = await workers[elsewhere].resume(request("alice"), ready.session, ready.token or "")
        connection.message_received(Ping(id=1))
        await run_ready()
        for worker in workers:
            _, replayed = await worker.resume(request("alice"), ready.session, ready.token or "")
            assert replayed.closed[0][0] is CloseCode.UNKNOWN_SESSION
        assert transport.closed == []

    async def test_is_for_one_session(self, workers):
        _, _, ready = workers[0].begin(request("alice"))
        _, _, other = workers[0].begin(request("alice"))
        await run_ready()
        _, transport = await workers[0].resume(request("alice"), ready.session, other.token)
        assert transport.closed[0][0] is CloseCode.UNKNOWN_SESSION


class TestSessions:
    async def test_a_subject_has_so_many_and_no_more(self):
        worker = Worker(AccessLimits(subject_sessions=1))
        connection, _, _ = worker.begin(request("alice"))
        second, transport = worker.enter(request("alice"))
        second.message_received(Start())
        assert transport.closed == [(CloseCode.OVERLOADED, "sessions of one subject at a time: at most 1")]
        worker.begin(request("bob"))
        connection.left("bye")
        worker.begin(request("alice"))
        assert worker.manager.counters.limited == {"subject_sessions": 1}
        await worker.manager.close()

    async def test_at_the_limit_a_session_can_still_be_taken_up(self):
        worker = Worker(AccessLimits(subject_sessions=1, address_sessions=1))
        _, former, ready = worker.begin(request("alice"))
        await run_ready()
        connection, transport = await worker.resume(request("alice"), ready.session, ready.token or "")
        assert transport.of(Ready)
        assert former.closed[0][0] is CloseCode.TAKEN_OVER
        connection.left("bye")
        worker.begin(request("alice"))
        await worker.manager.close()

    async def test_a_session_from_elsewhere_has_a_place_even_where_there_is_none(self):
        store = MemoryStore()
        one, two = (Worker(AccessLimits(subject_sessions=1), store, name) for name in ("one", "two"))
        _, _, ready = one.begin(request("alice"))
        await run_ready()
        blocker, _, _ = two.begin(request("alice"))
        connection, transport = await two.resume(request("alice"), ready.session, ready.token or "")
        assert transport.of(Ready)
        blocker.left("bye")
        second, refused = two.enter(request("alice"))
        second.message_received(Start())
        assert refused.closed[0][0] is CloseCode.OVERLOADED
        connection.left("bye")
        two.begin(request("alice"))
        for worker in (one, two):
            await worker.manager.close()

    async def test_at_the_worker_s_limit_a_session_can_still_be_taken_up_here_and_from_elsewhere(self, workers):
        """A resume passes `session.max_sessions`; a start does not."""
        one, two = workers
        _, _, here = two.begin(request("alice"))
        _, _, elsewhere = one.begin(request("alice"))
        await run_ready()
        for number in range(49):
            two.begin(request("bob", f"192.0.2.{number}:5000"))
        newcomer, refused = two.enter(request("carol"))
        newcomer.message_received(Start(accept=(Codec.PCM16_24K,)))
        assert refused.closed == [(CloseCode.OVERLOADED, "all 50 sessions are taken")]
        for ready in (here, elsewhere):
            _, transport = await two.resume(request("alice"), ready.session, ready.token or "")
            assert transport.of(Ready)
        assert two.manager.count == 51

    async def test_a_returning_call_passes_the_worker_s_limit(self, workers):
        worker = workers[0]
        for number in range(50):
            connection, transport = worker.enter(request("alice", key=f"CA{number}"))
            connection.message_received(Start(accept=(Codec.PCM16_24K,)))
            await run_ready()
            assert transport.of(Ready)
        connection.lost("the stream broke")
        for key, is_let_in in (("CA50", False), ("CA49", True)):
            connection, transport = worker.enter(request("alice", key=key))
            connection.message_received(Start(accept=(Codec.PCM16_24K,)))
            await run_ready()
            assert bool(transport.of(Ready)) == is_let_in


class TestWaiting:
    """A connection that has said neither `start` nor `resume` is no session."""

    async def test_130_connections_that_never_start_take_no_session_s_place(self):
        worker = Worker()
        mallory = [worker.enter(request("mallory", "198.51.100.1:5000")) for _ in range(130)]
        assert [bool(transport.closed) for _, transport in mallory] == [True] * 66 + [False] * MAX_WAITING_OF_ADDRESS
        assert mallory[0][1].closed[0][0] is CloseCode.OVERLOADED
        assert worker.manager.count == 0
        for number in range(50):
            worker.begin(request("alice", f"192.0.2.{number}:5000"))
        assert worker.manager.count == 50
        await worker.manager.close()

    async def test_those_that_never_start_do_not_keep_others_of_their_address_out(self):
        """A newcomer, and a caller that resumes, behind the NAT of a sender that uses up its share."""
        worker = Worker()
        _, _, ready = worker.begin(request("alice"))
        await run_ready()
        for _ in range(130):
            worker.enter(request("mallory"))
        worker.begin(request("bob"))
        _, transport = await worker.resume(request("alice"), ready.session, ready.token or "")
        assert transport.of(Ready)
        await worker.manager.close()

    async def test_the_oldest_connection_of_the_address_with_most_gives_way(self):
        worker = Worker()
        mallory = [worker.enter(request("mallory", f"198.51.100.{number // 64}:5000")) for number in range(MAX_WAITING)]
        extra, _ = worker.enter(request("mallory", "198.51.100.200:5000"))
        assert mallory[0][1].closed[0][0] is CloseCode.OVERLOADED
        assert not any(transport.closed for _, transport in mallory[1:])
        worker.begin(request("alice"))
        assert [transport for _, transport in mallory if transport.closed] == [mallory[0][1], mallory[64][1]]
        assert worker.manager.counters.limited == {"waiting": 2}
        extra.lost("gone")
        await worker.manager.close()
        assert len(worker.manager.admission.waiting) == 0

    @pytest.mark.parametrize(
        "end",
        [
            lambda connection: connection.message_received(Start()),
            lambda connection: connection.message_received(Start(version=9)),
            lambda connection: connection.message_received(Ping(id=1)),
            lambda connection: connection.message_received(Resume(session="s", token="t")),
            lambda connection: connection.malformed_received(Malformed("garbage")),
            lambda connection: connection.lost("gone"),
            lambda connection: connection.left("bye"),
        ],
    )
    @pytest.mark.parametrize("key", [None, "CA1"])
    async def test_it_waits_until_its_first_message_or_its_end(self, end, key):
        worker = Worker()
        connection, _ = worker.enter(request("alice", key=key))
        assert len(worker.manager.admission.waiting) == 1
        end(connection)
        assert len(worker.manager.admission.waiting) == 0
        await worker.manager.close()

    async def test_a_call_that_no_carrier_vouches_for_has_its_sender_s_address(self):
        worker = Worker(AccessLimits(address_attempts_per_s=0.1))
        worker.manager.admission.renew(Gate(), AccessLimits(address_attempts_per_s=0.1))
        assert not isinstance(worker.knock(request("alice", key="CA1")), Refusal)
        assert refused_with(worker.knock(request("alice", key="CA2"))) == (429, "address_attempts")
        await worker.manager.close()

    async def test_addresses_are_counted_by_network(self):
        worker = Worker(AccessLimits(address_sessions=1))
        worker.begin(request("alice", "[2001:db8::1]:5000"))
        connection, transport = worker.enter(request("bob", "[2001:db8::2]:5000"))
        connection.message_received(Start())
        assert transport.closed[0][0] is CloseCode.OVERLOADED
        worker.begin(request("bob", "[2001:db8:0:1::2]:5000"))
        await worker.manager.close()

    async def test_a_carrier_s_address_is_no_caller_s(self):
        worker = Worker(AccessLimits(address_sessions=1, address_attempts_per_s=0.1))
        for number in range(3):
            connection, transport = worker.enter(request("alice", key=f"CA{number}"))
            connection.message_received(Start(accept=(Codec.PCM16_24K,)))
            for _ in range(10):
                await asyncio.sleep(0)
            assert transport.of(Ready)
        await worker.manager.close()


@pytest.mark.usefixtures("standing_clock")
class TestAttempts:
    async def test_come_too_fast(self):
        worker = Worker(AccessLimits(address_attempts_per_s=0.2, subject_attempts_per_s=0.1))
        assert not isinstance(worker.knock(request("alice")), Refusal)
        refusal = worker.knock(request("alice"))
        assert refused_with(refusal) == (429, "subject_attempts")
        assert isinstance(refusal, Refusal)
        assert refusal.retry_after_s == pytest.approx(10)
        assert refused_with(worker.knock(request("bob"))) == (429, "address_attempts")
        assert worker.manager.counters.refused == {(429, "subject_attempts"): 1, (429, "address_attempts"): 1}
        await worker.manager.close()

    async def test_with_a_wrong_token_are_counted_too(self):
        worker = Worker(AccessLimits(address_attempts_per_s=0.3))
        wrong = replace(REQUEST, access_token="guess")
        assert [refused_with(worker.knock(wrong))[0] for _ in range(5)] == [401, 401, 401, 429, 429]


@pytest.mark.usefixtures("standing_clock")
class TestUplink:
    LIMITS = AccessLimits(session_bytes_per_s=10, session_messages_per_s=0.2)

    async def test_too_many_bytes_end_the_session(self):
        worker = Worker(self.LIMITS)
        connection, transport, _ = worker.begin(request())
        connection.bytes_received(600)
        assert transport.closed == []
        connection.bytes_received(100)
        assert transport.closed == [(CloseCode.OVERLOADED, "too many bytes arrive")]
        assert transport.of(Error)[0].code == CloseCode.OVERLOADED
        assert worker.manager.count == 0
        assert worker.manager.counters.limited == {"session_bytes": 1}

    async def test_too_many_messages_and_frames_end_the_session(self):
        worker = Worker(self.LIMITS)
        connection, transport, _ = worker.begin(request())
        for sequence in range(6):
            connection.audio_received(AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, bytes(640)))
        for number in range(5):
            connection.message_received(Ping(id=number))
        assert transport.closed == []
        connection.message_received(Ping(id=6))
        assert transport.closed == [(CloseCode.OVERLOADED, "too many messages arrive")]

    async def test_others_go_on(self):
        worker = Worker(self.LIMITS)
        connection, _, _ = worker.begin(request())
        other, transport, _ = worker.begin(request())
        connection.bytes_received(10_000)
        connection.bytes_received(1)
        other.message_received(Ping(id=1))
        assert transport.closed == []
        await worker.manager.close()

    async def test_limits_can_change(self):
        worker = Worker(AccessLimits())
        worker.manager.admission.renew(GATE, self.LIMITS)
        connection, transport, _ = worker.begin(request())
        connection.bytes_received(600)
        connection.bytes_received(600)
        assert transport.closed[0][0] is CloseCode.OVERLOADED


async def test_keys_can_change_under_a_call():
    worker = Worker()
    connection, transport, _ = worker.begin(request())
    worker.manager.admission.renew(Gate("other"), AccessLimits())
    assert refused_with(worker.knock(request())) == (401, "token_wrong")
    connection.message_received(Ping(id=1))
    assert transport.closed == []
    await worker.manager.close()
