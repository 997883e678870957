"""What the supervisor does of itself, without workers."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from voice_gateway.supervisor.machine import Machine
from voice_gateway.supervisor.plan import BoxPlan, make_plan
from voice_gateway.supervisor.supervisor import WorkerSupervisor

MACHINE = Machine((0,), 64 << 30)


def supervisor(folder: Path) -> WorkerSupervisor:
    def make() -> BoxPlan:
        return make_plan(None, {}, {"agent.name": "echo"}, MACHINE, state=folder)

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
