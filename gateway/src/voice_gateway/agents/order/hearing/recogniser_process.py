"""Recognition in processes of its own.

Pocketsphinx holds the interpreter's lock while it works: in a thread it delays the event loop by 7 ms again and
again, in another process not at all. A process keeps up with about twenty people speaking at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from voice_gateway.agent.cascade.parts import OnWords, Utterance
from voice_gateway.agents.order.hearing.recogniser import DecoderPool, write_models
from voice_gateway.agents.order.menu import Menu
from voice_gateway.errors import AgentError

_MAX_MESSAGE_BYTES: Final = 1 << 20
_STOP_TIMEOUT_S: Final = 2.0


class Load(msgspec.Struct, frozen=True, tag="load"):
    """To the process, first: the folder of the models of `menu`; it answers with `Words` of utterance 0."""

    folder: str
    menu: Menu


class Feed(msgspec.Struct, frozen=True, tag="feed"):
    """To the process: samples of an utterance; the first begin it."""

    utterance: int
    pcm: bytes


class End(msgspec.Struct, frozen=True, tag="end"):
    """To the process: the utterance is over, its final words are wanted unless it `is_abandoned`."""

    utterance: int
    is_abandoned: bool = False


class Words(msgspec.Struct, frozen=True, tag="words"):
    """From the process: an utterance's words; those of utterance 0 say that the models are loaded."""

    utterance: int
    words: tuple[str, ...]
    is_final: bool


class ProcessRecogniser:
    """Spreads the utterances over `processes` of its own; one that dies is replaced, its utterances end wordless."""

    def __init__(self, menu: Menu, processes: int = 1) -> None:
        if processes < 1:
            raise ValueError(f"recognition needs at least one process, got {processes}")
        self._menu = menu
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._workers = [_Worker(menu) for _ in range(processes)]

    async def open(self) -> None:
        """Make the models and start the processes, which load them; raises `AgentError`."""
        self._folder = tempfile.TemporaryDirectory(prefix="voice-gateway-")
        folder = self._folder.name
        await asyncio.get_running_loop().run_in_executor(None, write_models, self._menu, Path(folder))
        await asyncio.gather(*(worker.open(folder) for worker in self._workers))

    def begin(self, on_words: OnWords) -> Utterance:
        """Start an utterance in the process that has the fewest."""
        return min(self._workers, key=lambda worker: len(worker.on_words)).begin(on_words)

    @property
    def process_ids(self) -> tuple[int | None, ...]:
        """The processes that run now; `None` for one that does not."""
        return tuple(worker.process_id for worker in self._workers)

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self._workers))
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class _Worker:
    def __init__(self, menu: Menu) -> None:
        self.on_words: dict[int, OnWords] = {}
        self._menu = menu
        self._folder = ""
        self._ids = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, folder: str) -> None:
        self._folder = folder
        self._process = await self._start()
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._process is not None:
            await _stop(self._process)
        self._process = self._reader = None
        self.on_words.clear()

    @property
    def process_id(self) -> int | None:
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def begin(self, on_words: OnWords) -> Utterance:
        utterance = next(self._ids)
        self.on_words[utterance] = on_words
        return _RemoteUtterance(utterance, self._send, self.on_words)

    def _send(self, message: Feed | End) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(_framed(message))

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise AgentError("the recogniser's process has no pipes")
        process.stdin.write(_framed(Load(self._folder, self._menu)))
        if await _received(process.stdout) is None:
            await _stop(process)
            raise AgentError("the recogniser's process ended before it was ready; its message is above")
        return process

    async def _read(self) -> None:
        while self._process is not None and self._process.stdout is not None:
            while (body := await _received(self._process.stdout)) is not None:
                words = _WORDS.decode(body)
                on_words = self.on_words.get(words.utterance)
                if words.is_final:
                    self.on_words.pop(words.utterance, None)
                if on_words is not None:
                    on_words(words.words, words.is_final)
            await _stop(self._process)
            lost, self.on_words = self.on_words, {}
            for on_words in lost.values():
                on_words((), True)
            self._process = await self._start()


class _RemoteUtterance:
    def __init__(self, utterance: int, send: Callable[[Feed | End], None], listeners: dict[int, OnWords]) -> None:
        self._utterance = utterance
        self._send = send
        self._listeners = listeners

    def feed(self, pcm: bytes) -> None:
        self._send(Feed(self._utterance, pcm))

    def end(self) -> None:
        self._send(End(self._utterance))

    def abandon(self) -> None:
        self._listeners.pop(self._utterance, None)
        self._send(End(self._utterance, is_abandoned=True))


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process by the end of its input; by force if it does not listen."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _received(stream: asyncio.StreamReader) -> bytes | None:
    """Return the next message's body, `None` at the end of the stream."""
    try:
        return await stream.readexactly(int.from_bytes(await stream.readexactly(4), "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _framed(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    if len(body) > _MAX_MESSAGE_BYTES:
        raise ValueError(f"a recogniser message holds at most {_MAX_MESSAGE_BYTES} bytes, got {len(body)}")
    return len(body).to_bytes(4, "big") + body


_WORDS: Final = msgspec.msgpack.Decoder(Words)
_REQUESTS: Final[msgspec.msgpack.Decoder[Feed | End]] = msgspec.msgpack.Decoder(Feed | End)


def serve() -> None:
    """Be the process: read requests from the standard input until it ends, write words to the standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, sys.stdout.buffer

    def read() -> bytes | None:
        head = source.read(4)
        return source.read(int.from_bytes(head, "big")) if len(head) == 4 else None

    def write(words: Words) -> None:
        sink.write(_framed(words))
        sink.flush()

    def listener(key: int) -> OnWords:
        return lambda words, is_final: write(Words(key, () if isinstance(words, AgentError) else words, is_final))

    load = read()
    if load is None:
        return
    models = msgspec.msgpack.decode(load, type=Load)
    try:
        decoders = DecoderPool(Path(models.folder), models.menu)
    except AgentError as error:
        sys.exit(str(error))
    write(Words(0, (), True))
    _answer(iter(read, None), decoders, listener)


def _answer(bodies: Iterator[bytes], decoders: DecoderPool, listener: Callable[[int], OnWords]) -> None:
    utterances: dict[int, Utterance] = {}
    for body in bodies:
        request = _REQUESTS.decode(body)
        key = request.utterance
        if isinstance(request, Feed):
            if key not in utterances:
                utterances[key] = decoders.begin(listener(key))
            utterances[key].feed(request.pcm)
        elif (utterance := utterances.pop(key, None)) is None:
            listener(key)((), True)
        elif request.is_abandoned:
            utterance.abandon()
        else:
            utterance.end()


if __name__ == "__main__":
    serve()
