"""One call that a vendor's voice agent holds: hands each event to the part of the call that it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from voice_gateway.agent.base import Conversation, Emit, PlaybackFinished, SessionView, UserAudio, UserText
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.failure import BridgeFailure
from voice_gateway.agents.bridges.bridge.call.finish import SILENCE_MS, BridgeFinish
from voice_gateway.agents.bridges.bridge.call.hearing.awaited_words import AwaitedWords
from voice_gateway.agents.bridges.bridge.call.hearing.caller_speech import CallerSpeech
from voice_gateway.agents.bridges.bridge.call.hearing.uplink_audio import UplinkAudio
from voice_gateway.agents.bridges.bridge.call.session.current_session import CurrentSession
from voice_gateway.agents.bridges.bridge.call.speaking.answers import Answers
from voice_gateway.agents.bridges.bridge.call.speaking.reply import ReplyInProgress
from voice_gateway.agents.bridges.bridge.call.speaking.spoken_items import SpokenItems
from voice_gateway.agents.bridges.bridge.call.speaking.wanted import Wanted
from voice_gateway.agents.bridges.bridge.call.tools import BridgeTools
from voice_gateway.agents.bridges.bridge.call.turns import BridgeTurns
from voice_gateway.agents.bridges.bridge.options import Bridge
from voice_gateway.agents.bridges.bridge.upstream import UpstreamHandler
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
    ToolRequested,
    ToVendor,
    VendorEvent,
    VendorFailed,
    Words,
)

_UPLINK_S: Final = 120.0
"""How much of the caller's audio is kept for a vendor that is away."""
_MOST_HISTORY_LINES: Final = 200
_MOST_WAITING: Final = 256
"""Typed turns and keys that wait for the vendor; more end the call."""


class BridgeConversation(Conversation):
    """Sessions at the vendor come and go; turns, journal and unreleased audio stay, and each new session is given them.

    A turn is pending, and saved with its words as such, until the vendor's answer to it is whole.
    """

    def __init__(self, bridge: Bridge, emit: Emit, state: Mapping[str, Any] | None) -> None:
        super().__init__(emit)
        self._bridge = bridge
        self._view: SessionView | None = None
        self._changes = Changes()
        self._progress = Progress(self.emit, self._changes, state)
        self._audio = UplinkAudio(bridge.input_bytes_per_ms, _UPLINK_S)
        self._spoken = SpokenItems(bridge.output_bytes_per_ms)
        self._turns = BridgeTurns(self._progress, self._audio)
        self._awaited = AwaitedWords(bridge.times.words_s, self._words_missed)
        self._speech = CallerSpeech(self.emit, self._audio, self._awaited, self._turns, bridge.vendor.lookback_ms)
        handler = UpstreamHandler(
            on_open=self._on_open,
            on_message=self._on_message,
            on_malformed=self._on_malformed,
            on_lost=self._on_lost,
            on_failed=self._fail,
            position_ms=lambda: self._audio.position_ms,
            on_received=self._on_received,
        )
        self._current = current = CurrentSession(bridge, handler)
        self._tools = BridgeTools(bridge.functions, self._turns, current, self._tool_ended, self._fail)
        reply = ReplyInProgress(self.emit, self._changes, self._spoken)
        self._answers = Answers(self.emit, self._changes, current, self._speech, self._turns, self._tools, reply)
        self._finish = BridgeFinish(
            self.emit, self._changes, current, self._audio, self._speech, self._answers, bridge.silence(SILENCE_MS)
        )
        self._failure = BridgeFailure(self.emit, bridge, current, self._answers)

    @property
    def task(self) -> asyncio.Task[None]:
        """Runs until the call is over."""
        return self._current.task

    # The session's side.

    def opened(self, session: SessionView) -> None:
        self._view = session
        self._turns.restore(session)
        if self._turns.is_pending:
            self._answers.want(Wanted())

    def saved(self, checkpoint: int) -> None:
        self._progress.saved(checkpoint)

    def greet(self) -> None:
        """Say the greeting, unless the call is under way."""
        is_new = self._view is None or not (self._view.turn or self._view.transcript())
        if is_new and self._bridge.greeting:
            self._answers.want(Wanted(self._bridge.greeting))

    def greet_again(self) -> None:
        """Ask for what was lost, unless an answer is due anyway."""
        if not self._turns.is_pending and self._bridge.asks_again:
            self._answers.want(Wanted(self._bridge.asks_again))

    def hear(self, audio: UserAudio) -> None:
        self._audio.push(audio)
        if self._current.is_ready:
            self._current.send(self._current.session.hear(audio.pcm))
        elif self._audio.is_full:
            self._fail(f"{self._bridge.vendor.name} was away while the caller spoke for {_UPLINK_S:g} s")

    def pressed(self, digit: str) -> None:
        """Stop what is being said, and give the key to the vendor as a turn of text."""
        self._take_text(Wanted(digit, is_read=True, is_digit=True))

    def text_received(self, text: UserText) -> None:
        """Stop what is being said, and give the text to the vendor as a turn; the message is acknowledged with it."""
        self._take_text(Wanted(text.text, is_read=True), text.number)

    def interrupted(self, played_ms: int) -> None:
        self._answers.cut()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        for cut in self._spoken.finished(playback):
            self._current.send(self._current.session.cut_off(cut.item_id, cut.played_ms))
        self._failure.playback_finished(playback)
        self._changes.notify()

    def say_again(self, text: str) -> None:
        self._answers.say_again(text)

    def finish(self) -> None:
        """Let silence follow, so that the vendor ends a pending turn; emit `Finished` once all is answered."""
        if not self.is_closed:
            self._finish.begin()

    def close(self) -> None:
        """End the session at the vendor, and the tools that run."""
        super().close()
        self._current.close()
        self._finish.close()
        self._failure.close()
        self._tools.close()
        self._awaited.close()

    # The vendor's side.

    def _on_open(self) -> list[Message]:
        self._answers.session_opened()
        lines = () if self._view is None else self._view.transcript()
        history = [Said(line.role == "user", line.text) for line in lines if line.text]
        return self._current.open(history[-_MOST_HISTORY_LINES:])

    def _on_message(self, message: Message) -> None:
        """Take a message; what belongs to an answer is held back until the words that it answers are saved."""
        events = self._current.read(message)
        if events is None:
            self._end_malformed()
            return
        for event in events:
            if not self._awaited.hold(event):
                self._follow(event)
            if self.is_closed:
                return
        self._answers.advance()

    def _on_malformed(self, kind: str) -> None:
        self._current.malformed.found(kind)
        self._end_malformed()

    def _on_lost(self, reason: str) -> None:
        self._current.lost()
        self._speech.session_lost()
        self._answers.session_lost()

    def _on_received(self, position_ms: float) -> None:
        if not self._current.is_ready:
            return
        self._speech.received_ms = position_ms
        self._changes.notify()
        hears_speech = self._current.session.hears_speech()
        if hears_speech is False and self._speech.stopped_unreported():
            self._answers.advance()
        now = asyncio.get_running_loop().time()
        self._speech.received(now, position_ms, may_speak=bool(hears_speech))
        self._current.tick(now, is_quiet=self._answers.is_idle and not self._spoken.is_outstanding)

    def _follow(self, event: VendorEvent) -> None:
        match event:
            case Ready(lasts_s):
                self._ready(lasts_s)
            case ToVendor(message):
                self._current.send([message])
            case CallerStarted(audio_ms):
                self._answers.caller_started()
                self._speech.started(audio_ms)
            case CallerStopped(audio_ms):
                self._speech.stopped(audio_ms)
            case PartialWords(text):
                self._speech.partial(text)
            case Words(text, audio_ms):
                self._follow_all(self._speech.words(text, audio_ms))
            case Answering() | ItemText() | ItemAudio() | ItemEnded() | Answered():
                self._answers.follow(event)
            case ToolRequested():
                self._tools.start(event)
            case Ending(within_s):
                self._current.ending(within_s)
            case SessionLost(reason):
                self._current.end(reason)
            case VendorFailed(reason):
                self._fail(reason)

    def _follow_all(self, events: Iterable[VendorEvent]) -> None:
        for event in events:
            self._follow(event)

    def _ready(self, lasts_s: float | None) -> None:
        self._current.ready(lasts_s)
        self._speech.session_ready()
        for audio in self._audio.restart():
            self._current.send(self._current.session.hear(audio))

    def _words_missed(self) -> None:
        self._follow_all(self._speech.words_missed())
        self._answers.advance()

    def _tool_ended(self) -> None:
        self._changes.notify()
        self._answers.advance()

    def _take_text(self, wanted: Wanted, through_message: int | None = None) -> None:
        if self._answers.typed_count >= _MOST_WAITING:
            self._fail(f"{_MOST_WAITING} typed turns wait for {self._bridge.vendor.name}")
            return
        self._answers.stop()
        self._turns.begin(
            wanted.text or "",
            self._audio.released,
            is_digit=wanted.is_digit,
            is_text=not wanted.is_digit,
            through_message=through_message,
        )
        self._answers.want(wanted)

    def _end_malformed(self) -> None:
        failure = self._current.end_malformed()
        if failure is not None:
            self._fail(failure)

    def _fail(self, sentence: str) -> None:
        if not self.is_closed:
            self._failure.begin(sentence)
