"""Runs the parts of a cascade for each conversation: turns, transcripts, answers, replies."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Final

from voice_gateway.agent.base import (
    AgentFailed,
    AppMessage,
    ClientToolResult,
    Conversation,
    Emit,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    StateChanged,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.cascade.parts import (
    Answer,
    DialoguePolicy,
    EndOfTurn,
    Recogniser,
    Synthesiser,
    Utterance,
    VoiceDetectors,
)
from voice_gateway.agent.turn import NothingPending, TurnContinued, TurnEnded, TurnStarted, TurnTaker, TurnTiming
from voice_gateway.errors import AgentError
from voicelink.audio.speech import Speech, sentences
from voicelink.audio.vad import VoiceActivity

_PIECES_PER_S = 50
_NO_FRAME: Final = -1
_TYPED_WORD: Final = re.compile(r"[\w']+")
_JUDGED_S = 8
_JUDGE_AFTER_MS = 200
"""Models of the end of a turn are trained on speech with so much silence behind it."""

OnSpeech = Callable[[bytes | Exception | None], None]
"""Takes each sentence's PCM as it is made, then `None`, or the error that ended it."""


class Cascade:
    """The parts that an agent's conversations share.

    `make_voices` and `make_speech` load models: they are called once, in the thread that speech is made in.
    A `synthesiser` speaks in place of `make_speech`. `end_of_turn` is asked at each pause whether the turn is over. For
    virtual time pass a recogniser that works within its calls, and `is_inline`: then there is no thread.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        make_voices: Callable[[], VoiceDetectors],
        make_speech: Callable[[], Speech],
        *,
        input_rate_hz: int = 16_000,
        timing: TurnTiming | None = None,
        end_of_turn: EndOfTurn | None = None,
        synthesiser: Synthesiser | None = None,
        is_inline: bool = False,
    ) -> None:
        self.recogniser = recogniser
        self.end_of_turn = end_of_turn
        self._synthesiser = synthesiser
        self.input_rate_hz = input_rate_hz
        self.timing = timing or TurnTiming()
        self._voices = cache(make_voices)
        self._speech = cache(make_speech)
        self._is_open = False
        self._made: dict[str, bytes] = {}
        self._executor: Executor | None = None if is_inline else ThreadPoolExecutor(1, "speech")
        self._conversations: set[CascadeConversation] = set()

    async def open(self, phrases: Iterable[str] = ()) -> None:
        """Load all models, and make speech of `phrases`; raises what the parts raise.

        A synthesiser's are kept: they can be said while its service is down.
        """
        services = [each for each in (self.recogniser, self.end_of_turn, self._synthesiser) if each is not None]
        try:
            if self._executor is None:
                self._load(phrases)
                await asyncio.gather(*(each.open() for each in services))
            else:
                loading = asyncio.get_running_loop().run_in_executor(self._executor, self._load, phrases)
                await asyncio.gather(*(each.open() for each in services), loading)
            if self._synthesiser is not None:
                for sentence in (each for text in phrases for each in sentences(text)):
                    self._made[sentence] = b"".join([pcm async for pcm in self._synthesiser.synthesize(sentence)])
        except BaseException:
            await self.close()
            raise
        self._is_open = True

    def converse(self, policy: DialoguePolicy, emit: Emit) -> Conversation:
        """Begin a conversation; raises `AgentError` before `open`."""
        if not self._is_open:
            raise AgentError("the agent is not open")
        conversation = CascadeConversation(self, self._voices().detector(), policy, emit)
        self._conversations.add(conversation)
        return conversation

    async def close(self) -> None:
        """Close all conversations and release the models."""
        self._is_open = False
        for conversation in tuple(self._conversations):
            conversation.close()
        for each in (self.recogniser, self.end_of_turn, self._synthesiser):
            if each is not None:
                await each.close()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def closed(self, conversation: CascadeConversation) -> None:
        """A conversation was closed."""
        self._conversations.discard(conversation)

    def say(self, text: str, on_speech: OnSpeech) -> Callable[[], object]:
        """Make speech of `text`, and return what stops it."""
        if self._synthesiser is not None:
            return asyncio.get_running_loop().create_task(self._stream(text, self._synthesiser, on_speech)).cancel
        if self._executor is None:
            self._say_inline(text, on_speech)
            return lambda: None
        return asyncio.get_running_loop().create_task(self._say(text, self._executor, on_speech)).cancel

    def _load(self, phrases: Iterable[str]) -> None:
        self._voices()
        if self._synthesiser is not None:
            return
        self._speech()
        for text in phrases:
            self._joined(text)

    def _say_inline(self, text: str, on_speech: OnSpeech) -> None:
        try:
            for chunk in self._speech().synthesize(text):
                on_speech(chunk)
        except Exception as error:  # as below
            on_speech(error)
        else:
            on_speech(None)

    async def _stream(self, text: str, synthesiser: Synthesiser, on_speech: OnSpeech) -> None:
        try:
            if made := self._made.get(text):
                on_speech(made)
                on_speech(None)
                return
            async with aclosing(synthesiser.synthesize(text)) as pieces:
                async for pcm in pieces:
                    on_speech(pcm)
        except Exception as error:  # as in _say
            on_speech(error)
        else:
            on_speech(None)

    async def _say(self, text: str, executor: Executor, on_speech: OnSpeech) -> None:
        loop = asyncio.get_running_loop()
        try:
            for sentence in sentences(text):
                on_speech(await loop.run_in_executor(executor, self._joined, sentence))
        except Exception as error:  # a synthesiser may raise anything; it ends this call, and no other
            on_speech(error)
        else:
            on_speech(None)

    def _joined(self, text: str) -> bytes:
        return b"".join(self._speech().synthesize(text))


@dataclass(slots=True)
class _Turn:
    """A turn whose words are not final, or not yet answered because an earlier one's are not."""

    utterance: Utterance | None = None
    through_sequence: int | None = None
    final: tuple[str, ...] | None = None
    typed: str = ""
    message: int | None = None
    """The client's message to acknowledge with a typed turn."""


class CascadeConversation(Conversation):
    """One user's conversation. Turns are answered in the order in which they were spoken."""

    def __init__(self, cascade: Cascade, voice: VoiceActivity, policy: DialoguePolicy, emit: Emit) -> None:
        super().__init__(emit)
        self._cascade = cascade
        self._voice = voice
        self._policy = policy
        self._piece_bytes = cascade.input_rate_hz // _PIECES_PER_S * 2
        self._taker = TurnTaker(cascade.input_rate_hz, cascade.timing)
        self._spoken = bytearray()
        self._most_judged = _JUDGED_S * cascade.input_rate_hz * 2
        self._pause: object | None = None
        self._turns: deque[_Turn] = deque()
        self._asked: _Turn | None = None
        self._is_asking = False
        self._silence: int | None = None
        self._unsaid = ""
        self._stop_reply: Callable[[], object] | None = None
        self._reply_id = 0
        self._is_replying = False
        self._is_finishing = False

    def greet(self) -> None:
        self._say(self._policy.greeting())

    def greet_again(self) -> None:
        """Say the policy's greeting for a user who was cut off."""
        self._say(self._policy.greeting_again())

    def hear(self, audio: UserAudio) -> None:
        """Take the next frame; one with silence in front, as DTX leaves, is taken piece by piece."""
        last = max(len(audio.pcm) - 1, 0) // self._piece_bytes * self._piece_bytes
        for start in range(0, len(audio.pcm), self._piece_bytes):
            # All but the last piece leave the frame pending: it must not be forgotten with them.
            sequence = audio.sequence if start == last else max(audio.sequence - 1, 0)
            piece = UserAudio(sequence, audio.pcm[start : start + self._piece_bytes])
            for event in self._taker.hear(piece, self._voice.probability(piece.pcm)):
                self._follow(event)
            if self._cascade.end_of_turn is not None:
                self._judge_pause(self._cascade.end_of_turn)

    def text_received(self, text: UserText) -> None:
        """Interrupt the reply, and make a turn of the text; it comes before a turn that is being spoken."""
        if self._is_replying:
            self.emit(StopReply())
            self._stop_saying()
        words = tuple(_TYPED_WORD.findall(text.text.lower()))
        typed = _Turn(through_sequence=_NO_FRAME, final=words, typed=text.text, message=text.number)
        is_speaking = bool(self._turns) and self._turns[-1].through_sequence is None
        self._turns.insert(len(self._turns) - is_speaking, typed)
        self._answer_turns()

    def app_message_received(self, message: AppMessage) -> None:
        self._acknowledge(message.number)

    def client_tool_returned(self, result: ClientToolResult) -> None:
        if result.number is not None:
            self._acknowledge(result.number)

    def interrupted(self, played_ms: int) -> None:
        """Stop making the reply; the state stays what it is, whether or not the reply was played."""
        self._stop_saying()

    def say_again(self, text: str) -> None:
        self._say(text)

    def finish(self) -> None:
        """End the pending turn and, when it is answered, emit `Finished`."""
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
        self._cascade.closed(self)

    def _judge_pause(self, end_of_turn: EndOfTurn) -> None:
        """Ask once a pause; an answer that comes after the pause is dropped."""
        if self._taker.pause_ms == 0.0:
            self._pause = None
        elif self._pause is None and self._taker.pause_ms >= _JUDGE_AFTER_MS:
            pause = self._pause = object()

            def on_judged(is_over: bool) -> None:
                if self._pause is pause:
                    self._taker.sounds_over = is_over

            end_of_turn.judge(bytes(self._spoken), on_judged)

    def _follow(self, event: TurnStarted | TurnContinued | TurnEnded | NothingPending) -> None:
        if self.is_closed:
            return
        match event:
            case TurnStarted(sequence, pcm, onset):
                self.emit(UserStartedSpeaking(sequence, onset))
                self._stop_saying()
                turn = _Turn()
                self._turns.append(turn)
                turn.utterance = self._cascade.recogniser.begin(
                    lambda words, is_final: self._words(turn, words, is_final)
                )
                turn.utterance.feed(pcm)
                self._spoken = bytearray(pcm)
            case TurnContinued(pcm):
                self._spoken += pcm
                del self._spoken[: -self._most_judged]
                turn = self._turns[-1]
                if turn.utterance is not None:
                    turn.utterance.feed(pcm)
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
                self._report_silence()

    def _acknowledge(self, number: int) -> None:
        """Acknowledge a message that has no effect; with the typed turn before it, if that is not answered."""
        for turn in reversed(self._turns):
            if turn.message is not None:
                turn.message = number
                return
        self.emit(StateChanged(through_message=number))

    def _words(self, turn: _Turn, words: tuple[str, ...] | AgentError, is_final: bool) -> None:
        if self.is_closed:
            return
        if isinstance(words, AgentError):
            self.emit(AgentFailed(str(words)))
            return
        if is_final:
            turn.final = words
            self._answer_turns()
        elif self._turns and turn is self._turns[-1]:
            try:
                self._taker.is_whole = self._policy.is_finished(words)
            except Exception as error:
                self._fail(error)
            self.emit(PartialTranscript(" ".join(words)))

    def _answer_turns(self) -> None:
        while self._asked is None and self._turns:
            turn = self._turns[0]
            if turn.final is None or turn.through_sequence is None:
                break
            self._ask(turn, turn.final, turn.through_sequence)
        self._report_silence()
        self._finish_if_done()

    def _ask(self, turn: _Turn, words: tuple[str, ...], through_sequence: int) -> None:
        def on_answer(answer: Answer | None) -> None:
            if self.is_closed or self._asked is not turn:
                return
            self._asked = None
            self._turns.popleft()
            self._answered(turn, words, through_sequence, answer)
            if not self._is_asking:
                self._answer_turns()

        self._asked = turn
        self._is_asking = True
        try:
            self._policy.answer(words, on_answer)
        except Exception as error:  # a policy may raise anything; it ends this call, and no other
            self._fail(error)
        finally:
            self._is_asking = False

    def _answered(self, turn: _Turn, words: tuple[str, ...], through_sequence: int, answer: Answer | None) -> None:
        if turn.message is not None and answer is None:
            self.emit(StateChanged(through_message=turn.message))
            return
        if answer is None:
            self._silence = max(through_sequence, self._silence or 0)
            return
        said = turn.typed or " ".join(words)
        self.emit(FinalTranscript(said, through_sequence, answer.state, through_message=turn.message))
        text = f"{self._unsaid} {answer.text}".strip()
        if self._turns:
            self._unsaid = text
        else:
            self._unsaid = ""
            self._say(text)

    def _fail(self, error: Exception) -> None:
        self.emit(AgentFailed(f"the dialogue failed: {error}"))

    def _say(self, text: str) -> None:
        self._stop_saying()
        if not text:
            return
        self._reply_id += 1
        reply_id = self._reply_id
        self._is_replying = True
        self.emit(Reply(text))
        stop = self._cascade.say(text, lambda made: self._said(reply_id, made))
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

    def _report_silence(self) -> None:
        """Frames behind a turn that is not yet answered are not reported: they would carry its frames with them."""
        if self._silence is not None and not self._turns:
            self.emit(NoSpeechUpTo(self._silence))
            self._silence = None

    def _finish_if_done(self) -> None:
        if self._is_finishing and not self._turns and not self._is_replying:
            self._is_finishing = False
            self._report_silence()
            self.emit(Finished())
