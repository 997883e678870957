"""Reads and decodes recorded calls in a process of its own, so that neither worker nor command waits for it.

`python -m voice_gateway.recording.library.reader_process FOLDER STORAGE SESSION FORM` writes to standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
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


@dataclass(slots=True)
class CallReader:
    """Reads calls for a worker, `MOST_AT_ONCE` at a time, each in a process of low priority."""

    folder: Path | None
    storage: str | None
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    async def read(self, session_id: str, form: CallForm) -> bytes:
        """Return a call in this form; raises `GatewayError`, and `UnknownCall` where there is none."""
        if self.folder is None:
            raise UnknownCall("this worker records no calls: recording.folder is not set")
        if not is_call_name(session_id):
            raise UnknownCall(f"there is no recording of the call {session_id!r}")
        command = (sys.executable, "-m", __name__, str(self.folder), self.storage or "", session_id, form.value)
        async with self._places:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    output, errors = await process.communicate()
            except TimeoutError:
                raise ArchiveError(f"the call could not be read within {TIMEOUT_S:g} s") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode == _UNKNOWN_STATUS:
            raise UnknownCall(f"there is no recording of the call {session_id!r}")
        if process.returncode:
            raise ArchiveError(
                errors.decode("utf-8", "replace").strip().rpartition("\n")[2] or "the call cannot be read"
            )
        return output


def main(arguments: list[str]) -> int:
    """Write the call to standard output; the exit status says why not, and standard error in one sentence."""
    folder, storage, session_id, form = arguments
    os.nice(10)
    try:
        library = Library(open_archive(Path(folder), storage or None))
        sys.stdout.buffer.write(read_call(library, session_id, CallForm(form)))
    except UnknownCall:
        return _UNKNOWN_STATUS
    except GatewayError as error:
        print(error, file=sys.stderr)
        return _FAILED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
