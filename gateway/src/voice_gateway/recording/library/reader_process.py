"""Reads and decodes recorded calls in a process of its own, so that neither worker nor command waits for it.

`python -m voice_gateway.recording.library.reader_process FOLDER STORAGE SESSION FORM` writes to standard output: the
length in 8 bytes, big-endian, and the call.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from voice_gateway.errors import GatewayError
from voice_gateway.recording.library.archive import ArchiveError, open_archive
from voice_gateway.recording.library.library import Library, UnknownCall
from voice_gateway.recording.reading.document import call_document
from voice_gateway.recording.reading.export import ogg_file, wav_file
from voice_gateway.recording.segments.format import is_call_name

WAV_RATE_HZ: Final = 24_000
TIMEOUT_S: Final = 120.0
MOST_AT_ONCE: Final = 2
_UNKNOWN_STATUS, _FAILED_STATUS = 3, 4
_PIECE_BYTES: Final = 1 << 16
_LENGTH: Final = struct.Struct(">Q")


class CallForm(StrEnum):
    """As what a call is read."""

    LIST = "list"
    """All calls, newest first; the session says how many."""
    JSON = "json"
    PEAKS = "peaks"
    """As JSON, with its waveforms."""
    WAV = "wav"
    OGG = "ogg"


def read_call(library: Library, session_id: str, form: CallForm) -> bytes:
    """Return a call in this form; raises `GatewayError`."""
    if form is CallForm.LIST:
        summaries = library.summaries(most=int(session_id))
        return json.dumps({"calls": [each.as_json() for each in summaries]}).encode()
    timeline = library.timeline(session_id)
    match form:
        case CallForm.WAV:
            return wav_file(timeline, WAV_RATE_HZ)
        case CallForm.OGG:
            return ogg_file(timeline)
    return json.dumps(call_document(timeline, has_peaks=form is CallForm.PEAKS)).encode()


@dataclass(frozen=True, slots=True)
class CallContent:
    """A call of `length` bytes, in pieces; close `pieces` where not all of them are read: a process waits."""

    length: int
    pieces: AsyncGenerator[bytes, None]


@dataclass(slots=True)
class CallReader:
    """Reads calls for a worker, `MOST_AT_ONCE` at a time, each in a process of low priority."""

    folder: Path | None
    storage: str | None
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    async def read(self, session_id: str, form: CallForm) -> CallContent:
        """Return a call in this form; raises `GatewayError`, and `UnknownCall` where there is none."""
        if self.folder is None:
            raise UnknownCall("this worker records no calls: recording.folder is not set")
        if not is_call_name(session_id):
            raise UnknownCall(f"there is no recording of the call {session_id!r}")
        pieces = self._pieces(session_id, form)
        length = await anext(pieces)
        return CallContent(_LENGTH.unpack(length)[0], pieces)

    async def _pieces(self, session_id: str, form: CallForm) -> AsyncGenerator[bytes, None]:
        """Yield the length, and then what the process writes, no more than a piece of it being held here."""
        command = (sys.executable, "-m", __name__, str(self.folder), self.storage or "", session_id, form.value)
        async with self._places:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_PIECE_BYTES,
            )
            output, errors = process.stdout, process.stderr
            if output is None or errors is None:
                raise ArchiveError("the process that reads calls has no pipes")
            try:
                try:
                    yield await asyncio.wait_for(output.readexactly(_LENGTH.size), TIMEOUT_S)
                except asyncio.IncompleteReadError:
                    said = await errors.read()
                    raise _failure(session_id, await process.wait(), said) from None
                while piece := await asyncio.wait_for(output.read(_PIECE_BYTES), TIMEOUT_S):
                    yield piece
            except TimeoutError:
                raise ArchiveError(f"the call could not be read within {TIMEOUT_S:g} s") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


def _failure(session_id: str, status: int, said: bytes) -> GatewayError:
    if status == _UNKNOWN_STATUS:
        return UnknownCall(f"there is no recording of the call {session_id!r}")
    return ArchiveError(said.decode("utf-8", "replace").strip().rpartition("\n")[2] or "the call cannot be read")


def main(arguments: list[str]) -> int:
    """Write the call to standard output; the exit status says why not, and standard error in one sentence."""
    folder, storage, session_id, form = arguments
    os.nice(10)
    try:
        library = Library(open_archive(Path(folder), storage or None))
        content = read_call(library, session_id, CallForm(form))
        sys.stdout.buffer.write(_LENGTH.pack(len(content)))
        sys.stdout.buffer.write(content)
    except UnknownCall:
        return _UNKNOWN_STATUS
    except GatewayError as error:
        print(error, file=sys.stderr)
        return _FAILED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
