"""A local vendor in a process of its own, which can be killed: `python -m tests.agents.support.vendor_program NAME`.

It prints its port as JSON, and serves until it is killed; each violation of the protocol is a line on standard error.
`NAME` is openai, gpt-live, deepgram, elevenlabs or gemini.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.agents.support.gpt_live_server import live_server
from tests.agents.support.openai_realtime_server import realtime_server
from tests.agents.support.vendor_voice import EarsRecogniser, shop_brain
from tests.agents.support.vendors.brain import opened_ears
from tests.agents.support.vendors.deepgram import DeepgramSession
from tests.agents.support.vendors.elevenlabs import ElevenLabsSession
from tests.agents.support.vendors.gemini import GeminiSession
from tests.agents.support.vendors.server import VendorSession, vendor_server

KINDS: dict[str, type[VendorSession]] = {
    "deepgram": DeepgramSession,
    "elevenlabs": ElevenLabsSession,
    "gemini": GeminiSession,
}


async def serve(name: str) -> None:
    """Serve the vendor, and report what clients do wrong."""
    if name == "openai":
        async with realtime_server(brain=shop_brain, pace_s=0.05) as openai:
            await _report(openai.port, openai.faults)
    if name == "gpt-live":
        async with live_server(brain=shop_brain, pace_s=0.02) as live:
            await _report(live.port, live.faults)
    async with opened_ears(EarsRecogniser()) as ears, vendor_server(ears, KINDS[name]) as vendor:
        vendor.offers_tools = True
        await _report(vendor.port, vendor.violations)


async def _report(port: int, violations: list[str]) -> None:
    print(json.dumps({"port": port}), flush=True)
    reported = 0
    while True:
        await asyncio.sleep(0.2)
        for violation in violations[reported:]:
            print(f"violation: {violation}", file=sys.stderr, flush=True)
        reported = len(violations)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
