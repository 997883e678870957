"""One call whose agent is in a host: goes on at another host when that one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from voice_gateway.agent.base import (
    AgentEvent,
    AgentFailed,
    AppMessage,
    AudioFormat,
    ClientToolResult,
    Conversation,
    Emit,
    FinalTranscript,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SessionView,
    StateChanged,
    StopReply,
    UserAudio,
    UserText,
)
from voice_gateway.hosts.messages import (
    AskApp,
    AskedMessage,
    AskFinish,
    AskGreet,
    AskPressed,
    AskSayAgain,
    AskText,
    AskToolResult,
    CallerAttached,
    CheckpointSaved,
    FromWorker,
    Handled,
    Hello,
    Load,
    PlaybackProgress,
    Refused,
    ReplyInterrupted,
    ReplyPlayed,
    decode_from_host,
    encode_control,
    encode_frame,
)
from voice_gateway.hosts.worker.continuity import Continuity
from voice_gateway.hosts.worker.link import HostLink, LinkRefused, dial
from voice_gateway.hosts.worker.pool import Host, HostPool, HostState
from voicelink.wire import Malformed

ATTEMPTS_PER_EPOCH: Final = 1 << 32
"""Calls that one worker opens at hosts, all together; the session's epoch counts above them."""
MOST_LOST_IN_A_TURN: Final = 4
"""A turn that ends so many hosts, as one whose tool crashes them, ends its call before it ends them all."""
REPEAT_TIMEOUT_S: Final = 5.0
"""How long a host may take to begin with what it is to say again."""
_REDIAL_S: Final = 0.05
_log = structlog.get_logger("voice_gateway.hosts")


@dataclass(frozen=True, slots=True)
class HostedCallOptions:
    """`patience_s` without a host end a call. The caller then hears `apology`, audio of `apology_text`, where given."""

    form: AudioFormat
    output_bytes_per_s: int
    patience_s: float
    apology: bytes = b""
    apology_text: str = ""


class HostedConversation(Conversation):
    """Passes each call of the session on to the host there is, and keeps it for the next one; see `Continuity`."""

    def __init__(self, pool: HostPool, options: HostedCallOptions, emit: Emit, state: Mapping[str, Any] | None) -> None:
        super().__init__(emit)
        self._pool = pool
        self._options = options
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._session: SessionView | None = None
        self._continuity: Continuity | None = None
        self._link: HostLink | None = None
        self._host: Host | None = None
        self._left = asyncio.Event()
        self._attempt = 0
        self._epoch = 0
        self._lost_in_turn = 0
        self._enter_by: float | None = None
        """Until when a host must have taken the call; `None` while one has it."""
        self._repeat_by: float | None = None
        self._leaves_when_quiet = False
        self._is_attached = True
        self._checkpoints: dict[int, tuple[int, int]] = {}
        self._next_checkpoint = 1
        self._apologised = asyncio.Event()
        self._is_giving_up = False
        self._task: asyncio.Task[None] | None = None

    # What the session asks

    def opened(self, session: SessionView) -> None:
        self._session = session
        self._is_attached = session.is_attached()
        self._continuity = Continuity(session, self._state)
        self._task = self._loop.create_task(self._run())

    def saved(self, checkpoint: int) -> None:
        attempt, number = self._checkpoints.pop(checkpoint, (-1, 0))
        if attempt == self._attempt:
            self._send(CheckpointSaved(checkpoint=number))

    def played(self, played_ms: int) -> None:
        known_ms = None if self._is_giving_up else self._require().played(played_ms)
        if known_ms is not None:
            self._send(PlaybackProgress(played_ms=known_ms))

    def playback_finished(self, playback: PlaybackFinished) -> None:
        if self._is_giving_up:
            self._apologised.set()
            return
        known = self._require().playback_finished(playback)
        if known is not None:
            self._send(ReplyPlayed(text=known.text, played_ms=known.played_ms, is_interrupted=known.is_interrupted))
        self._leave_if_quiet()

    def greet(self) -> None:
        self._ask(AskGreet(id=self._new_id()))

    def greet_again(self) -> None:
        self._ask(AskGreet(id=self._new_id(), is_again=True))

    def hear(self, audio: UserAudio) -> None:
        """Give the frame to the host, and keep it until the host says that it is done with it."""
        continuity = self._require()
        continuity.frame(audio.sequence, audio.pcm)
        if self._link is not None:
            self._link.send(encode_frame(audio.sequence, audio.pcm, self._options.form))
        if continuity.is_full:
            self._fail("the agent host does not say which frames it is done with")

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
        self._drop_link()
        if self._task is not None:
            self._task.cancel()

    # What the pool asks

    def leave(self, cause: str) -> None:
        """Go on at another host."""
        host = self._host
        if host is None or self._link is None:
            return
        self._drop_link()
        self._pool.counters.lost[cause] += 1
        if cause in (HostState.DEAD, HostState.BLOCKED):
            self._lost_in_turn += 1
        _log.info("call_left_host", session=self._session_id, host=str(host.address), cause=cause, epoch=self._epoch)
        self._left.set()

    def leave_when_quiet(self) -> None:
        """Go on at another host, once neither side speaks and there is one."""
        self._leaves_when_quiet = True
        self._leave_if_quiet()

    def tick(self, now: float) -> None:
        """Tell the host whether the caller is there; wait no longer for what it was to say again."""
        session = self._session
        if session is not None and session.is_attached() is not self._is_attached:
            self._is_attached = session.is_attached()
            self._send(CallerAttached(is_attached=self._is_attached))
        if self._repeat_by is not None and now >= self._repeat_by:
            self._repeat_by = None
            self._emit_all(self._require().give_up_repeating())
        self._leave_if_quiet()

    # The life of the call

    async def _run(self) -> None:
        while not self.is_closed:
            last, self._host = self._host, None
            if self._lost_in_turn >= MOST_LOST_IN_A_TURN:
                await self._give_up(f"{self._lost_in_turn} agent hosts ended in the same turn")
                return
            if not await self._enter(last):
                await self._give_up(f"no agent host could take the call within {self._options.patience_s:g} s")
                return
            await self._left.wait()

    async def _enter(self, last: Host | None) -> bool:
        """Open the call at a host; false where there is none for too long."""
        if self._enter_by is None:
            self._enter_by = self._loop.time() + self._options.patience_s
        while (left_s := self._enter_by - self._loop.time()) > 0:
            host = await self._pool.choose(left_s, but=last)
            if host is None:
                return False
            host.calls.add(self)  # counts already for the calls that choose meanwhile
            try:
                link = await dial(host.address, self._pool.credentials(host))
            except asyncio.CancelledError:
                host.calls.discard(self)
                raise
            except (OSError, LinkRefused):
                host.calls.discard(self)
                self._pool.lost(host)
                last = host
                await asyncio.sleep(_REDIAL_S)
                continue
            self._open(host, link)
            return True
        return False

    def _open(self, host: Host, link: HostLink) -> None:
        continuity, session = self._require(), self._session
        self._attempt = next(self._pool.attempts)
        self._epoch = (1 if session is None else session.epoch) * ATTEMPTS_PER_EPOCH + self._attempt
        self._host, self._link = host, link
        self._left.clear()
        self._leaves_when_quiet = host.state is HostState.DRAINING
        first = [encode_control([continuity.opening(self._epoch)])]
        self._repeat_by = self._loop.time() + REPEAT_TIMEOUT_S
        for each in continuity.replay():
            if isinstance(each, tuple):
                first.append(encode_frame(*each, self._options.form))
            else:
                first.append(encode_control([each]))
        link.start(first, lambda raw: self._received(link, raw), lambda reason: self._link_lost(link, host))
        _log.debug("call_entered_host", session=self._session_id, host=str(host.address), epoch=self._epoch)

    def _link_lost(self, link: HostLink, host: Host) -> None:
        if link is self._link:
            self._pool.lost(host)
            self.leave(HostState.DEAD)

    def _received(self, link: HostLink, raw: bytes) -> None:
        if link is not self._link:  # an epoch that is over
            self._pool.counters.fenced += 1
            return
        messages = decode_from_host(raw, self._options.form)
        if isinstance(messages, Malformed):
            self._fail(f"the agent host breaks the protocol: {messages.reason}")
            return
        for message in messages:
            if link is not self._link:
                return
            match message:
                case Hello():
                    self._enter_by = None
                case Load():
                    pass
                case Handled(id=number):
                    self._require().handled(number)
                case Refused(reason=reason, is_final=is_final):
                    if is_final:
                        self._fail(f"the agent host refuses the call: {reason}")
                    else:
                        self._refused()
                case _:
                    self._emit_all(self._require().follow(self._numbered(message)))
        self._leave_if_quiet()

    def _refused(self) -> None:
        """The host goes away, which its load says a moment later: choose another one."""
        if self._host is not None:
            self._pool.lost(self._host)
        self.leave("refused")

    def _numbered(self, event: AgentEvent) -> AgentEvent:
        """Give each checkpoint a number that no host before has used."""
        if isinstance(event, FinalTranscript):
            self._lost_in_turn = 0
        if not isinstance(event, StateChanged) or event.checkpoint is None:
            return event
        number, self._next_checkpoint = self._next_checkpoint, self._next_checkpoint + 1
        self._checkpoints[number] = (self._attempt, event.checkpoint)
        return StateChanged(event.state, event.private_state, number, event.through_message)

    def _emit_all(self, events: Sequence[AgentEvent]) -> None:
        for event in events:
            self.emit(event)

    def _leave_if_quiet(self) -> None:
        if not self._leaves_when_quiet or self._link is None or not self._require().is_quiet:
            return
        if self._pool.best(but=self._host) is not None:
            self._leaves_when_quiet = False
            self.leave(HostState.DRAINING)

    async def _give_up(self, reason: str) -> None:
        self._is_giving_up = True
        self._pool.counters.given_up += 1
        options = self._options
        _log.error("call_given_up", session=self._session_id, reason=reason)
        self.emit(StopReply())
        if options.apology:
            self.emit(Reply(options.apology_text or "..."))
            self.emit(ReplyAudio(options.apology))
            self._apologised.clear()
            self.emit(ReplyEnded())
            try:
                async with asyncio.timeout(len(options.apology) / options.output_bytes_per_s + 3.0):
                    await self._apologised.wait()
            except TimeoutError:
                pass
        self.emit(AgentFailed(reason))

    def _fail(self, reason: str) -> None:
        self._drop_link()
        self.emit(AgentFailed(reason))

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if self._host is not None:
            self._host.calls.discard(self)
        if link is not None:
            link.close()

    def _ask(self, message: AskedMessage) -> None:
        self._require().asked(message)
        if self._link is not None:
            self._link.send(encode_control([message]))
        if self._require().is_full:
            self._fail("the agent host does not say which messages it has handled")

    def _send(self, message: FromWorker) -> None:
        if self._link is not None:
            self._link.send(encode_control([message]))

    @property
    def _session_id(self) -> str:
        return "" if self._session is None else self._session.session_id

    def _new_id(self) -> int:
        return self._require().new_id()

    def _require(self) -> Continuity:
        if self._continuity is None:
            raise RuntimeError("the conversation was not opened")
        return self._continuity
