"""A worker process whose files a test replaces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.support.worker_process import PROGRAM, SETTINGS, WorkerProcess, started
from voice_gateway.certificates.development import ensure_certificate


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    ensure_certificate(tmp_path / "certs", now=time.time())
    (tmp_path / "worker.toml").write_text(SETTINGS + '[websocket]\nlisten = "127.0.0.1:0"\n')
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", str(tmp_path / "worker.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield WorkerProcess(process, await started(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
