"""One call that a vendor's voice agent holds: drives the vendor's part over the WebSocket, and emits agent events."""

from __future__ import annotations

import asyncio
from collections import deque
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
    ReplyText,
    SessionView,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.functions import Functions
from voice_gateway.agents.bridges.bridge.malformed import MalformedCounter, MalformedMessages
from voice_gateway.agents.bridges.bridge.spoken_items import SpokenItems
from voice_gateway.agents.bridges.bridge.uplink_audio import UplinkAudio
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
_MOST_HELD: Final = 20_000
_MOST_CUT_ITEMS: Final = 64
_MOST_WAITING: Final = 256
"""Typed turns and keys that wait for the vendor; more end the call."""
_FINISH_SILENCE_MS: Final = 1_500
_SENTENCE_ENDS: Final = (".", "?", "!")
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
    malformed: MalformedCounter = field(default_factory=MalformedCounter)


@dataclass(slots=True)
class _Wanted:
    """What the vendor is to do once it is free: say or read `text`, or answer where there is none.

    What `is_read` the caller typed, or pressed (`is_digit`). `made_bytes` of its audio went out; `skip_bytes` of them
    when a session was lost, and are not said again.
    """

    text: str | None = None
    is_read: bool = False
    is_digit: bool = False
    is_in_history: bool = False
    made_bytes: int = 0
    skip_bytes: int = 0


class BridgeConversation(Conversation, UpstreamHandler):
    """Sessions at the vendor come and go; turns, journal and unreleased audio stay, and each new session is given them.

    A turn is pending, and saved with its words as such, until the vendor's answer to it is whole.
    """

    def __init__(self, bridge: Bridge, emit: Emit, state: Mapping[str, Any] | None) -> None:
        super().__init__(emit)
        self._bridge = bridge
        self._times = bridge.times
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
        self._renew_at: float | None = None
        self._forced_at: float | None = None
        self._is_caller_speaking = False
        self._has_partial = False
        """Whether words came that belong to no turn yet."""
        self._awaited: deque[int | None] = deque()
        """Where the turns of the caller ended that have no words yet."""
        self._missed = 0
        """Turns whose words may still come, and are too late."""
        self._words_timer: asyncio.TimerHandle | None = None
        self._held: deque[VendorEvent] = deque()
        self._is_answering = False
        self._is_turn_pending = False
        self._item: str | None = None
        """The item whose reply has begun and not ended."""
        self._texts: dict[str, str] = {}
        self._cut_items: deque[str] = deque(maxlen=_MOST_CUT_ITEMS)
        self._wanted: deque[_Wanted] = deque()
        self._saying: _Wanted | None = None
        self._tools: set[asyncio.Task[None]] = set()
        self._finishing: asyncio.Task[None] | None = None
        self._failing: asyncio.Task[None] | None = None
        self._malformed = MalformedMessages(vendor.name, bridge.malformed)
        self._upstream = Upstream(vendor, bridge.target, self, bridge.times.upstream)
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
            self._wanted.append(_Wanted())

    def saved(self, checkpoint: int) -> None:
        self._progress.saved(checkpoint)

    def greet(self) -> None:
        """Say the greeting, unless the call is under way."""
        is_new = self._view is None or not (self._view.turn or self._view.transcript())
        if is_new and self._bridge.greeting:
            self._want(_Wanted(self._bridge.greeting))

    def greet_again(self) -> None:
        """Ask for what was lost, unless an answer is due anyway."""
        if not self._is_turn_pending and self._bridge.asks_again:
            self._want(_Wanted(self._bridge.asks_again))

    def hear(self, audio: UserAudio) -> None:
        self._audio.push(audio)
        if self._is_ready:
            self._upstream.send(self._session.hear(audio.pcm))
        elif self._audio.is_full:
            self._fail(f"{self._bridge.vendor.name} was away while the caller spoke for {_UPLINK_S:g} s")

    def pressed(self, digit: str) -> None:
        """Stop what is being said, and give the key to the vendor as a turn of text."""
        self._take_text(_Wanted(digit, is_read=True, is_digit=True))

    def text_received(self, text: UserText) -> None:
        """Stop what is being said, and give the text to the vendor as a turn; the message is acknowledged with it."""
        self._take_text(_Wanted(text.text, is_read=True), text.number)

    def interrupted(self, played_ms: int) -> None:
        self._cut_reply()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        for cut in self._spoken.finished(playback):
            self._upstream.send(self._session.cut_off(cut.item_id, cut.played_ms))
        self._changes.notify()

    def say_again(self, text: str) -> None:
        """Say it from what is kept of it, or let the vendor say the text once more."""
        item, is_open = self._item, self._item is not None
        audio = self._spoken.again(text)
        if audio is None:
            if is_open:
                self._cut_reply()
                self._upstream.send(self._session.cancel())
            self._wanted.appendleft(_Wanted(text, is_in_history=True))
            self._advance()
            return
        self.emit(Reply(text))
        self.emit(ReplyAudio(audio))
        if is_open:
            self._item = item
        else:
            self.emit(ReplyEnded())

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
        if self._words_timer is not None:
            self._words_timer.cancel()

    # The vendor's side.

    def on_open(self) -> list[Message]:
        """Configure a new session and replay the history to it."""
        self._session_number += 1
        self._cut_items.clear()
        self._answer_what_the_history_holds()
        previous, self._session = self._session, self._bridge.vendor.session(self._bridge.functions.schemas)
        if not self._malformed.has_broken_session:
            self._session.follows(previous)
        self._malformed.session_opened()
        lines = () if self._view is None else self._view.transcript()
        history = [Said(line.role == "user", line.text) for line in lines if line.text]
        return self._session.opened(history[-_MOST_HISTORY_LINES:])

    def on_message(self, message: Message) -> None:
        """Take a message; what belongs to an answer is held back until the words that it answers are saved."""
        events = self._malformed.read(self._session, message)
        if events is None:
            self._session_is_broken()
            return
        for event in events:
            is_answer = isinstance(event, ItemText | ItemAudio | ItemEnded | ToolRequested | Answered)
            if is_answer and self._awaited and not (isinstance(event, ItemAudio) and event.is_verbatim):
                self._held.append(event)
                if len(self._held) > _MOST_HELD:
                    self._words_missed()
            else:
                self._follow(event)
            if self.is_closed:
                return
        self._advance()

    def on_malformed(self, kind: str) -> None:
        self._malformed.found(kind)
        self._session_is_broken()

    def on_lost(self, reason: str) -> None:
        """Begin again what was not finished, in the session that follows."""
        self._is_ready = self._is_answering = self._is_caller_speaking = self._has_partial = False
        self._renew_at = self._forced_at = None
        self._forget_awaited()
        saying, self._saying = self._saying, None
        if saying is not None:
            saying.skip_bytes = saying.made_bytes
            self._wanted.appendleft(saying)
        elif self._item is not None:
            self._stop_reply()
        self._texts.clear()
        if self._is_turn_pending:
            self._progress.steps.begin(self._progress.steps.turn)
            if not self._has_unanswered:
                self._wanted.append(_Wanted())
        self._changes.notify()

    def on_failed(self, sentence: str) -> None:
        self._fail(sentence)

    def position_ms(self) -> float:
        return self._audio.position_ms

    def on_received(self, position_ms: float) -> None:
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
        is_due = self._renew_at is not None and now >= self._renew_at and self._is_quiet
        if is_due or (self._forced_at is not None and now >= self._forced_at):
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
                now = asyncio.get_running_loop().time()
                self._renew_at, self._forced_at = now, now + max(0.0, within_s - self._times.forced_s)
            case SessionLost(reason):
                self._upstream.end(reason)
            case VendorFailed(reason):
                self._fail(reason)

    def _ready(self, lasts_s: float | None) -> None:
        self._is_ready = True
        self._upstream.established()
        if lasts_s is not None:
            now = asyncio.get_running_loop().time()
            self._forced_at = now + max(lasts_s / 2, lasts_s - self._times.forced_s)
            self._renew_at = min(self._forced_at, now + max(lasts_s / 2, lasts_s - self._times.margin_s))
        _log.info("bridge_session_ready", vendor=self._bridge.vendor.name, number=self._session_number)
        self._received_ms = 0.0
        self._received.clear()
        for audio in self._audio.restart():
            self._upstream.send(self._session.hear(audio))

    def _caller_started(self, audio_ms: int | None) -> None:
        self._is_caller_speaking = True
        self._wanted = deque(each for each in self._wanted if each.is_read)
        self._saying = None
        self._held = deque(each for each in self._held if isinstance(each, ToolRequested | Answered))
        self._reword()
        self.emit(UserStartedSpeaking(self._audio.first_at(audio_ms)))
        self._cut_reply()

    def _caller_stopped(self, audio_ms: int | None) -> None:
        self._is_caller_speaking = False
        self._awaited.append(audio_ms)
        self.emit(UserStoppedSpeaking(max(0, self._audio.last_at(audio_ms))))
        self._wait_for_words()

    def _wait_for_words(self) -> None:
        if self._words_timer is not None:
            self._words_timer.cancel()
            self._words_timer = None
        if self._awaited:
            loop = asyncio.get_running_loop()
            self._words_timer = loop.call_later(self._times.words_s, self._words_missed)

    def _words_missed(self) -> None:
        self._missed += 1
        self._words(NOT_TRANSCRIBED, self._awaited[0])
        self._advance()

    def _words_came(self, text: str, audio_ms: int | None) -> None:
        if self._missed:
            self._missed -= 1
            self._has_partial = False
        else:
            self._words(text, audio_ms)

    def _words(self, text: str, audio_ms: int | None) -> None:
        self._has_partial = False
        if self._awaited:
            self._awaited.popleft()
        else:
            self._is_caller_speaking = False  # the vendor reports no end of speech
        self._wait_for_words()
        through = self._audio.last_at(audio_ms)
        if text:
            self._begin_turn(text, through)
        elif not (self._awaited or self._is_caller_speaking):
            self._release(through)
        held, self._held = self._held, deque()
        for event in held:
            self._follow(event)

    def _take_text(self, wanted: _Wanted, through_message: int | None = None) -> None:
        if sum(each.is_read for each in self._wanted) >= _MOST_WAITING:
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
        if item_id in self._cut_items or self._saying is not None:
            return
        self._texts[item_id] = text
        if text.rstrip().endswith(_SENTENCE_ENDS):
            self._reword()

    def _reword(self) -> None:
        """Let the session know the words of the reply; each time costs it a save, so sentence by sentence."""
        text = None if self._item is None else self._texts.get(self._item)
        if text is not None and self._spoken.reword(text):
            self.emit(ReplyText(text))

    def _item_audio(self, item_id: str, audio: bytes, is_verbatim: bool) -> None:
        if item_id in self._cut_items or (is_verbatim and self._saying is None):
            return  # the caller spoke
        saying = self._saying if is_verbatim else None
        if saying is not None:
            skipped = min(saying.skip_bytes, len(audio))
            saying.skip_bytes -= skipped
            audio = audio[skipped:]
            saying.made_bytes += len(audio)
            self._item = item_id if self._item is not None else None
        if self._item != item_id:
            self._end_reply()
            text = self._texts.get(item_id, "") if saying is None else saying.text or ""
            self._item = item_id
            self.emit(Reply(text))
            self._spoken.begin(item_id, text)
        if audio:
            self._spoken.add(audio)
            self.emit(ReplyAudio(audio))

    def _item_ended(self, item_id: str) -> None:
        if self._item == item_id:
            self._saying = None
            self._end_reply()
        self._texts.pop(item_id, None)

    def _end_reply(self) -> None:
        if self._item is not None:
            self._reword()
            self._item = None
            self.emit(ReplyEnded())
            self._changes.notify()

    def _cut_reply(self) -> None:
        """Nothing more is said of the item in progress."""
        if self._item is not None:
            self._cut_items.append(self._item)
            self._item = None
        self._saying = None
        self._changes.notify()

    def _stop_reply(self) -> None:
        """Stop what is being said because of us."""
        is_made = self._item is not None or self._is_answering
        self._reword()
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
        self._end_reply()
        if is_verbatim:
            self._saying = None
        elif not is_cut and not self._tools and not self._has_unanswered:
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

    def _want(self, wanted: _Wanted) -> None:
        self._wanted.append(wanted)
        self._advance()

    def _advance(self) -> None:
        """Let the vendor do what is wanted next, once it and the caller are quiet."""
        is_free = not (self._is_answering or self._is_caller_speaking or self._awaited or self._tools)
        if self.is_closed or not (self._is_ready and is_free and self._wanted):
            return
        wanted = self._wanted.popleft()
        if wanted.text is None:
            messages: list[Message] | None = self._session.answer()
        elif wanted.is_read:
            messages = self._session.press(wanted.text) if wanted.is_digit else self._session.read(wanted.text)
        else:
            messages = self._session.say(wanted.text, is_in_history=wanted.is_in_history)
            self._saying = None if messages is None else wanted
        if messages:
            self._is_answering = True
            self._upstream.send(messages)
        else:
            self._advance()
        self._changes.notify()

    @property
    def _has_unanswered(self) -> bool:
        """Whether the vendor was not yet asked to answer the newest turn."""
        return any(each.is_read or each.text is None for each in self._wanted)

    def _answer_what_the_history_holds(self) -> None:
        """A new session is given typed turns with its history: none is read to it again, and one answer is wanted."""
        if any(each.is_read for each in self._wanted):
            self._wanted = deque(each for each in self._wanted if each.text is not None and not each.is_read)
            self._wanted.append(_Wanted())

    @property
    def _is_idle(self) -> bool:
        is_making = self._is_answering or self._item is not None or self._tools or self._wanted
        return self._is_ready and not (is_making or self._is_caller_speaking or self._has_partial or self._awaited)

    @property
    def _is_quiet(self) -> bool:
        return self._is_idle and not self._spoken.is_outstanding

    def _forget_awaited(self) -> None:
        self._awaited.clear()
        self._missed = 0
        self._held.clear()
        self._wait_for_words()

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
