"""Speech to the menu's words, streaming, with pocketsphinx.

The same audio always gives the same words: a call that continues at another worker is recognised there as before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import islice, takewhile
from operator import eq
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.agent.cascade.sphinx import CEPSTRAL_MEAN, SPHINX_RATE_HZ, model_path, new_decoder, words_of
from voice_gateway.agents.order.hearing.language_model import LanguageModel, dictionary, sentences
from voice_gateway.agents.order.menu import Menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voice_gateway.errors import AgentError

RECOGNISER_RATE_HZ: Final = SPHINX_RATE_HZ

_PARTIAL_EVERY_FRAMES: Final = 5
_DITHER: Final[NDArray[np.int16]] = (np.random.default_rng(0).integers(0, 4, RECOGNISER_RATE_HZ) == 0).astype("<i2")
"""A second of the least noise, again and again, for silence of zeros; pocketsphinx would draw its own by the clock."""
_LANGUAGE_WEIGHT: Final = 8.0
_MOST_READINGS: Final = 50
"""How many of the recogniser's readings are tried; many of them differ in nothing but where a pause was."""
_LM_SEED: Final = 20_241_107


class InlineRecogniser:
    """Recognises within the calls to `feed`: about 0.9 ms for 20 ms of speech, during which nothing else runs.

    For simulations on virtual time.
    """

    def __init__(self, menu: Menu) -> None:
        self._menu = menu
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._decoders: DecoderPool | None = None

    async def open(self) -> None:
        """Make the models and load the first decoder."""
        self._folder = tempfile.TemporaryDirectory(prefix="voice-gateway-")
        write_models(self._menu, Path(self._folder.name))
        self._decoders = DecoderPool(Path(self._folder.name), self._menu)

    def begin(self, on_words: OnWords) -> Utterance:
        if self._decoders is None:
            raise AgentError("the recogniser is not open")
        return self._decoders.begin(on_words)

    async def close(self) -> None:
        self._decoders = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class DecoderPool:
    """Decoders (8 MB each) of the models of `menu` in `folder`.

    One is busy only while its caller speaks: another is made when more callers speak at once than ever before, and
    is then kept.
    """

    def __init__(self, folder: Path, menu: Menu) -> None:
        self._folder = folder
        self._lexicon = Lexicon(menu)
        self._idle = [self._new_decoder()]

    def begin(self, on_words: OnWords) -> Utterance:
        decoder = self._idle.pop() if self._idle else self._new_decoder()
        return _InlineUtterance(decoder, self._lexicon, on_words, self._idle.append)

    def _new_decoder(self) -> Any:
        return new_decoder(self._folder / _LM_FILE, self._folder / _DICTIONARY_FILE, lw=_LANGUAGE_WEIGHT)


def write_models(menu: Menu, folder: Path) -> None:
    """Put a menu's language model and dictionary into `folder`, for a `DecoderPool`; takes a second."""
    model = LanguageModel(sentences(menu, Random(_LM_SEED)))
    folder.joinpath(_LM_FILE).write_text(model.arpa(), "utf-8")
    entries = Path(model_path("en-us/cmudict-en-us.dict")).read_text("utf-8").splitlines()
    folder.joinpath(_DICTIONARY_FILE).write_text(dictionary(menu, entries), "utf-8")


class _InlineUtterance:
    def __init__(self, decoder: Any, lexicon: Lexicon, on_words: OnWords, release: Callable[[Any], None]) -> None:
        self._decoder: Any = decoder
        self._lexicon = lexicon
        self._on_words = on_words
        self._release = release
        self._words: tuple[str, ...] = ()
        self._frames = 0
        self._samples = 0
        decoder.set_cmn(CEPSTRAL_MEAN)
        decoder.start_utt()

    def feed(self, pcm: bytes) -> None:
        if self._decoder is None:
            return
        self._decoder.process_raw(self._dithered(pcm), False, False)
        self._frames += 1
        if self._frames % _PARTIAL_EVERY_FRAMES == 0 and (words := words_of(self._decoder.hyp())) != self._words:
            self._words = words
            self._on_words(words, False)

    def end(self) -> None:
        if self._decoder is None:
            return
        self._decoder.end_utt()
        words = self._likeliest_with_meaning()
        self._give_back()
        self._on_words(words, True)

    def abandon(self) -> None:
        if self._decoder is not None:
            self._decoder.end_utt()
            self._give_back()

    def _give_back(self) -> None:
        self._release(self._decoder)
        self._decoder = None

    def _dithered(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2")
        places = np.arange(self._samples, self._samples + len(samples))
        self._samples += len(samples)
        dithered: NDArray[np.int16] = np.minimum(samples, 32_766) + _DITHER.take(places, mode="wrap")
        return dithered.tobytes()

    def _likeliest_with_meaning(self) -> tuple[str, ...]:
        """The best hypothesis, or where that means nothing, the next one that has a meaning and differs in one word."""
        best = words_of(self._decoder.hyp())
        if not best or parse(best, self._lexicon) is not None:
            return best
        for reading in islice(self._decoder.nbest(), _MOST_READINGS):
            words = words_of(reading)
            if _is_one_word_off(words, best) and parse(words, self._lexicon) is not None:
                return words
        return best


def _is_one_word_off(words: tuple[str, ...], best: tuple[str, ...]) -> bool:
    """Whether one word more, less or in another's place is all the difference: more would be guessing."""
    alike = _alike(words, best) + _alike(words[::-1], best[::-1])
    return alike >= max(len(words), len(best)) - 1


def _alike(words: tuple[str, ...], others: tuple[str, ...]) -> int:
    """How many words at the beginning are the same."""
    return sum(takewhile(bool, map(eq, words, others)))


_LM_FILE: Final = "menu.lm"
_DICTIONARY_FILE: Final = "menu.dict"
