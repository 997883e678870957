"""Going over to another config in mid-call: the load balancer learns it, workers issue by it, the old one ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quiclb.settings.loader import Settings
from testbed.waiting import until
from tests.integration.support.workers import (
    CONFIG,
    TONE,
    InProcessCluster,
    balancer_settings,
    cluster,
    worker_settings,
)
from voice_gateway.errors import ConfigurationError
from voice_gateway.ops.reload import SettingsSource
from voice_gateway.settings.gateway_settings import GatewaySettings

NEXT = {**CONFIG, "id": 1, "key": "00112233445566778899aabbccddeeff"}


@dataclass
class Rewritten:
    """The settings as an operator changes them: a source for the load balancer and for the workers."""

    folder: Path
    config: list[Any]
    issuing: int = 0
    site: InProcessCluster | None = None

    def signature(self) -> object:
        return None

    def load(self) -> Settings:
        assert self.site is not None
        settings = balancer_settings(self.site.workers, self.config)
        return settings.model_copy(update={"forwarder": self.site.balancer._settings.forwarder})

    def load_worker(self, number: int) -> GatewaySettings:
        return worker_settings(self.folder, number, {"config_id": self.issuing}, {}, self.config)

    def source(self, number: int) -> SettingsSource:
        return SettingsSource(self.folder / "worker.toml", lambda: self.load_worker(number))


def configs(site: InProcessCluster) -> list[set[int]]:
    """The configs by whose connection IDs callers are called, of each worker."""
    return [set(worker.endpoint.connections_by_config()) for worker in site.workers]


async def test_no_call_notices_that_the_config_is_another(tmp_path: Path) -> None:
    files = Rewritten(tmp_path, [CONFIG])
    async with cluster(tmp_path, source=files, config=[CONFIG]) as site:
        files.site = site
        # calls that cannot resume: what they lost would be lost
        async with site.client(resume_timeout_s=0) as one, site.client(resume_timeout_s=0) as other:
            speaking = asyncio.gather(one.speak(TONE), other.speak(TONE))
            await asyncio.sleep(0.2)
            busy = {0} if one.worker == "w-0" else {1}
            busy |= {0} if other.worker == "w-0" else {1}

            files.config = [CONFIG, NEXT]
            site.balancer.reload()
            await until(lambda: [each.config_id for each in site.balancer.spec.configs] == [0, 1])

            files.issuing = 1
            for worker in site.workers:
                worker.reloader.reload()
            await until(lambda: all(each == {1} for number, each in enumerate(configs(site)) if number in busy))

            files.config = [NEXT]
            site.balancer.reload()
            await until(lambda: [each.config_id for each in site.balancer.spec.configs] == [1])

            # only its connection ID leads the load balancer to its worker now
            await one.migrate("127.0.0.2")
            await other.migrate("127.0.0.3")
            await speaking
            await asyncio.gather(one.finish(), other.finish())
            for call in (one, other):
                report = call.report()
                assert report.is_complete
                assert report.frames_acked == report.frames_sent > 0
                assert call.state["utterances"] == 1
        assert site.counted("stateless_resets_sent") == site.counted("unknown_foreign") == [0, 0]


async def test_a_rotation_can_be_taken_back(tmp_path: Path) -> None:
    files = Rewritten(tmp_path, [CONFIG, NEXT])
    async with cluster(tmp_path, source=files, config=[CONFIG, NEXT], quic=({"config_id": 0},)) as site:
        files.site = site
        async with site.client(resume_timeout_s=0) as call:
            for issuing in (1, 0, 1):
                files.issuing = issuing
                site.workers[0].reloader.reload()
                await until(lambda: configs(site) == [{files.issuing}])
            await call.finish()
        assert call.report().is_complete


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({**CONFIG, "key": NEXT["key"]}, "config 0 and its server ID cannot change"),
        ({**NEXT, "nonce_length": 8}, "have 17 bytes until the worker is started again, the new .* makes 13"),
    ],
    ids=["the key of a config in use", "another length"],
)
async def test_what_calls_would_notice_is_refused_and_changes_nothing(
    tmp_path: Path, changed: dict[str, Any], fault: str
) -> None:
    files = Rewritten(tmp_path, [changed], issuing=changed["id"])
    async with cluster(tmp_path, source=files, quic=({},)) as site:
        (worker,) = site.workers
        before = worker.connection_ids.source
        with pytest.raises(ConfigurationError, match=fault):
            worker.connection_ids.reload(files.load_worker(0))
        worker.reloader.reload()
        assert worker.reloader.counts["connection_ids", "refused"] == 1
        assert worker.connection_ids.source is before
        async with site.client() as call:
            await call.finish()
