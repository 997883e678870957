"""Speech to text in general English, offline: pocketsphinx with the language model that it brings."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.agent.cascade.sphinx import CEPSTRAL_MEAN, model_path, new_decoder, words_of
from voice_gateway.errors import AgentError


class Dictation:
    """Decodes whole turns in one thread, 16 kHz; each caller who speaks at the same time has a decoder of its own.

    For plain sentences and few calls: a grammar of one's own, or a vendor's service, understands more. Pocketsphinx
    holds the interpreter's lock while it works, some 7 ms at a time.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._idle: list[Any] = []

    async def open(self) -> None:
        """Load the first decoder; raises `AgentError`."""
        self._thread = ThreadPoolExecutor(1, "dictation")
        self._idle = [await asyncio.get_running_loop().run_in_executor(self._thread, _load)]

    def begin(self, on_words: OnWords) -> Utterance:
        if self._thread is None:
            raise AgentError("the recogniser is not open")
        return _Dictated(self._thread, self._idle, on_words)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)
        self._idle = []


class _Dictated:
    """One turn; the decoder is touched in the thread alone."""

    def __init__(self, thread: ThreadPoolExecutor, idle: list[Any], on_words: OnWords) -> None:
        self._thread = thread
        self._idle = idle
        self._on_words: OnWords | None = on_words
        self._loop = asyncio.get_running_loop()
        self._decoder: Any = None
        thread.submit(self._start)

    def feed(self, pcm: bytes) -> None:
        self._thread.submit(self._decode, pcm)

    def end(self) -> None:
        """Ask for the words; a decoder that fails understood none."""
        self._thread.submit(self._end)

    def abandon(self) -> None:
        self._on_words = None
        self._thread.submit(self._end)

    def _start(self) -> None:
        self._decoder = self._idle.pop() if self._idle else _load()
        self._decoder.set_cmn(CEPSTRAL_MEAN)
        self._decoder.start_utt()

    def _decode(self, pcm: bytes) -> None:
        self._decoder.process_raw(pcm, False, False)

    def _end(self) -> None:
        words: tuple[str, ...] = ()
        try:
            self._decoder.end_utt()
            words = words_of(self._decoder.hyp())
            self._idle.append(self._decoder)
        finally:
            self._loop.call_soon_threadsafe(self._say, words)

    def _say(self, words: tuple[str, ...]) -> None:
        on_words, self._on_words = self._on_words, None
        if on_words is not None:
            on_words(words, True)


def _load() -> Any:
    return new_decoder(Path(model_path("en-us/en-us.lm.bin")), Path(model_path("en-us/cmudict-en-us.dict")))
