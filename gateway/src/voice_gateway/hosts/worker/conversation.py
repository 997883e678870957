"""One call whose agent is in a host: hands each event to the part of the call that it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import (
    AgentFailed,
    AppMessage,
    AudioFormat,
    ClientToolResult,
    Conversation,
    Emit,
    PlaybackFinished,
    SessionView,
    UserAudio,
    UserText,
)
from voice_gateway.agent.last_reply import LastReply
from voice_gateway.hosts.messages import (
    AskApp,
    AskedMessage,
    AskFinish,
    AskGreet,
    AskPressed,
    AskSayAgain,
    AskText,
    AskToolResult,
    FromWorker,
    PlaybackProgress,
    ReplyInterrupted,
    ReplyPlayed,
    encode_control,
    encode_frame,
)
from voice_gateway.hosts.worker.call.continuity import Continuity
from voice_gateway.hosts.worker.call.host_messages import HostMessages
from voice_gateway.hosts.worker.call.placement import HostPlacement
from voice_gateway.hosts.worker.pool import HostPool

_log = structlog.get_logger("voice_gateway.hosts")


@dataclass(frozen=True, slots=True)
class HostedCallOptions:
    """`patience_s` without a host end a call. The caller then hears `apology`, where given."""

    form: AudioFormat
    output_bytes_per_s: int
    patience_s: float
    apology: Apology = field(default_factory=Apology)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a call has from `opened` on."""

    continuity: Continuity
    placement: HostPlacement
    messages: HostMessages
    task: asyncio.Task[None]


class HostedConversation(Conversation):
    """Passes each call of the session on to the host there is, and keeps it for the next one; see `Continuity`."""

    def __init__(self, pool: HostPool, options: HostedCallOptions, emit: Emit, state: Mapping[str, Any] | None) -> None:
        super().__init__(emit)
        self._pool = pool
        self._options = options
        self._state = state
        self._last_reply = LastReply(self.emit, options.output_bytes_per_s)
        self._parts: _Parts | None = None

    def opened(self, session: SessionView) -> None:
        form = self._options.form
        continuity = Continuity(session, self._state)
        placement = HostPlacement(
            self._pool, self._options.patience_s, form, session, continuity, self.emit, self._received
        )
        messages = HostMessages(self.emit, form, continuity, placement)
        task = asyncio.get_running_loop().create_task(self._run(placement, session.session_id))
        self._parts = _Parts(continuity, placement, messages, task)

    def saved(self, checkpoint: int) -> None:
        self._opened.messages.saved(checkpoint)

    def played(self, played_ms: int) -> None:
        known_ms = None if self._last_reply.is_begun else self._opened.continuity.played(played_ms)
        if known_ms is not None:
            self._send(PlaybackProgress(played_ms=known_ms))

    def playback_finished(self, playback: PlaybackFinished) -> None:
        if self._last_reply.is_begun:
            self._last_reply.playback_finished(playback)
            return
        known = self._opened.continuity.playback_finished(playback)
        if known is not None:
            self._send(ReplyPlayed(text=known.text, played_ms=known.played_ms, is_interrupted=known.is_interrupted))
        self._opened.placement.leave_if_quiet()

    def greet(self) -> None:
        self._ask(AskGreet(id=self._new_id()))

    def greet_again(self) -> None:
        self._ask(AskGreet(id=self._new_id(), is_again=True))

    def hear(self, audio: UserAudio) -> None:
        """Give the frame to the host, and keep it until the host says that it is done with it."""
        parts = self._opened
        parts.continuity.frame(audio.sequence, audio.pcm)
        parts.placement.send(encode_frame(audio.sequence, audio.pcm, self._options.form))
        if parts.continuity.is_full:
            parts.placement.fail("the agent host does not say which frames it is done with")

    def pressed(self, digit: str) -> None:
        self._ask(AskPressed(id=self._new_id(), digit=digit))

    def interrupted(self, played_ms: int) -> None:
        self._send(ReplyInterrupted(played_ms=played_ms))

    def say_again(self, text: str) -> None:
        self._ask(AskSayAgain(id=self._new_id(), text=text))

    def text_received(self, text: UserText) -> None:
        self._ask(AskText(id=self._new_id(), number=text.number, text=text.text))

    def app_message_received(self, message: AppMessage) -> None:
        self._ask(AskApp(id=self._new_id(), number=message.number, data=message.data))

    def client_tool_returned(self, result: ClientToolResult) -> None:
        self._ask(
            AskToolResult(
                id=self._new_id(),
                call_id=result.call_id,
                result=result.result,
                error=result.error,
                number=result.number,
            )
        )

    def finish(self) -> None:
        self._ask(AskFinish(id=self._new_id()))

    def close(self) -> None:
        """Leave the host, which forgets the call."""
        super().close()
        if self._parts is not None:
            self._parts.placement.close()
            self._parts.task.cancel()

    async def _run(self, placement: HostPlacement, session_id: str) -> None:
        reason = await placement.run()
        self._pool.counters.given_up += 1
        _log.error("call_given_up", session=session_id, reason=reason)
        await self._last_reply.say(self._options.apology)
        self.emit(AgentFailed(reason))

    def _received(self, raw: bytes) -> None:
        self._opened.messages.received(raw)

    def _ask(self, message: AskedMessage) -> None:
        self._opened.continuity.asked(message)
        self._send(message)
        if self._opened.continuity.is_full:
            self._opened.placement.fail("the agent host does not say which messages it has handled")

    def _send(self, message: FromWorker | AskedMessage) -> None:
        self._opened.placement.send(encode_control([message]))

    def _new_id(self) -> int:
        return self._opened.continuity.new_id()

    @property
    def _opened(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the conversation was not opened")
        return self._parts
