"""The demonstration, as `make demo` runs it."""

import asyncio
import json
import sys

from deploy.local.cluster import ROOT


async def test_the_demonstration_loses_nothing_and_its_control_does() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.local.demo",
        "--json",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    document = json.loads(out)
    assert document["ok"]
    assert document["lost"] == []
    assert [item["drink"] for item in document["scenario"]["call"]["state"]["items"]] == [
        "taro milk tea",
        "matcha latte",
    ]
    assert document["scenario"]["restart_gap_ms"] > 20
    assert document["control"]["is_cut_off"]
    assert document["control"]["call"]["frames_acked"] < document["control"]["call"]["frames_sent"]
