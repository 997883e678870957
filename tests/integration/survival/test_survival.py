"""Calls behind the load balancer whose worker dies, or goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import numpy as np

from deploy.local.assertions import expected_order, named
from deploy.local.cluster import Cluster, ClusterOptions
from deploy.local.scenario import RECORDING, middle_of
from testbed.redis_server import redis_server
from voice_client import AudioOptions, CallReport, ClientError, Security, VoiceClient
from voice_client.audio.source import PcmSource

CALLS = 10


def words(count: int) -> bytes:
    """That many bursts of noise, each followed by a pause that ends a turn."""
    noise = np.random.default_rng(7).normal(0, 4000, 12_800).clip(-32768, 32767).astype("<i2").tobytes()
    return (noise + bytes(2 * 16_000)) * count


def index_of(worker: str | None) -> int:
    assert worker is not None
    return int(worker.removeprefix("worker-")) - 1


async def test_a_worker_killed_in_mid_sentence_costs_no_word() -> None:
    async with Cluster() as cluster, VoiceClient(cluster.url, security=Security(ca_file=cluster.ca_file)) as call:
        await call.listen(grace_s=1.0)
        speaking = asyncio.create_task(call.speak(RECORDING))
        await asyncio.sleep(middle_of("first_sentence"))
        killed, moves = call.worker, len(call.resumes)
        await cluster.kill_worker(index_of(killed))
        await speaking
        await call.finish()
    report = call.report()
    assert report.is_complete
    assert report.frames_acked == report.frames_sent
    after = report.resumes[moves:]  # more than one where a busy machine kept the call waiting
    assert after
    assert killed not in {resumed.worker for resumed in after}
    items = call.state["items"]
    assert [named(item, like) for item, like in zip(items, expected_order(), strict=True)] == expected_order()


async def test_calls_outlive_their_worker_in_redis_too(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with Cluster(ClusterOptions(agent="echo", store=server.url)) as cluster:
            reports = await calls_while(cluster, cluster.kill_worker(0))
    assert_complete(reports)
    assert any(report.resumes for report in reports)


async def test_without_a_shared_store_a_worker_takes_its_calls_with_it() -> None:
    """The control: it shows that the calls of the tests around it could have been lost."""
    async with Cluster(ClusterOptions(agent="echo", store="memory://")) as cluster:
        reports = await calls_while(cluster, cluster.kill_worker(0))
    lost = [report for report in reports if report.error]
    assert lost
    assert {report.worker for report in lost} == {"worker-1"}


async def test_a_rolling_restart_of_all_workers_under_calls_loses_none() -> None:
    is_over = asyncio.Event()

    async def talking() -> CallReport:
        """A caller who says one word after the other until all is over."""
        async with VoiceClient(
            cluster.url,
            security=Security(ca_file=cluster.ca_file),
            audio=AudioOptions(codec="pcm16", has_playback=False),
        ) as call:
            turns = 0
            while not is_over.is_set():
                await call.speak(PcmSource(words(1)))
                turns += 1
            await call.finish()
        assert call.state["utterances"] == turns
        return call.report()

    async with Cluster(ClusterOptions(agent="echo", workers=4)) as cluster:
        calls = [asyncio.create_task(talking()) for _ in range(CALLS)]
        await asyncio.sleep(0.5)
        for index in range(4):
            assert await cluster.terminate_worker(index) == 0
            await cluster.start_worker(index)
        is_over.set()
        reports = await asyncio.gather(*calls)
    assert_complete(reports)
    assert sum(len(report.resumes) for report in reports) >= CALLS


async def calls_while(cluster: Cluster, event: Awaitable[None], turns: int = 2) -> list[CallReport]:
    """Place calls, and let the event happen once all are connected and speak."""
    connected = asyncio.Barrier(CALLS + 1)
    calls = asyncio.gather(*(one_call(cluster, turns, connected) for _ in range(CALLS)))
    await connected.wait()
    await asyncio.sleep(0.2)
    await event
    return await calls


async def one_call(cluster: Cluster, turns: int, connected: asyncio.Barrier) -> CallReport:
    """A caller who says so many words to the echo, at the pace of speech."""
    client = VoiceClient(
        cluster.url,
        security=Security(ca_file=cluster.ca_file),
        audio=AudioOptions(codec="pcm16", has_playback=False),
        agent="echo",
    )
    async with client as call:
        await connected.wait()
        try:
            await call.speak(PcmSource(words(turns)))
            await call.finish()
        except ClientError:
            return call.report()
    report = call.report()
    assert report.state["utterances"] == turns
    return report


def assert_complete(reports: list[CallReport]) -> None:
    for report in reports:
        assert report.error is None
        assert report.is_complete
        assert report.frames_acked == report.frames_sent
