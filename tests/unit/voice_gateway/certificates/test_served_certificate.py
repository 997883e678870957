from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

from testbed.simnet.loop import VirtualLoop
from tests.unit.voicelink.quic.harness import NOW, pem
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.errors import IdentityError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.settings.worker_sections import TlsSection

DAY = 86_400.0


def write(folder: Path, name: str = "localhost", **dates: int) -> TlsSection:
    certificate, key = pem(name=name, **dates)
    (folder / "leaf.pem").write_bytes(certificate)
    (folder / "leaf.key").write_bytes(key)
    return TlsSection(certificate=folder / "leaf.pem", key=folder / "leaf.key")


def settings(tls: TlsSection) -> GatewaySettings:
    return GatewaySettings.model_validate({"worker": {"listen": "127.0.0.1:0"}, "tls": tls})


def names(served: ServedCertificate) -> str:
    return served.identity.certificate.subject.rfc4514_string()


def test_followers_get_the_new_one(tmp_path: Path) -> None:
    tls = write(tmp_path)
    served = ServedCertificate(tls, lambda: NOW)
    followed: list[TlsIdentity] = []
    served.follow(followed.append)
    write(tmp_path, "second")
    with capture_logs() as logs:
        served.reload(settings(tls))
    assert names(served) == "CN=second"
    assert followed == [served.identity]
    assert [line["event"] for line in logs] == ["certificate_renewed"]
    assert list(served.files(settings(tls))) == [tls.certificate, tls.key]


@pytest.mark.parametrize(
    ("file", "contents", "message"),
    [
        ("leaf.pem", b"nonsense", "certificate cannot be read"),
        ("both", ec.SECP521R1(), "key of the curve secp521r1"),
        ("both", ec.SECP256K1(), "key of the curve secp256k1"),
        ("both", 1024, "key of RSA with 1024 bits"),
        ("leaf.key", pem(name="other")[1], "does not match"),
        ("leaf.pem", pem(days=1, offset_days=-20)[0], "does not match|expired"),
    ],
)
def test_a_bad_one_is_refused_and_the_old_one_stays(
    tmp_path: Path, file: str, contents: bytes | int | ec.EllipticCurve, message: str
) -> None:
    tls = write(tmp_path)
    served = ServedCertificate(tls, lambda: NOW)
    served.tls_context()
    served.follow(lambda identity: pytest.fail("a bad certificate was passed on"))
    if isinstance(contents, bytes):
        (tmp_path / file).write_bytes(contents)
    else:
        write_pair(tmp_path, key_of(contents))
    with pytest.raises(IdentityError, match=message):
        served.reload(settings(tls))
    assert names(served) == "CN=localhost"


def key_of(kind: int | ec.EllipticCurve) -> Any:
    return rsa.generate_private_key(65537, kind) if isinstance(kind, int) else ec.generate_private_key(kind)


def write_pair(folder: Path, key: Any) -> None:
    for name, contents in zip(("leaf.pem", "leaf.key"), pem(name="weak", key=key), strict=True):
        (folder / name).write_bytes(contents)


@pytest.mark.parametrize("kind", [ec.SECP521R1(), ec.SECP256K1(), 1024], ids=["P-521", "secp256k1", "RSA-1024"])
def test_one_that_no_caller_can_be_served_with_is_refused_at_the_start(
    tmp_path: Path, kind: int | ec.EllipticCurve
) -> None:
    tls = write(tmp_path)
    write_pair(tmp_path, key_of(kind))
    with pytest.raises(IdentityError, match="no client can be served"):
        ServedCertificate(tls, lambda: NOW)


def test_settings_may_name_other_files(tmp_path: Path) -> None:
    served = ServedCertificate(write(tmp_path), lambda: NOW)
    (tmp_path / "new").mkdir()
    served.reload(settings(write(tmp_path / "new", "moved")))
    assert names(served) == "CN=moved"


def events_until(served: ServedCertificate, clock: list[float], days: float) -> list[str]:
    loop = VirtualLoop(limit_s=30 * 86_400)
    began = clock[0]

    async def run() -> None:
        served.start()
        for hour in range(int(days * 24)):
            clock[0] = began + hour * 3600
            await asyncio.sleep(3600)
        served.stop()

    with capture_logs() as logs:
        try:
            loop.run_until_complete(run())
        finally:
            loop.close()
    return [line["event"] for line in logs]


def test_the_last_fifth_of_its_lifetime_is_warned_of(tmp_path: Path) -> None:
    clock = [NOW]
    served = ServedCertificate(write(tmp_path, days=10, offset_days=-1), lambda: clock[0])
    assert served.expires == NOW + 9 * DAY
    assert events_until(served, clock, 6.5) == []
    assert set(events_until(served, clock, 1)) == {"certificate_expires_soon"}
    clock[0] = NOW + 9 * DAY + 1
    assert events_until(served, clock, 0.2) == ["certificate_expired"]
