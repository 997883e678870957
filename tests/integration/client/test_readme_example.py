"""The Python examples that the README and the package show, as they stand there."""

from __future__ import annotations

import asyncio
import re
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import voice_client as client
from voice_client.audio.source import spoken
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.worker.worker import Worker
from voicelink.audio.wav import wav_header

ROOT = Path(__file__).parents[3]
SPEECH = "Can I get a large taro milk tea with half sugar?"
TIMEOUT_S = 60


def examples() -> list[str]:
    """Each distinct example once."""
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    described = re.search(r"\n\n(    import asyncio.*?)\n\n(?! )", client.__doc__ or "", re.DOTALL)
    assert described is not None
    calls = [example.strip() for example in (*shown, textwrap.dedent(described[1])) if "VoiceClient" in example]
    return list({re.sub(r"\s+", " ", example): example for example in calls}.values())


@pytest.fixture(scope="module")
def order() -> bytes:
    pcm = spoken(SPEECH).pcm
    return wav_header(16_000, len(pcm)) + pcm


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    folder = tmp_path / "certs" / "dev"
    ensure_certificate(folder, now=time.time())
    worker = Worker(
        GatewaySettings.model_validate(
            {
                "worker": {"listen": "127.0.0.1:0"},
                "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
            }
        )
    )
    await worker.start()
    assert worker.addresses.direct is not None
    yield worker.addresses.direct[1]
    await worker.stop(0.2)


@pytest.mark.parametrize("example", examples(), ids=lambda _: "example")
async def test_the_example_runs_as_shown(example: str, port: int, order: bytes, tmp_path: Path) -> None:
    for name in re.findall(r"[\w/]+\.wav", example):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(order)
    program = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", example)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, err.decode()) == (0, "")
    assert "taro milk tea" in out.decode()
