"""What a call agent is made of, where the defaults do not suit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from voice_gateway.agent.call.hearing.turn_taking import Interruptions
from voice_gateway.agent.cascade.dictation import Dictation
from voice_gateway.agent.cascade.parts import EndOfTurn, Recogniser, Synthesiser, VoiceDetectors
from voice_gateway.agent.turn import TurnTiming
from voicelink.audio.speech import SPEECH_RATE_HZ, CachedSpeech, HibariSpeech, Speech
from voicelink.audio.vad import SileroModel


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The parts of a call agent, each made when the agent is loaded or opened; the defaults work offline.

    `recogniser` makes speech to text, by default pocketsphinx's general English, which understands short and plain
    sentences only. `voices` and `speech` load the models of voice activity and of text to speech; a `synthesiser`, of
    a service, speaks in place of `speech`. `timing` says when a turn ends, `end_of_turn` makes the model that is asked
    at each pause besides. `interruptions` says what speech of the caller interrupts the agent. Where a tool takes
    longer than `filler_after_s`, the caller hears `filler`, such as "One moment.", once a turn; empty is silence.

    `is_finished` takes the words of a partial transcript, and says whether they are a whole sentence: where not, the
    pause that ends the turn is `timing.unfinished_patience_ms`. Where it and `end_of_turn` disagree, it is
    `timing.patience_ms`. Speech without recognised words is noise; the first
    `most_unclear` in a row are turns, whose text is empty. Speech of `phrases` is made before the first call.

    A caller hears `apology` where any part of the agent fails, and `asks_again`, a text or a function that makes one of
    the state, when back after words were lost; empty is silence. With `listens` false there is neither voice activity
    nor speech to text: the agent reads `Call.audio`. Where a client reports no playback, `say` returns
    `playout_grace_s` after speech should have been played. `is_inline` makes speech within the calls, for virtual time.
    """

    recogniser: Callable[[], Recogniser] = Dictation
    voices: Callable[[], VoiceDetectors] = SileroModel
    speech: Callable[[], Speech] = lambda: CachedSpeech(HibariSpeech())
    synthesiser: Callable[[], Synthesiser] | None = None
    timing: TurnTiming | None = None
    end_of_turn: Callable[[], EndOfTurn] | None = None
    is_finished: Callable[[tuple[str, ...]], bool] | None = None
    interruptions: Interruptions | None = None
    most_unclear: int = 0
    filler: str = ""
    filler_after_s: float = 1.2
    apology: str = "Sorry, something went wrong. Please call again."
    asks_again: str | Callable[[Mapping[str, Any]], str] = "Sorry, we were cut off. What did you say last?"
    phrases: tuple[str, ...] = ()
    listens: bool = True
    input_rate_hz: int = 16_000
    output_rate_hz: int = SPEECH_RATE_HZ
    playout_grace_s: float = 3.0
    is_inline: bool = False
