"""A worker or an agent host that breaks the rules harms its own call, and neither process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.http11 import Request, Response

from testbed.waiting import until
from tests.integration.hosts.test_calls_and_hosts import Caller, Counting, folder, host, hosted, unusable
from voice_gateway.agent.base import (
    Agent,
    AgentFailed,
    Conversation,
    Emit,
    Reply,
    ReplyAudio,
    SessionView,
    StateChanged,
    UserAudio,
)
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.messages import HOST_PATH, MAX_MESSAGE_BYTES, Hello, Open, encode_control
from voice_gateway.hosts.process.connection import MAX_UNSENT_BYTES
from voice_gateway.hosts.worker.link import dial

__all__ = ["folder"]

_OPEN = Open(session="s-1", epoch=1, turn=0, transcript=(), state=None, private_state={})


class Odd(Agent):
    """Does what `on_frame` says with each frame, and raises when it is closed if it `fails_at_close`."""

    name = "odd"

    def __init__(self, state: Any = None, *, seconds: int = 0, fails_at_close: bool = False) -> None:
        self.state, self.seconds, self.fails_at_close = state, seconds, fails_at_close

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return _Odd(emit, self)


class _Odd(Conversation):
    def __init__(self, emit: Emit, agent: Odd) -> None:
        super().__init__(emit)
        self._agent = agent

    def opened(self, session: SessionView) -> None:
        if self._agent.seconds:
            self.emit(Reply("la"))
            for _ in range(self._agent.seconds):
                self.emit(ReplyAudio(bytes(48_000)))

    def hear(self, audio: UserAudio) -> None:
        self.emit(StateChanged(self._agent.state))

    def close(self) -> None:
        super().close()
        if self._agent.fails_at_close:
            raise ValueError("closed badly")


@asynccontextmanager
async def odd_host(path: Path, on_request: Any = None, hello: Hello | None = None) -> AsyncIterator[None]:
    async def answer(socket: ServerConnection) -> None:
        await socket.recv()
        if hello is not None:
            await socket.send(encode_control([hello]))
        await socket.wait_closed()

    server = await unix_serve(answer, str(path), process_request=on_request)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def test_a_worker_that_does_not_read_loses_its_call_and_the_host_keeps_a_bounded_part(folder: Path) -> None:
    seconds = 3 * MAX_UNSENT_BYTES // 48_000
    async with (
        host(folder / "a", Odd(seconds=seconds)) as server,
        unix_connect(str(folder / "a"), f"ws://localhost{HOST_PATH}", ping_interval=None) as socket,
    ):
        await socket.send(encode_control([_OPEN]))
        await until(lambda: server.calls.counters.opened == 1)
        connections = [connection for _, connection in server.calls._calls.values()]
        await until(lambda: len(server.calls) == 0)
        assert all(not connection._unsent for connection in connections)


@pytest.mark.parametrize("what", ["cyclic", "large"])
async def test_a_state_that_no_message_holds_ends_its_call_with_a_sentence(folder: Path, what: str) -> None:
    state: dict[str, Any] = {"x": bytes(MAX_MESSAGE_BYTES + 1).decode()}
    if what == "cyclic":
        state["x"] = state
    async with host(folder / "a", Odd(state)), hosted(folder / "a") as agent:
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: any(isinstance(event, AgentFailed) for event in caller.events))
        failed = next(event for event in caller.events if isinstance(event, AgentFailed))
        assert failed.reason.startswith("the agent's state ")
        caller.conversation.close()


async def test_an_agent_that_raises_at_close_keeps_no_call_and_no_drain_waiting(folder: Path) -> None:
    async with host(folder / "a", Odd({}, fails_at_close=True)) as server, hosted(folder / "a") as agent:
        caller = Caller(agent)
        caller.hear(0)
        await until(lambda: bool(caller.events))
        caller.conversation.close()
        await until(lambda: len(server.calls) == 0)
        async with asyncio.timeout(15.0):
            await server.drain(30.0)


@pytest.mark.parametrize("given", [b"Bearer \xff\xfe", b"Bearer a\r\nAuthorization: Bearer b"])
async def test_a_token_of_odd_bytes_is_refused(folder: Path, given: bytes) -> None:
    async with host(folder / "a", Counting(), token="right"):
        reader, writer = await asyncio.open_unix_connection(str(folder / "a"))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: " + given + b"\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()


async def test_a_host_that_redirects_is_no_host_and_is_tried_again(folder: Path) -> None:
    def redirect(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "ws://192.0.2.1/elsewhere"
        return response

    path = folder / "a"
    async with odd_host(path, redirect), unusable("it answers 302"), hosted(path, start_timeout_s=0.5):
        pass


async def test_a_host_of_no_rate_is_not_used(folder: Path) -> None:
    hello = Hello(agent="x", input_rate_hz=16_000, output_rate_hz=0, audio_format="pcm16")
    path = folder / "a"
    async with odd_host(path, hello=hello), unusable("16000 and 0 Hz"), hosted(path, start_timeout_s=0.5):
        pass


async def test_a_message_that_cannot_be_taken_ends_its_link(folder: Path) -> None:
    lost: list[str] = []

    def take(raw: bytes) -> None:
        raise ValueError("odd")

    async with host(folder / "a", Counting()):
        link = await dial(HostAddress(folder / "a"), HostCredentials())
        link.start([encode_control([_OPEN])], take, lost.append)
        await until(lambda: bool(lost))
        assert lost == ["a message cannot be taken: ValueError"]


async def test_a_host_that_handles_no_key_loses_the_call_before_its_memory(folder: Path) -> None:
    hello = Hello(agent="x", input_rate_hz=16_000, output_rate_hz=24_000, audio_format="pcm16")
    async with odd_host(folder / "a", hello=hello), hosted(folder / "a") as agent:
        caller = Caller(agent)
        pressed = 0
        while not caller.events and pressed < 50_000:
            caller.conversation.pressed("5")
            pressed += 1
        assert caller.events == [AgentFailed("the agent host does not say which messages it has handled")]
        caller.conversation.close()
