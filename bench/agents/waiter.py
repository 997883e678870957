"""The ten lines of a call agent that takes an order, and its control, whose tool is not in the journal.

Speech to text, voice activity and synthesis take little of the processor, for many calls at the same time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from bench.agents.ways import ORDER
from bench.hosts.waiter import Energy, LengthRecogniser
from voice_gateway.agent.call import Call, CallAgent, CallOptions

_WHOLE_BYTES: Final = 140_000
"""An utterance of the order, with the pause that ends it."""


class Tones:
    """A tone of 50 ms for each character."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        """Yield PCM16 at 24 kHz."""
        yield (np.sin(np.arange(1_200 * len(text)) / 20) * 4_000).astype("<i2").tobytes()


OPTIONS = CallOptions(recogniser=lambda: LengthRecogniser(ORDER, _WHOLE_BYTES), voices=Energy, speech=Tones)


async def take_order(words: str, key: str) -> str:
    """Write the order to the file that `ORDERS` names, and return once there is the file that opens the gate."""
    with Path(os.environ["ORDERS"]).open("a") as file:  # noqa: ASYNC230 - a line
        file.write(f"{key} {words}\n")
    while not Path(os.environ["ORDERS"] + ".open").exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.01)
    return words


class Waiter(CallAgent):
    """Takes an order."""

    options = OPTIONS

    async def converse(self, call: Call) -> None:
        """Order what the caller says."""
        async for turn in call.turns():
            call.state["order"] = await call.tool(take_order, words=turn.text)
            await call.say("I have that for you.")


class ForgetfulWaiter(CallAgent):
    """The control: calls its tool beside the journal, so that each attempt has a key of its own."""

    options = OPTIONS

    async def converse(self, call: Call) -> None:
        """Order what the caller says."""
        async for turn in call.turns():
            call.state["order"] = await take_order(turn.text, os.urandom(8).hex())
            await call.say("I have that for you.")
