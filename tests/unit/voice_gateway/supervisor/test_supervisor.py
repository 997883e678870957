"""What the supervisor does of itself, without workers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from testbed.waiting import until
from voice_gateway.supervisor.fleet import SlotState
from voice_gateway.supervisor.machine import Machine
from voice_gateway.supervisor.plan import BoxPlan, make_plan
from voice_gateway.supervisor.supervisor import WorkerSupervisor

MACHINE = Machine((0,), 64 << 30)


def supervisor(folder: Path, flags: Mapping[str, object] | None = None) -> WorkerSupervisor:
    def make() -> BoxPlan:
        return make_plan(None, {}, {"agent.name": "echo", **(flags or {})}, MACHINE, state=folder)

    return WorkerSupervisor(make(), make, MACHINE, {})


def test_a_certificate_that_cannot_be_renewed_is_logged_and_tried_again(tmp_path):
    parent = supervisor(tmp_path)
    certificate = parent.settings.tls.certificate
    certificate.unlink()
    certificate.mkdir()
    with capture_logs() as logs:
        parent.renew_certificate()
    assert [entry["event"] for entry in logs] == ["certificate_not_renewed"]
    certificate.rmdir()
    parent.renew_certificate()
    assert certificate.is_file()


async def test_its_pages_are_served_by_the_newest_certificate_where_admin_asks_for_tls(tmp_path, monkeypatch):
    monkeypatch.setattr(WorkerSupervisor, "_start", lambda parent, slot, place: None)
    ports = dict.fromkeys(("worker.listen", "page.listen", "admin.listen"), "127.0.0.1:0")
    parent = supervisor(tmp_path, {**ports, "admin.tls": True})
    running = asyncio.create_task(parent.run())
    folder = parent.settings.tls.certificate.parent
    # the pages are served before the first worker starts
    await until(lambda: SlotState.STARTING in parent.states, "its pages are served")
    host, port = parent.sockets.admin[0].getsockname()
    with pytest.raises(ConnectionError):
        await asked(host, port, None)
    former = (folder / "ca.pem").read_text()
    assert b"alive" in await asked(host, port, former)
    (folder / "leaf.pem").unlink()
    parent.renew_certificate()
    assert b"alive" in await asked(host, port, (folder / "ca.pem").read_text())
    with pytest.raises(ssl.SSLCertVerificationError):
        await asked(host, port, former)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def asked(host: str, port: int, authority: str | None) -> bytes:
    """Return the answer to a request for its health, over TLS where there is an authority."""
    tls = None if authority is None else ssl.create_default_context(cadata=authority)
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        if not answer:
            raise ConnectionResetError
        return answer
    finally:
        writer.close()
