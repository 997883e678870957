"""One call: `python -m bench.pipelines.call KIND HOST PORT CA_FILE`, in the caller's network namespace.

The caller has three turns. It prints `{"dark": SECONDS}` where the link is to go dark: during the first answer, during
the second turn, and during the third answer, which it interrupts. The last line is what it heard, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from bench.pipelines.callers import CALLERS, Caller
from bench.pipelines.words import INTERRUPTION, LAST_ANSWER, SAID, SAID_GAP_S, SAID_WORD_S, speech
from testbed.pipecat_services import WORD_S

DARK_S: Final = 1.0
_FRAME_S: Final = 0.02
_FRAME_BYTES: Final = 640
_QUIET_S: Final = 2.5
_ANSWER_TIMEOUT_S: Final = 20.0


class Mouth:
    """Gives a frame each 20 ms: what is said, or silence."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        self._left = b""

    async def run(self) -> None:
        """Speak until cancelled."""
        due = self._loop.time()
        while True:
            frame, self._left = self._left[:_FRAME_BYTES], self._left[_FRAME_BYTES:]
            await self._caller.send(frame.ljust(_FRAME_BYTES, b"\0"))
            due += _FRAME_S
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    async def say(self, words: Sequence[str], dark_at: int | None = None) -> float:
        """Say the words, and return when the last of them ended; the link goes dark before word `dark_at`."""
        self._left = speech(words, 16_000, SAID_WORD_S, SAID_GAP_S)
        began = self._loop.time()
        if dark_at is not None:
            await asyncio.sleep(dark_at * (SAID_WORD_S + SAID_GAP_S))
            darken()
        ended = began + len(words) * (SAID_WORD_S + SAID_GAP_S) - SAID_GAP_S
        await asyncio.sleep(ended - self._loop.time())
        return ended


def darken() -> None:
    """Ask for a blackout."""
    print(json.dumps({"dark": DARK_S}), flush=True)


async def _first_sound(caller: Caller, since: float) -> float | None:
    """Return when the answer began to be heard, `None` where none came."""
    loop = asyncio.get_running_loop()
    while loop.time() < since + _ANSWER_TIMEOUT_S:
        if (found := caller.ears.audible(since)) and found[0][0] <= loop.time():
            return found[0][0]
        await asyncio.sleep(0.02)
    return None


async def _quiet(caller: Caller, since: float) -> None:
    """Wait until nothing was heard for a while."""
    loop = asyncio.get_running_loop()
    while True:
        found = caller.ears.audible(since)
        if loop.time() > max(since, *(end for _, end in found[-1:]), since) + _QUIET_S:
            return
        await asyncio.sleep(0.1)


def _end_of_piece(audible: Sequence[tuple[float, float]]) -> float:
    """Return when the first piece without a pause of 0.5 s ended."""
    end = audible[0][0] if audible else 0.0
    for begin, until in audible:
        if begin - end > 0.5:
            break
        end = until
    return end


async def hold(kind: str, host: str, port: int, ca_file: str) -> dict[str, Any]:
    """Hold the call, and return what was heard; times in ms."""
    loop = asyncio.get_running_loop()
    dialled = loop.time()
    async with CALLERS[kind](host, port, ca_file) as caller:
        connected_ms = (loop.time() - dialled) * 1000
        mouth = Mouth(caller)
        speaking = asyncio.create_task(mouth.run())
        await asyncio.sleep(1.0)

        first_ended = await mouth.say(SAID[0])
        first_sound = await _first_sound(caller, first_ended)
        if first_sound is not None:
            await asyncio.sleep(max(0.0, first_sound + 2.0 - loop.time()))
            darken()
        await _quiet(caller, first_ended)
        first = caller.ears.audible(first_ended)
        silence_s = (first[-1][1] - first[0][0] - sum(end - begin for begin, end in first)) if first else None
        first_words = caller.ears.words(first_ended, WORD_S)

        second_ended = await mouth.say(SAID[1], dark_at=3)
        await _first_sound(caller, second_ended)
        await _quiet(caller, second_ended)

        third_ended = await mouth.say(SAID[2])
        third_sound = await _first_sound(caller, third_ended)
        if third_sound is not None:
            await asyncio.sleep(max(0.0, third_sound + 1.5 - loop.time()))
        darken()
        await asyncio.sleep(DARK_S / 2)
        began = loop.time()
        interrupted = await mouth.say(INTERRUPTION)
        await _first_sound(caller, interrupted)
        await _quiet(caller, interrupted)
        stopped_s = _end_of_piece(caller.ears.audible(began)) - began
        third_words = [word for word in caller.ears.words(third_ended, WORD_S) if word != LAST_ANSWER]
        speaking.cancel()
    return {
        "connected_ms": connected_ms,
        "first_sound_ms": None if first_sound is None else (first_sound - first_ended) * 1000,
        "silence_ms": None if silence_s is None else max(0.0, silence_s) * 1000,
        "stopped_ms": max(0.0, stopped_s) * 1000,
        "first_words": first_words,
        "third_words": third_words,
    }


if __name__ == "__main__":
    result = asyncio.run(hold(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    print(json.dumps({"heard": result}), flush=True)
