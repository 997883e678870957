"""One call that a vendor's voice agent holds: drives the vendor's part over the WebSocket, and emits agent events."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import (
    AgentFailed,
    AudioFormat,
    Conversation,
    Emit,
    Finished,
    NoSpeechUpTo,
    PartialTranscript,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SessionView,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.awaited_words import AwaitedWords
from voice_gateway.agents.bridges.bridge.call.functions import Functions
from voice_gateway.agents.bridges.bridge.call.renewal import Renewal
from voice_gateway.agents.bridges.bridge.call.reply import ReplyInProgress
from voice_gateway.agents.bridges.bridge.call.spoken_items import SpokenItems
from voice_gateway.agents.bridges.bridge.call.uplink_audio import UplinkAudio
from voice_gateway.agents.bridges.bridge.call.wanted import Wanted, WantedQueue
from voice_gateway.agents.bridges.bridge.malformed import MalformedMessages
from voice_gateway.agents.bridges.bridge.upstream import Upstream, UpstreamHandler, UpstreamTimes
from voice_gateway.agents.bridges.bridge.vendor import (
    Answered,
    Answering,
    CallerStarted,
    CallerStopped,
    Ending,
    ItemAudio,
    ItemEnded,
    ItemText,
    Message,
    PartialWords,
    Ready,
    Said,
    SessionLost,
    Target,
    ToolRequested,
    ToVendor,
    Vendor,
    VendorEvent,
    VendorFailed,
    VendorSession,
    Words,
)

_LOOKBACK_S: Final = 1.0
"""How late the vendor may report that speech began, after it has the audio."""
_UPLINK_S: Final = 120.0
"""How much of the caller's audio is kept for a vendor that is away."""
_MOST_HISTORY_LINES: Final = 200
_MOST_WAITING: Final = 256
"""Typed turns and keys that wait for the vendor; more end the call."""
_FINISH_SILENCE_MS: Final = 1_500
_FINISH_QUIET_S: Final = 0.3
_FINISH_POLL_S: Final = 0.05
_PLAYOUT_GRACE_S: Final = 3.0
NOT_TRANSCRIBED: Final = "(not transcribed)"
_log = structlog.get_logger("voice_gateway.agents.bridges")


@dataclass(frozen=True, slots=True)
class BridgeTimes:
    """When a bridge stops waiting.

    A session is replaced at a quiet moment from `margin_s` before its end, at the latest `forced_s` before. An answer
    waits `words_s` for the words of its turn.
    """

    upstream: UpstreamTimes = field(default_factory=UpstreamTimes)
    margin_s: float = 300.0
    forced_s: float = 20.0
    words_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the calls of one bridge share."""

    vendor: Vendor
    target: Target
    functions: Functions
    apology: Apology
    greeting: str = ""
    asks_again: str = ""
    times: BridgeTimes = field(default_factory=BridgeTimes)
    malformed: Counter[str] = field(default_factory=Counter)


class BridgeConversation(Conversation):
    """Sessions at the vendor come and go; turns, journal and unreleased audio stay, and each new session is given them.

    A turn is pending, and saved with its words as such, until the vendor's answer to it is whole.
    """

    def __init__(self, bridge: Bridge, emit: Emit, state: Mapping[str, Any] | None) -> None:
        super().__init__(emit)
        self._bridge = bridge
        vendor = bridge.vendor
        sample_bytes = 1 if vendor.audio_format is AudioFormat.PCMU else 2
        self._silence = b"\xff" if sample_bytes == 1 else b"\0\0"
        self._input_bytes_per_ms = vendor.input_rate_hz * sample_bytes / 1000
        self._output_bytes_per_ms = vendor.output_rate_hz * sample_bytes / 1000
        self._changes = Changes()
        self._progress = Progress(self.emit, self._changes, state)
        self._audio = UplinkAudio(self._input_bytes_per_ms, _UPLINK_S)
        self._spoken = SpokenItems(self._output_bytes_per_ms)
        self._session: VendorSession = vendor.session(bridge.functions.schemas)
        self._session_number = 0
        self._view: SessionView | None = None
        self._is_ready = False
        self._received_ms = 0.0
        """How much of the caller's audio the session has for certain."""
        self._received: deque[tuple[float, float]] = deque()
        """When that became known, and how much it was, since `_LOOKBACK_S` ago."""
        self._renewal = Renewal(bridge.times.margin_s, bridge.times.forced_s)
        self._is_caller_speaking = False
        self._has_partial = False
        """Whether words came that belong to no turn yet."""
        self._awaited = AwaitedWords(bridge.times.words_s, self._words_missed)
        self._is_answering = False
        self._is_turn_pending = False
        self._reply = ReplyInProgress(self.emit, self._changes, self._spoken)
        self._wanted = WantedQueue()
        self._tools: set[asyncio.Task[None]] = set()
        self._finishing: asyncio.Task[None] | None = None
        self._failing: asyncio.Task[None] | None = None
        self._malformed = MalformedMessages(vendor.name, bridge.malformed)
        handler = UpstreamHandler(
            on_open=self._on_open,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_lost=self._on_lost,
            on_failed=self._fail,
            position_ms=lambda: self._audio.position_ms,
            on_received=self._on_received,
        )
        self._upstream = Upstream(vendor, bridge.target, handler, bridge.times.upstream)
        self._task = asyncio.get_running_loop().create_task(self._upstream.run())

    @property
    def task(self) -> asyncio.Task[None]:
        """Runs until the call is over."""
        return self._task

    # The session's side.

    def opened(self, session: SessionView) -> None:
        self._view = session
        self._progress.restore(session)
        while self._progress.has_pending:
            self._progress.end_turn()
            self._progress.take_turn()
            self._is_turn_pending = True
        if self._is_turn_pending:
            self._wanted.add(Wanted())

    def saved(self, checkpoint: int) -> None:
        self._progress.saved(checkpoint)

    def greet(self) -> None:
        """Say the greeting, unless the call is under way."""
        is_new = self._view is None or not (self._view.turn or self._view.transcript())
        if is_new and self._bridge.greeting:
            self._want(Wanted(self._bridge.greeting))

    def greet_again(self) -> None:
        """Ask for what was lost, unless an answer is due anyway."""
        if not self._is_turn_pending and self._bridge.asks_again:
            self._want(Wanted(self._bridge.asks_again))

    def hear(self, audio: UserAudio) -> None:
        self._audio.push(audio)
        if self._is_ready:
            self._upstream.send(self._session.hear(audio.pcm))
        elif self._audio.is_full:
            self._fail(f"{self._bridge.vendor.name} was away while the caller spoke for {_UPLINK_S:g} s")

    def pressed(self, digit: str) -> None:
        """Stop what is being said, and give the key to the vendor as a turn of text."""
        self._take_text(Wanted(digit, is_read=True, is_digit=True))

    def text_received(self, text: UserText) -> None:
        """Stop what is being said, and give the text to the vendor as a turn; the message is acknowledged with it."""
        self._take_text(Wanted(text.text, is_read=True), text.number)

    def interrupted(self, played_ms: int) -> None:
        self._cut_reply()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        for cut in self._spoken.finished(playback):
            self._upstream.send(self._session.cut_off(cut.item_id, cut.played_ms))
        self._changes.notify()

    def say_again(self, text: str) -> None:
        """Say it from what is kept of it, or let the vendor say the text once more."""
        if self._reply.again(text):
            return
        if self._reply.is_open:
            self._cut_reply()
            self._upstream.send(self._session.cancel())
        self._wanted.add_first(Wanted(text, is_in_history=True))
        self._advance()

    def finish(self) -> None:
        """Let silence follow, so that the vendor ends a pending turn; emit `Finished` once all is answered."""
        if not self.is_closed and (self._finishing is None or self._finishing.done()):
            self._finishing = asyncio.get_running_loop().create_task(self._finish())

    def close(self) -> None:
        """End the session at the vendor, and the tools that run."""
        super().close()
        for task in (self._task, self._finishing, self._failing, *self._tools):
            if task is not None:
                task.cancel()
        self._awaited.close()

    # The vendor's side.

    def _on_open(self) -> list[Message]:
        """Configure a new session and replay the history to it."""
        self._session_number += 1
        self._reply.session_opened()
        self._wanted.session_opened()
        previous, self._session = self._session, self._bridge.vendor.session(self._bridge.functions.schemas)
        if not self._malformed.has_broken_session:
            self._session.follows(previous)
        self._malformed.session_opened()
        lines = () if self._view is None else self._view.transcript()
        history = [Said(line.role == "user", line.text) for line in lines if line.text]
        return self._session.opened(history[-_MOST_HISTORY_LINES:])

    def _on_message(self, message: Message) -> None:
        """Take a message; what belongs to an answer is held back until the words that it answers are saved."""
        events = self._malformed.read(self._session, message)
        if events is None:
            self._session_is_broken()
            return
        for event in events:
            is_answer = isinstance(event, ItemText | ItemAudio | ItemEnded | ToolRequested | Answered)
            if is_answer and self._awaited and not (isinstance(event, ItemAudio) and event.is_verbatim):
                self._awaited.hold(event)
            else:
                self._follow(event)
            if self.is_closed:
                return
        self._advance()

    def _on_malformed(self, kind: str) -> None:
        self._malformed.found(kind)
        self._session_is_broken()

    def _on_lost(self, reason: str) -> None:
        """Begin again what was not finished, in the session that follows."""
        self._is_ready = self._is_answering = self._is_caller_speaking = self._has_partial = False
        self._renewal.lost()
        self._awaited.forget()
        if self._wanted.saying is None and self._reply.is_open:
            self._stop_reply()
        self._reply.session_lost()
        if self._is_turn_pending:
            self._progress.steps.begin(self._progress.steps.turn)
        self._wanted.session_lost(is_turn_pending=self._is_turn_pending)
        self._changes.notify()

    def _on_received(self, position_ms: float) -> None:
        """Release the audio in which no speech can begin any more; cross the session's end where it is near."""
        if not self._is_ready:
            return
        self._received_ms = position_ms
        self._changes.notify()
        hears_speech = self._session.hears_speech()
        if hears_speech is False and (self._is_caller_speaking or self._has_partial):
            self._is_caller_speaking = self._has_partial = False
            self._advance()
        now = asyncio.get_running_loop().time()
        self._received.append((now, position_ms))
        while self._received[0][0] <= now - _LOOKBACK_S:
            settled_ms = self._received.popleft()[1]
            if not (self._is_caller_speaking or self._awaited or self._has_partial or hears_speech):
                self._release(self._audio.last_at(settled_ms - self._bridge.vendor.lookback_ms))
        self._upstream.send(self._session.keep_alive())
        if self._renewal.is_due(now, is_quiet=self._is_quiet):
            self._upstream.end("its time is over")

    def _follow(self, event: VendorEvent) -> None:
        match event:
            case Ready(lasts_s):
                self._ready(lasts_s)
            case ToVendor(message):
                self._upstream.send([message])
            case CallerStarted(audio_ms):
                self._caller_started(audio_ms)
            case CallerStopped(audio_ms):
                self._caller_stopped(audio_ms)
            case PartialWords(text):
                self._has_partial = True
                self.emit(PartialTranscript(text))
            case Words(text, audio_ms):
                self._words_came(text, audio_ms)
            case Answering():
                self._is_answering = True
            case ItemText(item_id, text):
                self._item_text(item_id, text)
            case ItemAudio(item_id, audio, is_verbatim):
                self._item_audio(item_id, audio, is_verbatim)
            case ItemEnded(item_id):
                self._item_ended(item_id)
            case ToolRequested():
                self._start_tool(event)
            case Answered(is_verbatim, is_cut):
                self._answered(is_verbatim, is_cut)
            case Ending(within_s):
                self._renewal.ending(asyncio.get_running_loop().time(), within_s)
            case SessionLost(reason):
                self._upstream.end(reason)
            case VendorFailed(reason):
                self._fail(reason)

    def _ready(self, lasts_s: float | None) -> None:
        self._is_ready = True
        self._upstream.established()
        self._renewal.ready(asyncio.get_running_loop().time(), lasts_s)
        _log.info("bridge_session_ready", vendor=self._bridge.vendor.name, number=self._session_number)
        self._received_ms = 0.0
        self._received.clear()
        for audio in self._audio.restart():
            self._upstream.send(self._session.hear(audio))

    def _caller_started(self, audio_ms: int | None) -> None:
        self._is_caller_speaking = True
        self._wanted.caller_started()
        self._awaited.drop_speech()
        self._reply.reword()
        self.emit(UserStartedSpeaking(self._audio.first_at(audio_ms)))
        self._cut_reply()

    def _caller_stopped(self, audio_ms: int | None) -> None:
        self._is_caller_speaking = False
        self._awaited.turn_ended(audio_ms)
        self.emit(UserStoppedSpeaking(max(0, self._audio.last_at(audio_ms))))

    def _words_missed(self) -> None:
        self._awaited.missed()
        self._words(NOT_TRANSCRIBED, self._awaited.oldest_end)
        self._advance()

    def _words_came(self, text: str, audio_ms: int | None) -> None:
        if self._awaited.are_late():
            self._has_partial = False
        else:
            self._words(text, audio_ms)

    def _words(self, text: str, audio_ms: int | None) -> None:
        self._has_partial = False
        if not self._awaited.came():
            self._is_caller_speaking = False  # the vendor reports no end of speech
        through = self._audio.last_at(audio_ms)
        if text:
            self._begin_turn(text, through)
        elif not (self._awaited or self._is_caller_speaking):
            self._release(through)
        for event in self._awaited.take_held():
            self._follow(event)

    def _take_text(self, wanted: Wanted, through_message: int | None = None) -> None:
        if self._wanted.read_count >= _MOST_WAITING:
            self._fail(f"{_MOST_WAITING} typed turns wait for {self._bridge.vendor.name}")
            return
        self._stop_reply()
        self._begin_turn(
            wanted.text or "",
            self._audio.released,
            is_digit=wanted.is_digit,
            is_text=not wanted.is_digit,
            through_message=through_message,
        )
        self._want(wanted)

    def _begin_turn(
        self,
        text: str,
        through_sequence: int,
        *,
        is_digit: bool = False,
        is_text: bool = False,
        through_message: int | None = None,
    ) -> None:
        self._progress.end_turn()
        self._audio.release(through_sequence)
        self._progress.understood(
            text, self._audio.released, is_digit=is_digit, is_text=is_text, through_message=through_message
        )
        self._progress.take_turn()
        self._is_turn_pending = True

    def _release(self, sequence: int) -> None:
        if sequence > self._audio.released:
            self._audio.release(sequence)
            self.emit(NoSpeechUpTo(sequence))

    def _item_text(self, item_id: str, text: str) -> None:
        if not self._reply.is_cut(item_id) and self._wanted.saying is None:
            self._reply.text(item_id, text)

    def _item_audio(self, item_id: str, audio: bytes, is_verbatim: bool) -> None:
        if self._reply.is_cut(item_id) or (is_verbatim and self._wanted.saying is None):
            return  # the caller spoke
        self._reply.audio(item_id, audio, self._wanted.saying if is_verbatim else None)

    def _item_ended(self, item_id: str) -> None:
        if self._reply.item_ended(item_id):
            self._wanted.saying = None

    def _cut_reply(self) -> None:
        """Nothing more is said of the item in progress."""
        self._wanted.saying = None
        self._reply.cut()

    def _stop_reply(self) -> None:
        """Stop what is being said because of us."""
        is_made = self._reply.is_open or self._is_answering
        self._reply.reword()
        self.emit(StopReply())
        self._cut_reply()
        if is_made and self._is_ready:
            self._upstream.send(self._session.cancel())

    def _session_is_broken(self) -> None:
        """End the session, which another one follows; or the call, where those before it ended so, too."""
        failure = self._malformed.failure
        if failure is not None:
            self._fail(failure)
        else:
            self._upstream.end("sent a malformed message")

    def _answered(self, is_verbatim: bool, is_cut: bool) -> None:
        self._is_answering = False
        if not is_cut:
            self._malformed.answered()
        self._reply.end()
        if is_verbatim:
            self._wanted.saying = None
        elif not is_cut and not self._tools and not self._wanted.has_unanswered:
            self._is_turn_pending = False
            self._progress.commit()
        elif is_cut and self._is_caller_speaking:
            self._is_turn_pending = False  # another session need not answer what the caller did not want
        self._changes.notify()

    def _start_tool(self, request: ToolRequested) -> None:
        task = asyncio.get_running_loop().create_task(self._run_tool(request, self._session_number))
        self._tools.add(task)
        task.add_done_callback(self._tool_ended)

    async def _run_tool(self, request: ToolRequested, session_number: int) -> None:
        output = await self._bridge.functions.call(self._progress.steps, request.name, request.arguments)
        if session_number == self._session_number and self._is_ready:
            self._upstream.send(self._session.tool_returned(request.call_id, output))

    def _tool_ended(self, task: asyncio.Task[None]) -> None:
        self._tools.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(f"a tool could not be journalled: {type(task.exception()).__name__}")
        self._changes.notify()
        self._advance()

    def _want(self, wanted: Wanted) -> None:
        self._wanted.add(wanted)
        self._advance()

    def _advance(self) -> None:
        """Let the vendor do what is wanted next, once it and the caller are quiet."""
        is_free = not (self._is_answering or self._is_caller_speaking or self._awaited or self._tools)
        if self.is_closed or not (self._is_ready and is_free and self._wanted):
            return
        wanted = self._wanted.next()
        if wanted.text is None:
            messages: list[Message] | None = self._session.answer()
        elif wanted.is_read:
            messages = self._session.press(wanted.text) if wanted.is_digit else self._session.read(wanted.text)
        else:
            messages = self._session.say(wanted.text, is_in_history=wanted.is_in_history)
            self._wanted.saying = None if messages is None else wanted
        if messages:
            self._is_answering = True
            self._upstream.send(messages)
        else:
            self._advance()
        self._changes.notify()

    @property
    def _is_idle(self) -> bool:
        is_making = self._is_answering or self._reply.is_open or self._tools or self._wanted
        return self._is_ready and not (is_making or self._is_caller_speaking or self._has_partial or self._awaited)

    @property
    def _is_quiet(self) -> bool:
        return self._is_idle and not self._spoken.is_outstanding

    async def _finish(self) -> None:
        """Give silence as a caller would, faster than in real time, until nothing is pending."""
        padded = 0
        padded_ms = 0.0
        silence = self._silence * round(_FINISH_SILENCE_MS * self._input_bytes_per_ms / len(self._silence))
        while True:
            if self._is_ready and padded != self._session_number and self._audio.newest >= 0:
                padded = self._session_number
                self._audio.pad(silence)
                self._upstream.send(self._session.hear(silence))
                padded_ms = self._audio.position_ms
                self._upstream.probe()
            await self._changes.until(lambda: self._is_idle, 1.0)
            has_all = self._audio.newest < 0 or (padded == self._session_number and self._received_ms >= padded_ms)
            if self._is_idle and has_all:
                await asyncio.sleep(_FINISH_QUIET_S)
                if self._is_idle and padded in (0, self._session_number):
                    break
            elif self._is_idle:
                await asyncio.sleep(_FINISH_POLL_S)
        self._finishing = None
        self.emit(Finished())

    def _fail(self, sentence: str) -> None:
        if self._failing is None and not self.is_closed:
            _log.error("bridge_failed", vendor=self._bridge.vendor.name, reason=sentence)
            self._is_ready = False
            self._task.cancel()
            self._failing = asyncio.get_running_loop().create_task(self._apologise(sentence))

    async def _apologise(self, sentence: str) -> None:
        """Let the caller hear the apology, and end the session."""
        apology = self._bridge.apology
        self.emit(StopReply())
        self._cut_reply()
        if apology.audio:
            self.emit(Reply(apology.text))
            self._spoken.begin("apology", apology.text)
            self.emit(ReplyAudio(apology.audio))
            self.emit(ReplyEnded())
            played_s = len(apology.audio) / self._output_bytes_per_ms / 1000
            await self._changes.until(lambda: not self._spoken.is_outstanding, played_s + _PLAYOUT_GRACE_S)
        self.emit(AgentFailed(sentence))
