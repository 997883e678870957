"""The program of gateway/docs/pipecat.md takes the spoken order, and one of the workers is killed meanwhile."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from deploy.local.assertions import expected_order, named
from deploy.local.cluster import Cluster, ClusterOptions
from deploy.local.scenario import RECORDING, middle_of
from voice_client import CallReport, Security, VoiceClient

PAGE = Path(__file__).parents[3] / "gateway" / "docs" / "pipecat.md"
AGENT = "order_bot:OrderBot"


async def ordering(kill_s: float | None) -> tuple[CallReport, list[dict[str, object]], str]:
    # what a pipeline imports takes long on a busy machine
    async with Cluster(ClusterOptions(agent=AGENT, ready_timeout_s=90.0)) as running:
        async with VoiceClient(running.url, security=Security(ca_file=running.ca_file)) as call:
            await call.listen(grace_s=1.0)
            speaking = asyncio.create_task(call.speak(RECORDING))
            if kill_s is not None:
                await asyncio.sleep(kill_s)
                assert call.worker is not None
                await running.kill_worker(int(call.worker.removeprefix("worker-")) - 1)
            await speaking
            await call.finish()
        logs = "".join(each.read_text() for each in running.folder.glob("*.log"))
    return call.report(), call.state["items"], logs


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "kill_s", [None, middle_of("first_sentence")], ids=["undisturbed", "worker killed in mid-sentence"]
)
async def test_the_spoken_order_is_understood_through_a_pipeline(
    kill_s: float | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "order_bot.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report, items, logs = await ordering(kill_s)
    assert report.is_complete
    assert report.frames_acked == report.frames_sent
    assert [named(item, like) for item, like in zip(items, expected_order(), strict=True)] == expected_order()
    assert report.resumes or kill_s is None  # a caller also leaves a worker that is held up for a second
    assert "taro" not in logs.lower(), "what is said is not logged"
