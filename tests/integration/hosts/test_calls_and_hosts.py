"""Calls of a worker, and hosts that end, drain, block, refuse or come back. Hosts are threads of this process."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from websockets.asyncio.client import unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

from testbed.ports import free_port
from testbed.waiting import until
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    AgentFailed,
    AudioFormat,
    Conversation,
    Emit,
    PartialTranscript,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SessionView,
    StopReply,
    UserAudio,
)
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.errors import AgentError, BindError
from voice_gateway.hosts.addresses import HostAddress, HostCredentials, server_credentials, worker_credentials
from voice_gateway.hosts.messages import Hello, Load, Open, encode_control, encode_frame
from voice_gateway.hosts.process import socket_thread
from voice_gateway.hosts.process.calls import HostCalls
from voice_gateway.hosts.process.server import HostServer
from voice_gateway.hosts.worker import pool as pool_module
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voice_gateway.hosts.worker.pool import HostPool, HostState
from voicelink.audio.wav import wav_header

HELLO = Hello(agent="counting", input_rate_hz=16_000, output_rate_hz=24_000, audio_format="pcm16")


class Counting(Agent):
    """Answers each frame with its number and the host's name; frame 99 makes it raise."""

    name = "counting"

    malformed_messages: Mapping[str, int] = {}

    def __init__(self, host: str = "") -> None:
        self.host = host
        self.opened: list[SessionView] = []

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return _Counts(emit, self)


class _Counts(Conversation):
    def __init__(self, emit: Emit, agent: Counting) -> None:
        super().__init__(emit)
        self._agent = agent

    def opened(self, session: SessionView) -> None:
        self._agent.opened.append(session)

    def hear(self, audio: UserAudio) -> None:
        if audio.sequence == 99:
            raise ValueError("what the caller said")
        self.emit(PartialTranscript(f"{self._agent.host}{audio.sequence}"))


class Caller:
    """A session's side of one conversation."""

    def __init__(self, agent: Agent, name: str = "s-1", epoch: int = 1) -> None:
        self.events: list[AgentEvent] = []
        self.conversation = agent.converse(self._take, None)
        self.conversation.opened(SessionView(name, 0, {}, tuple, lambda: True, epoch))

    def _take(self, event: AgentEvent) -> None:
        self.events.append(event)
        if isinstance(event, ReplyEnded):
            self.conversation.playback_finished(PlaybackFinished("", 0))

    @property
    def texts(self) -> list[str]:
        return [each.text for each in self.events if isinstance(each, PartialTranscript)]

    def hear(self, sequence: int) -> None:
        self.conversation.hear(UserAudio(sequence, bytes(640)))


@pytest.fixture
def folder() -> Any:
    path = Path(tempfile.mkdtemp())  # a socket's path is short
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def host(path: Path, agent: Agent, token: str | None = None) -> AsyncIterator[HostServer]:
    server = HostServer(agent, HostAddress(path), HostCredentials(token))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def hosted(*paths: Path, token: str | None = None, **options: Any) -> AsyncIterator[HostedAgent]:
    places = [(HostAddress(path), HostCredentials(token)) for path in paths]
    agent = HostedAgent(HostedAgentOptions(places, **options))
    try:
        await agent.open()
        yield agent
    finally:
        await agent.close()


@asynccontextmanager
async def unusable(said: str) -> AsyncIterator[None]:
    """An agent that opens meanwhile fails, and names what is said of its host.

    Its short patience begins once it knows that: a busy machine has no answer of a host within 0.3 s.
    """
    first_hello = HostPool.first_hello

    async def patient(pool: HostPool, timeout_s: float) -> Hello:
        await until(lambda: any(re.search(said, fault) for fault in pool._faults.values()), said)
        return await first_hello(pool, timeout_s)

    sentence = rf"no agent host can be used within 0\.\d s: .*(?:{said})"
    with patch.object(HostPool, "first_hello", patient), pytest.raises(AgentError, match=sentence):
        yield


async def test_a_call_goes_on_at_another_host_with_the_frames_not_covered(folder: Path) -> None:
    a, b = folder / "a", folder / "b"
    async with host(a, Counting("a")) as first, hosted(a, b) as agent:
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: caller.texts == ["a0"])
        await first.stop()
        caller.hear(1)
        async with host(b, Counting("b")):
            await until(lambda: caller.texts == ["a0", "b0", "b1"])
        caller.conversation.close()


async def test_a_host_that_comes_back_is_used_again(folder: Path) -> None:
    async with host(folder / "a", Counting("a")) as first, hosted(folder / "a") as agent:
        await first.stop()
        caller = Caller(agent)
        caller.hear(0)
        async with host(folder / "a", Counting("b")):
            await until(lambda: caller.texts == ["b0"])
            assert agent.pool is not None
            assert list(agent.pool.states().values()) == [HostState.READY]
            caller.conversation.close()


async def test_a_drained_host_hands_its_calls_over_and_its_address_is_free(folder: Path) -> None:
    a, b = folder / "a", folder / "b"
    async with host(a, Counting("a")) as first, hosted(a, b) as agent:
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: caller.texts == ["a0"])
        async with host(b, Counting("b")):
            await first.drain(5.0)
            assert len(first.calls) == 0
            assert not a.exists()
            caller.hear(1)
            await until(lambda: caller.texts == ["a0", "b0", "b1"])
            async with host(a, Counting("c")):
                await until(lambda: agent.pool is not None and len(agent.pool.hosts()) >= 2)
            caller.conversation.close()


async def test_a_call_without_a_host_ends_with_the_apology(folder: Path) -> None:
    pcm = bytes(4_800)
    (folder / "sorry.wav").write_bytes(wav_header(24_000, len(pcm)) + pcm)
    options: dict[str, Any] = {"patience_s": 3.0, "apology": folder / "sorry.wav", "apology_text": "Sorry."}
    async with host(folder / "a", Counting()) as only, hosted(folder / "a", **options) as agent:
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: caller.texts == ["0"])
        await only.stop()
        await until(lambda: isinstance(caller.events[-1], AgentFailed))
        assert [type(event) for event in caller.events[1:]] == [StopReply, Reply, ReplyAudio, ReplyEnded, AgentFailed]
        assert caller.events[2] == Reply("Sorry.")
        assert caller.events[-1] == AgentFailed("no agent host could take the call within 3 s")
        caller.conversation.close()


async def test_a_turn_that_ends_every_host_ends_its_call(folder: Path) -> None:
    class Deadly(Counting):
        def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
            asyncio.get_running_loop().call_later(0.02, drop)
            return super().converse(emit, state)

    def drop() -> None:
        server.calls.drop_connections()

    async with host(folder / "a", Deadly()) as server, hosted(folder / "a", patience_s=20) as agent:
        caller = Caller(agent)
        await until(lambda: AgentFailed("4 agent hosts ended in the same turn") in caller.events)
        caller.conversation.close()


async def test_what_an_agent_raises_ends_its_call_alone_and_is_not_repeated(folder: Path) -> None:
    async with host(folder / "a", Counting()), hosted(folder / "a") as agent:
        failing, other = Caller(agent, "s-1"), Caller(agent, "s-2")
        failing.hear(99)
        other.hear(0)
        await until(lambda: bool(failing.events and other.events))
        assert failing.events == [AgentFailed("the agent failed: ValueError")]
        assert other.texts == ["0"]
        failing.conversation.close()
        other.conversation.close()


async def test_a_lower_epoch_is_refused_and_a_higher_one_takes_the_call(folder: Path) -> None:
    async with host(folder / "a", Counting()) as server, hosted(folder / "a") as agent:
        first = Caller(agent, epoch=2)
        first.hear(0)
        await until(lambda: first.texts == ["0"])
        stale = Caller(agent, epoch=1)
        await until(lambda: bool(stale.events))
        reason = f"the session is open under epoch {2 * 2**32 + 1}, got {2**32 + 2}"
        assert stale.events == [AgentFailed(f"the agent host refuses the call: {reason}")]
        taken = Caller(agent, epoch=3)
        taken.hear(5)
        await until(lambda: taken.texts == ["5"])
        assert server.calls.counters.fenced == 1
        for caller in (first, stale, taken):
            caller.conversation.close()


async def test_a_blocked_host_gets_no_calls_and_is_not_dead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = folder / "a", folder / "b"
    async with host(a, Counting("a")) as blocked, host(b, Counting("b")), hosted(a, b) as agent:
        assert agent.pool is not None
        pool = agent.pool
        monkeypatch.setattr(HostCalls, "lag_ms", property(lambda self: 3_000.0 if self is blocked.calls else 0.0))
        await until(lambda: len(pool.hosts()) == 2)
        await until(lambda: HostState.BLOCKED in pool.states().values())
        callers = [Caller(agent, f"s-{number}") for number in range(3)]
        for caller in callers:
            caller.hear(0)
        await until(lambda: all(caller.texts == ["b0"] for caller in callers))
        assert len(blocked.calls) == 0
        for caller in callers:
            caller.conversation.close()


async def test_calls_leave_a_host_that_is_blocked_for_too_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostCalls, "lag_ms", 0.0)
    a, b = folder / "a", folder / "b"
    async with host(a, Counting("a")) as blocked, hosted(a, b, move_after_s=0.5) as agent:
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: caller.texts == ["a0"])
        monkeypatch.setattr(HostCalls, "lag_ms", property(lambda self: 3_000.0 if self is blocked.calls else 0.0))
        async with host(b, Counting("b")):
            await until(lambda: caller.texts == ["a0", "b0"])
            assert agent.pool is not None
            assert agent.pool.counters.lost == {"blocked": 1}
            caller.conversation.close()


async def test_a_host_reports_the_malformed_messages_of_its_agents_vendor(folder: Path) -> None:
    counting = Counting()
    counting.malformed_messages = {"shape": 1}
    async with host(folder / "a", counting), hosted(folder / "a") as agent:
        assert agent.pool is not None
        [known] = agent.pool.hosts()
        await until(lambda: known.load.malformed_messages == {"shape": 1})
        counting.malformed_messages = {"shape": 1, "oversized": 2}
        await until(lambda: known.load.malformed_messages == {"shape": 1, "oversized": 2})
        reader, writer = await asyncio.open_unix_connection(folder / "a")
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: host\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        assert [each for each in page.splitlines() if "malformed" in each] == [
            'voice_host_malformed_messages_total{kind="oversized"} 2',
            'voice_host_malformed_messages_total{kind="shape"} 1',
        ]


async def test_a_host_that_says_nothing_is_dead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "SILENT_S", 0.4)
    async with host(folder / "a", Counting()), hosted(folder / "a") as agent:
        monkeypatch.setattr(socket_thread, "LOAD_INTERVAL_S", 60.0)
        assert agent.pool is not None
        await until(lambda: list(agent.pool.states().values()) == [HostState.DEAD])


async def test_a_host_that_was_held_up_together_with_the_worker_is_not_dead(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that stood still."""
    monkeypatch.setattr(pool_module, "SILENT_S", 1.5)

    async def serve(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(encode_control([HELLO]))
        with suppress(ConnectionClosed):
            while True:
                await socket.send(encode_control([Load(calls=0, lag_ms=0.0)]))
                await asyncio.sleep(0.1)

    states: list[HostState] = []
    async with await unix_serve(serve, str(folder / "a"), close_timeout=0.1), hosted(folder / "a") as agent:
        assert agent.pool is not None
        monkeypatch.setattr(agent.pool, "_note", lambda host, state, reason: states.append(state))
        await until(lambda: states)
        time.sleep(2.0)  # noqa: ASYNC251 - the loop of both is held up
        reports = len(states)
        await until(lambda: len(states) > reports + 2)
        assert HostState.DEAD not in states


async def test_new_calls_go_to_the_host_with_the_fewest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostCalls, "lag_ms", 0.0)
    a, b = folder / "a", folder / "b"
    async with host(a, Counting("a")) as first, host(b, Counting("b")) as second, hosted(a, b) as agent:
        await until(lambda: agent.pool is not None and len(agent.pool.hosts()) == 2)
        callers = [Caller(agent, f"s-{number}") for number in range(6)]
        await until(lambda: len(first.calls) + len(second.calls) == len(callers))
        assert (len(first.calls), len(second.calls)) == (3, 3)
        for caller in callers:
            caller.conversation.close()


async def test_a_wrong_token_is_one_sentence(folder: Path) -> None:
    async with host(folder / "a", Counting(), token="right"):
        refused = r"refuses the token in agent\.hosts\.token_file"
        async with unusable(refused), hosted(folder / "a", token="wrong", start_timeout_s=0.3):
            pass
        async with hosted(folder / "a", token="right"):
            pass


async def test_another_version_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_thread, "HOST_PROTOCOL_VERSION", 2)
    said = "this host speaks version 2 of the host protocol, got 1"
    async with host(folder / "a", Counting()), unusable(said), hosted(folder / "a", start_timeout_s=0.3):
        pass


async def test_no_host_is_one_sentence(folder: Path) -> None:
    async with unusable("no such file or directory"), hosted(folder / "a", start_timeout_s=0.2):
        pass


async def test_a_socket_path_that_cannot_be_used_is_one_sentence(folder: Path) -> None:
    with pytest.raises(BindError, match="there is no folder"):
        async with host(folder / "none" / "a", Counting()):
            pass
    (folder / "file").write_text("")
    with pytest.raises(BindError, match="a file there that is no socket"):
        async with host(folder / "file", Counting()):
            pass
    async with host(folder / "a", Counting()):
        with pytest.raises(BindError, match="another host listens there"):
            async with host(folder / "a", Counting()):
                pass


async def test_a_host_that_does_not_read_is_left_at_4_mib(folder: Path) -> None:
    has_call, is_over = asyncio.Event(), asyncio.Event()

    async def serve(socket: ServerConnection) -> None:
        is_call = b"watch" not in await socket.recv()
        await socket.send(encode_control([HELLO]))
        if is_call:
            has_call.set()
        with suppress(ConnectionClosed):
            while not is_call:
                await socket.send(encode_control([Load(calls=0, lag_ms=0.0)]))
                await asyncio.sleep(0.2)
            await is_over.wait()

    a, b = folder / "a", folder / "b"
    async with await unix_serve(serve, str(a), ping_interval=None, close_timeout=0.1), hosted(a, b) as agent:
        caller = Caller(agent)
        assert agent.pool is not None
        pool = agent.pool
        await has_call.wait()
        async with host(b, Counting("b")):
            await until(lambda: len(pool.hosts()) == 2)
            pieces = 0
            while not pool.counters.lost:
                caller.conversation.hear(UserAudio(pieces, bytes(64_000)))
                pieces += 1
                await asyncio.sleep(0.001)
                assert pieces < 100, "6 MB"
            await until(lambda: caller.texts == [f"b{number}" for number in range(pieces)])
            caller.conversation.close()
            is_over.set()


async def test_a_worker_that_does_not_read_loses_its_call_at_16_mib(folder: Path) -> None:
    class Flooding(Counting):
        """Answers a frame of session s-1 with 1 MiB."""

        answered = 0

        def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
            return _Floods(emit, self)

    class _Floods(_Counts):
        def opened(self, session: SessionView) -> None:
            self._is_flooding = session.session_id == "s-1"

        def hear(self, audio: UserAudio) -> None:
            if self._is_flooding:
                self.emit(ReplyAudio(bytes(1 << 20)))
                flooding.answered += 1
            else:
                super().hear(audio)

    flooding = Flooding()
    async with (
        host(folder / "a", flooding) as server,
        hosted(folder / "a") as agent,
        unix_connect(str(folder / "a"), "ws://localhost/v1/agent", max_queue=1, ping_interval=None) as stalled,
    ):
        other = Caller(agent, "s-2")

        async def flood() -> None:
            """Have a frame answered, and wait for an answer behind it: what is in between has reached the sockets."""
            number = flooding.answered
            await stalled.send(encode_frame(number, bytes(640), AudioFormat.PCM16))
            await until(lambda: flooding.answered == number + 1 or len(server.calls) == 1)
            other.hear(number)
            await until(lambda: other.texts[-1:] == [str(number)])

        opened = Open(session="s-1", epoch=1, turn=0, transcript=(), state=None, private_state={})
        await stalled.send(encode_control([opened]))
        await until(lambda: len(server.calls) == 2)
        for _ in range(15):  # they fit even if none of them has left for the socket
            await flood()
        assert len(server.calls) == 2
        with suppress(ConnectionClosed):
            while len(server.calls) == 2:
                assert flooding.answered < 24, "8 MiB is more than leaves for the socket and the worker's queue"
                await flood()
        await until(lambda: len(server.calls) == 1)
        other.hear(99_999)
        await until(lambda: other.texts[-1:] == ["99999"], "the other call stays")
        other.conversation.close()


async def test_a_host_over_tcp_serves_tls_and_asks_for_the_token(folder: Path) -> None:
    certs = folder / "certs"
    ensure_certificate(certs, now=time.time())
    address = HostAddress(host="127.0.0.1", port=free_port())
    server = HostServer(
        Counting(), address, server_credentials(address, "right", certs / "leaf.pem", certs / "leaf.key")
    )
    await server.start()
    try:
        for token, ca_file, said in (
            ("wrong", certs / "ca.pem", r"refuses the token in agent\.hosts\.token_file"),
            (None, certs / "ca.pem", r"refuses the token in agent\.hosts\.token_file"),
            ("right", None, "the handshake failed|did not receive|connection"),
        ):
            shown = worker_credentials(address, token, ca_file)
            refused = HostedAgent(HostedAgentOptions([(address, shown)], start_timeout_s=0.5))
            async with unusable(said):
                await refused.open()
            await refused.close()
        agent = HostedAgent(HostedAgentOptions([(address, worker_credentials(address, "right", certs / "ca.pem"))]))
        await agent.open()
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: caller.texts == ["0"])
        caller.conversation.close()
        await agent.close()
    finally:
        await server.stop()


async def test_a_certificate_of_another_ca_is_one_sentence(folder: Path) -> None:
    for name in ("ours", "theirs"):
        ensure_certificate(folder / name, now=time.time())
    address = HostAddress(host="127.0.0.1", port=free_port())
    theirs = folder / "theirs"
    server = HostServer(
        Counting(), address, server_credentials(address, "right", theirs / "leaf.pem", theirs / "leaf.key")
    )
    await server.start()
    try:
        shown = worker_credentials(address, "right", folder / "ours" / "ca.pem")
        refused = HostedAgent(HostedAgentOptions([(address, shown)], start_timeout_s=0.5))
        async with unusable("certificate"):
            await refused.open()
        await refused.close()
    finally:
        await server.stop()
