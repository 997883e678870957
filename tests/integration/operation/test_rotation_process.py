"""A worker's own process gets a config, and then another one, by its settings file alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.support.worker_process import SETTINGS, WorkerProcess

WITH_CONFIGS = """
[quic]
config_id = {config_id}

[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key_file = "0.key"

[[config]]
id = 1
server_id_length = 4
nonce_length = 12
key_file = "1.key"
"""


def settings(config_id: int) -> str:
    with_server_id = SETTINGS.replace("[worker]\n", '[worker]\nserver_id = "00000001"\n')
    return with_server_id + WITH_CONFIGS.format(config_id=config_id)


async def connections(daemon: WorkerProcess) -> dict[str, float]:
    """How many connections there are by config."""
    lines = [line for line in (await daemon.metrics()).splitlines() if line.startswith("quic_connections_by_config{")]
    return {line.split('"')[1]: float(line.split()[1]) for line in lines}


async def test_a_call_goes_from_one_config_to_the_next(daemon: WorkerProcess, tmp_path: Path) -> None:
    (tmp_path / "0.key").write_text("8f95f09245765f80256934e50c66207f")
    (tmp_path / "1.key").write_text("00112233445566778899aabbccddeeff")
    async with daemon.caller(tmp_path / "certs" / "ca.pem") as call:
        assert await connections(daemon) == {"7": 1}
        for config_id in (0, 1):
            (tmp_path / "worker.toml").write_text(settings(config_id))
            assert (await daemon.until("connection_ids_rotated"))["config"] == config_id
            call.send_pcm(bytes(6_400))
            await call.ping()
            await call.ping()
            async with asyncio.timeout(20):
                while await connections(daemon) != {str(config_id): 1}:  # noqa: ASYNC110 - another process's doing
                    await asyncio.sleep(0.05)
        await call.finish()
        assert call.report().as_json()["frames_acked"] == 20
