"""Place the demonstration's call from a host of the emulated network, and print what came of it as JSON.

    python -m tests.images.caller URL CA_FILE ADDRESS [OTHER_ADDRESS]

With another address the caller's network changes in mid-sentence. Each step is also a line on standard error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from deploy.local.scenario import RECORDING, middle_of
from voice_client import ConnectionOptions, Security, VoiceClient


async def place_call(url: str, ca_file: str, address: str, other: str | None) -> dict[str, Any]:
    """Speak the recording, and go on from `other` in the middle of the word that matters most."""
    call = VoiceClient(url, security=Security(ca_file=ca_file), connection=ConnectionOptions(local_address=address))
    moved: dict[str, Any] = {}

    async def move() -> None:
        await asyncio.sleep(middle_of("taro"))
        migration = await call.migrate(local_address=other, keep_old_s=0.0)
        moved.update(to=migration.new, validated_ms=migration.validated_ms)

    async with call:
        first_worker = call.worker
        _say(f"answered by {first_worker}")
        await call.listen(grace_s=1.0)
        _say("speaking")
        tasks = [call.speak(RECORDING)] + ([move()] if other else [])
        await asyncio.gather(*tasks)
        await call.finish()
        _say("finished")
    return {"first_worker": first_worker, "last_worker": call.worker, "moved": moved, "call": call.report().as_json()}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    url, ca_file, address, *rest = sys.argv[1:]
    print(json.dumps(asyncio.run(place_call(url, ca_file, address, rest[0] if rest else None))))
