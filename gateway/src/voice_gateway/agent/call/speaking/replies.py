"""What a call says: sentences are synthesised as they come, and their playback is followed to its end."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from voice_gateway.agent.base import AgentFailed, Emit, PlaybackFinished, Reply, ReplyAudio, ReplyEnded
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.errors import AgentError, ServiceError

Speakable = str | AsyncIterable[str] | AsyncIterable[bytes]
"""A text, a stream of pieces of text, or a stream of PCM16 at the agent's `output_rate_hz`."""

_Piece = TypeVar("_Piece", str, bytes)
_SENTENCE: Final = re.compile(r".*?[.!?](?=\s)", re.DOTALL)
_MOST_AHEAD: Final = 32
"""Pieces of a stream that are read before the speech of those before them is made."""
_SAMPLE_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Spoken:
    """What of it the caller was played: the text, how long, and whether the caller interrupted."""

    text: str = ""
    played_ms: int = 0
    is_interrupted: bool = False


@dataclass(slots=True)
class _Said:
    """What is being said: `finished` parts, and how many are still to be played."""

    finished: list[PlaybackFinished] = field(default_factory=list)
    outstanding: int = 0
    made: list[str] = field(default_factory=list)
    is_interrupted: bool = False


class Replies:
    """Says one thing after the other; each sentence is a `Reply` of its own.

    What is said waits while the caller speaks. For a client that does not report its playback, speech counts as played
    `playout_grace_s` after it must have been.
    """

    def __init__(
        self, emit: Emit, cascade: Cascade, changes: Changes, bytes_per_s: int, playout_grace_s: float
    ) -> None:
        self.is_attached: Callable[[], bool] = lambda: True
        self.on_failure: Callable[[Exception], None] = lambda error: emit(AgentFailed(str(error)))
        """Takes why speech cannot be made where nothing waits for it that would raise it."""
        self.is_caller_speaking = False
        self.is_ending = False
        """Whether the caller says nothing more, and cannot interrupt: then playback is not waited for."""
        self._emit = emit
        self._cascade = cascade
        self._changes = changes
        self._bytes_per_s = bytes_per_s
        self._grace_s = playout_grace_s
        self._turn = asyncio.Lock()
        self._said = _Said()
        self._is_saying = False
        self._making = 0
        self._is_making = False
        self._stop: Callable[[], object] | None = None
        self._failure: Exception | None = None
        self._speech_until = 0.0

    @property
    def is_making(self) -> bool:
        """Whether speech is being made."""
        return self._is_making

    @property
    def is_saying(self) -> bool:
        """Whether something is being said, or is not yet played to its end."""
        return self._is_saying or self._said.outstanding > 0

    async def say(self, pieces: AsyncIterator[str], *, goes_on: bool = False) -> Spoken:
        """Say each piece, a sentence or more, as it comes; returns once all was played, or was cut off.

        Where it `goes_on`, what `say_again` says is its beginning. Raises `AgentError` where speech cannot be made, and
        what the pieces raise.
        """
        async with self._turn, self._saying(goes_on=goes_on) as said:
            async with _Ahead(pieces, self._changes) as ahead:
                while (text := await ahead.next(lambda: said.is_interrupted)) is not None:
                    await self._changes.until(lambda: not self.is_caller_speaking)
                    if not said.is_interrupted:
                        self._make(text)
                    await self._made()
            return await self._played(said)

    async def play(self, pcm: AsyncIterator[bytes], text: str) -> Spoken:
        """Say speech that is made elsewhere, of which `text` is written down."""
        async with self._turn:
            await self._changes.until(lambda: not self.is_caller_speaking)
            async with self._saying() as said:
                async with _Ahead(pcm, self._changes) as ahead:
                    making = self._reply(text)
                    while (piece := await ahead.next(lambda: not self._makes(making))) is not None:
                        self._made_piece(piece)
                if self._makes(making):
                    self._ended()
                await self._made()
                return await self._played(said)

    async def rest(self, text: str) -> Spoken:
        """Wait for the playback of what `say_again` says, of which `text` is a part that was said before."""
        async with self._turn:
            await self._made()
            spoken = await self._played(self._said)
            return Spoken(spoken.text if spoken.is_interrupted else text, spoken.played_ms, spoken.is_interrupted)

    def say_again(self, text: str) -> None:
        """Say at once what was not played whole; what is being made is a part of it."""
        self._said.outstanding = 0
        self._make(text)

    def cut_off(self, *, is_wanted: bool = True) -> None:
        """Nothing more is played of what is being said.

        Where it only happened (`is_wanted` false), what has not begun to be said is not interrupted, and said later.
        """
        self.stop_making()
        if self.is_saying and (is_wanted or self._said.made):
            self._said.is_interrupted = True
        self._said.outstanding = 0
        self._changes.notify()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """Take the session's report about the oldest reply that was not played."""
        self._said.finished.append(playback)
        self._said.outstanding = max(0, self._said.outstanding - 1)
        self._changes.notify()

    def stop_making(self) -> None:
        """Make no more of the current reply."""
        self._is_making = False
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()
        self._changes.notify()

    @asynccontextmanager
    async def _saying(self, *, goes_on: bool = False) -> AsyncIterator[_Said]:
        await self._made()
        if not goes_on:
            await self._played(self._said)
            self._said = _Said()
        self._is_saying = True
        try:
            yield self._said
        except BaseException:
            self.stop_making()
            raise
        finally:
            self._is_saying = False

    def _make(self, text: str) -> None:
        making = self._reply(text)
        stop = self._cascade.say(text, lambda made: self._take(making, made))
        if self._makes(making):
            self._stop = stop

    def _reply(self, text: str) -> int:
        self.stop_making()
        self._making += 1
        self._is_making = True
        self._said.outstanding += 1
        self._said.made.append(text)
        self._emit(Reply(text))
        return self._making

    def _makes(self, making: int) -> bool:
        return self._is_making and self._making == making

    def _take(self, making: int, made: bytes | Exception | None) -> None:
        if not self._makes(making):
            return
        if isinstance(made, bytes):
            self._made_piece(made)
        elif made is None:
            self._ended()
        else:
            self._failure = made
            self.stop_making()
            if not self._is_saying:
                self.on_failure(_synthesis_error(made))

    def _made_piece(self, pcm: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._speech_until = max(self._speech_until, now) + len(pcm) / self._bytes_per_s
        self._emit(ReplyAudio(pcm))

    def _ended(self) -> None:
        self._is_making = False
        self._stop = None
        self._emit(ReplyEnded())
        self._changes.notify()

    async def _made(self) -> None:
        await self._changes.until(lambda: not self._is_making)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise _synthesis_error(failure) from failure

    async def _played(self, said: _Said) -> Spoken:
        def is_over() -> bool:
            return said.is_interrupted or not said.outstanding or self.is_ending

        while not is_over():
            left_s = max(0.0, self._speech_until - asyncio.get_running_loop().time()) + self._grace_s
            if not await self._changes.until(is_over, left_s) and self.is_attached():
                break
        texts = [each.text for each in said.finished if each.text]
        if not said.is_interrupted and said.outstanding:
            texts += said.made[-said.outstanding :]
            said.outstanding = 0
        played_ms = sum(each.played_ms for each in said.finished)
        return Spoken(" ".join(texts), played_ms, said.is_interrupted)


def _synthesis_error(failure: Exception) -> AgentError:
    """What the agent gets: only the text of a `ServiceError` quotes no caller."""
    if isinstance(failure, ServiceError):
        return failure
    return AgentError(f"speech synthesis failed: {type(failure).__name__}")


class _Ahead(Generic[_Piece]):
    """Reads a stream a few pieces ahead, in a task that ends with the block."""

    def __init__(self, pieces: AsyncIterator[_Piece], changes: Changes) -> None:
        self._pieces: AsyncIterator[_Piece] = pieces
        self._changes = changes
        self._read_ahead: deque[_Piece] = deque()
        self._error: Exception | SystemExit | None = None
        self._is_over = False
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Ahead[_Piece]:
        self._reading = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        await closed(self._pieces)

    async def next(self, is_enough: Callable[[], bool]) -> _Piece | None:
        """Return the next piece, `None` at the end or once it `is_enough`; raises what the stream raised."""
        await self._changes.until(lambda: bool(self._read_ahead) or self._is_over or is_enough())
        if is_enough():
            return None
        if self._read_ahead:
            piece = self._read_ahead.popleft()
            self._changes.notify()
            return piece
        if self._error is not None:
            raise self._error
        return None

    async def _read(self) -> None:
        try:
            async for piece in self._pieces:
                self._read_ahead.append(piece)
                self._changes.notify()
                await self._changes.until(lambda: len(self._read_ahead) < _MOST_AHEAD)
        except (Exception, SystemExit) as error:  # a task that raises SystemExit would end the worker
            self._error = error
        finally:
            self._is_over = True
            self._changes.notify()


async def each_of(parts: Iterable[str]) -> AsyncIterator[str]:
    """Yield the parts, as a stream."""
    for part in parts:
        yield part


async def closed(pieces: AsyncIterable[object]) -> None:
    """Close a generator now, and not when it is collected."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


async def sentences_of(pieces: AsyncIterable[str]) -> AsyncIterator[str]:
    """Yield each sentence of a stream of text as soon as the next one begins, and the rest at its end."""
    text = ""
    try:
        async for piece in pieces:
            text += piece
            while (match := _SENTENCE.match(text)) is not None:
                if sentence := match[0].strip():
                    yield sentence
                text = text[match.end() :]
    finally:
        await closed(pieces)
    if rest := text.strip():
        yield rest
