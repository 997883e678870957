"""The simulation under plain aioquic: a real handshake and a real transfer, replayed byte by byte."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from testbed.simnet.links import Profile
from testbed.simulation import Simulation, seeds, simulate

SERVER = ("192.0.2.1", 443)
SENT = bytes(range(256)) * 400


@lru_cache(1)
def _identity() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """One key and certificate for ever: a replay needs the same ones."""
    key = ec.derive_private_key(0x5EED, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    builder = builder.not_valid_after(datetime.datetime(2036, 1, 1, tzinfo=datetime.UTC))
    return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True), key


async def _upload(sim: Simulation, profile: Profile, rebind_after_s: float | None) -> bytes:
    """Send `SENT` in 100 pieces, one each 20 ms, and return what the server echoes once the stream has ended."""
    certificate, key = _identity()
    nat = sim.network.nat("198.51.100.1")
    client_host = sim.network.host("client", "10.0.0.2", up=profile, nat=nat)
    server_host = sim.network.host("server", SERVER[0], up=Profile())

    def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer() -> None:
            writer.write(await reader.read())
            writer.write_eof()

        tasks.append(asyncio.create_task(answer()))

    tasks: list[asyncio.Task[None]] = []
    configuration = QuicConfiguration(is_client=False, certificate=certificate, private_key=key)
    server = await server_host.run(serve(*SERVER, configuration=configuration, stream_handler=echo))

    async def client() -> bytes:
        async with connect(*SERVER, configuration=QuicConfiguration(verify_mode=ssl.CERT_NONE)) as protocol:
            reader, writer = await protocol.create_stream()
            for start in range(0, len(SENT), len(SENT) // 100):
                writer.write(SENT[start : start + len(SENT) // 100])
                await asyncio.sleep(0.02)
            writer.write_eof()
            return await reader.read()

    if rebind_after_s is not None:
        sim.loop.call_later(rebind_after_s, nat.rebind)
    received = await client_host.run(client())
    await asyncio.gather(*tasks)
    await asyncio.sleep(1)
    server.close()
    return received


@pytest.mark.parametrize("seed", seeds(5))
@pytest.mark.parametrize(
    "profile",
    [
        Profile(delay_s=0.025),
        Profile(delay_s=0.025, jitter_s=0.02, loss=0.05, reorder=0.05, duplicate=0.02),
    ],
    ids=["perfect", "rough"],
)
def test_a_transfer_survives_the_link_and_a_rebinding(profile: Profile, seed: int) -> None:
    received, _ = simulate(lambda sim: _upload(sim, profile, rebind_after_s=1.0), seed=seed)
    assert received == SENT


def digest_of_a_transfer(seed: int) -> str:
    """The trace of a rough transfer, bytes included."""
    rough = Profile(delay_s=0.025, jitter_s=0.02, loss=0.05, reorder=0.05, duplicate=0.02)
    return simulate(lambda sim: _upload(sim, rough, rebind_after_s=1.0), seed=seed)[1].trace.digest()


def test_a_seed_replays_every_byte_in_another_process() -> None:
    """The result depends on the seed alone, not on hash order."""
    script = "from tests.sim.test_quic import digest_of_a_transfer as d; print(d(9), d(10))"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] == [digest_of_a_transfer(9), digest_of_a_transfer(10)]
    assert outputs[0][0] != outputs[0][1]
