"""What of a caller's speech interrupts the agent, and what becomes a turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from voice_gateway.agent.base import Emit, UserStartedSpeaking, UserStoppedSpeaking
from voice_gateway.agent.call.speaking.replies import Replies

SpeechEvent = UserStartedSpeaking | UserStoppedSpeaking
"""What an agent may follow of the caller's speech."""

BACKCHANNELS: Final = frozenset(
    {"ah", "aha", "hm", "hmm", "huh", "mhm", "mm", "mmhm", "mmm", "oh", "ok", "okay", "right", "uh", "uhhuh"}
    | {"um", "yeah", "yep", "yes"}
)
"""Words by which a listener says only to go on."""


class WhileSpeaking(Enum):
    """What a caller's speech does while the agent speaks: interrupt it, be answered later, or be ignored."""

    INTERRUPT = auto()
    LISTEN = auto()
    IGNORE = auto()


@dataclass(frozen=True, slots=True)
class Interruptions:
    """When speech of the caller interrupts the agent. By default at once, as soon as it is speech.

    With `min_words`, or `backchannels` (such as `BACKCHANNELS`), the agent speaks on until a partial transcript has so
    many words besides those, or the words are final. Words that never come so far are dropped, and the agent was not
    interrupted. This costs latency: the recogniser's for its first partial transcript, with one that has none (the
    default one, those of services by file) that of the whole turn; never more than `after_ms`, which speech lasts that
    interrupts without words. Words that end after the agent has are always a turn: "yeah" may be an answer.
    """

    while_speaking: WhileSpeaking = WhileSpeaking.INTERRUPT
    min_words: int = 0
    backchannels: frozenset[str] = frozenset()
    after_ms: int = 1_200

    @property
    def are_held(self) -> bool:
        """Whether speech alone interrupts nothing."""
        return self.while_speaking is not WhileSpeaking.INTERRUPT or self.min_words > 0 or bool(self.backchannels)

    def count(self, words: tuple[str, ...]) -> bool:
        """Whether these words interrupt."""
        plain = ("".join(each for each in word.lower() if each.isalnum()) for word in words)
        return sum(word not in self.backchannels for word in plain if word) >= max(self.min_words, 1)


@dataclass(frozen=True, slots=True)
class Taken:
    """A turn whose words are final: when it was noticed and over, in ms of the caller's audio; or it is dropped."""

    started_ms: int
    ended_ms: int
    is_dropped: bool = False


@dataclass(slots=True)
class _Spoken:
    """A turn of the caller; the session does not know of one that is `held` yet."""

    started_ms: int
    ended_ms: int = 0
    held: UserStartedSpeaking | None = None
    stopped: UserStoppedSpeaking | None = None


class TurnTaking:
    """Passes the beginnings and ends of the caller's speech on, those that are held once they count.

    `interrupted` is called where speech begins that is not held, or once it counts. Of speech without
    words the first `most_unclear` in a row are turns, further ones are noise.

    The cascade's turns come in order, each with one beginning, one end and one final transcript.
    """

    def __init__(
        self,
        interruptions: Interruptions,
        emit: Emit,
        replies: Replies,
        push: Callable[[SpeechEvent], None],
        interrupted: Callable[[], None],
        most_unclear: int = 0,
    ) -> None:
        self._interruptions = interruptions
        self._emit = emit
        self._replies = replies
        self._push = push
        self._interrupted = interrupted
        self._most_unclear = most_unclear
        self._unclear = 0
        self._spoken: deque[_Spoken] = deque()

    def started(self, event: UserStartedSpeaking, at_ms: int) -> None:
        """The caller begins to speak."""
        is_held = self._interruptions.are_held and self._replies.is_saying
        self._spoken.append(_Spoken(at_ms, held=event if is_held else None))
        if not is_held:
            self._begin(event)

    def stopped(self, event: UserStoppedSpeaking, at_ms: int) -> None:
        """The newest turn is over, and its words follow."""
        turn = self._spoken[-1]
        turn.ended_ms = at_ms
        if turn.held is None:
            self._end(event)
        else:
            turn.stopped = event

    def partial(self, text: str) -> None:
        """The newest turn's words so far."""
        turn = self._spoken[-1] if self._spoken else None
        is_enough = self._interrupts and self._interruptions.count(tuple(text.split()))
        if turn is not None and turn.held is not None and is_enough:
            self._release(turn)

    def time_passes(self, at_ms: float) -> None:
        """Another frame came: speech that lasts interrupts, and where the agent has finished nothing is held."""
        for turn in self._spoken:
            has_lasted = self._interrupts and at_ms - turn.started_ms >= self._interruptions.after_ms
            if turn.held is not None and ((has_lasted and turn.stopped is None) or not self._replies.is_saying):
                self._release(turn)

    def final(self, words: tuple[str, ...]) -> Taken:
        """The oldest turn's words are final: none for noise."""
        turn = self._spoken.popleft()
        is_held = turn.held is not None and self._replies.is_saying
        is_ignored = self._interruptions.while_speaking is WhileSpeaking.IGNORE
        self._unclear = 0 if words else self._unclear + 1
        is_dropped = self._unclear > self._most_unclear or (
            is_held and (is_ignored or not self._interruptions.count(words))
        )
        if turn.held is not None and not is_dropped:
            if is_held and not self._interrupts:
                if turn.stopped is not None:
                    self._end(turn.stopped)
            else:
                self._release(turn)
        self._replies.is_caller_speaking = any(each.held is None for each in self._spoken)
        return Taken(turn.started_ms, turn.ended_ms, is_dropped)

    @property
    def _interrupts(self) -> bool:
        return self._interruptions.while_speaking is WhileSpeaking.INTERRUPT

    def _release(self, turn: _Spoken) -> None:
        held, turn.held = turn.held, None
        if held is not None:
            self._begin(held)
        if turn.stopped is not None:
            self._end(turn.stopped)

    def _begin(self, event: UserStartedSpeaking) -> None:
        self._emit(event)
        self._replies.is_caller_speaking = True
        self._replies.cut_off(is_wanted=False)
        self._interrupted()
        self._push(event)

    def _end(self, event: UserStoppedSpeaking) -> None:
        self._emit(event)
        self._push(event)
