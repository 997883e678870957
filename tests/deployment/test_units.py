"""systemd takes the units as they are written, and finds them well enclosed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deployment.tools import DEPLOY, run, tool
from voice_gateway.settings.worker_sections import SessionSection

SERVICES = ("quiclb/quiclb.service", "systemd/voice-gateway@.service")
SOCKETS = ("quiclb/quiclb-vip.socket", "quiclb/quiclb-inner.socket")
MOST_EXPOSED = 20
"""Of 100, as `systemd-analyze security` counts."""


def settings(service: str) -> dict[str, str]:
    """The last value of each key of a unit."""
    lines = [line.partition("=") for line in (DEPLOY / service).read_text().splitlines() if not line.startswith("#")]
    return {key: value for key, equals, value in lines if equals}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with all units, whose programs are there."""
    for unit in (*SERVICES, *SOCKETS):
        text = (DEPLOY / unit).read_text()
        for program in ("/opt/quiclb/bin/quiclb", "/opt/voice-gateway/bin/voice-gateway"):
            text = text.replace(f"={program} ", "=/bin/true ")
        (tmp_path / Path(unit).name.replace("@.", "@3.")).write_text(text)
    return tmp_path


def test_systemd_takes_every_unit(units: Path) -> None:
    # an unknown key is a warning, and no failure
    _, err = run(tool("systemd-analyze"), "verify", *sorted(units.iterdir()))
    assert err == ""


def test_a_misspelt_key_is_a_warning(units: Path) -> None:
    """The control of the test above."""
    unit = units / "quiclb.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
    _, err = run(tool("systemd-analyze"), "verify", unit)
    assert "ProtectHomes" in err


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_enclosed(service: str, units: Path) -> None:
    unit = units / Path(service).name.replace("@.", "@3.")
    run(tool("systemd-analyze"), "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", unit)


def test_a_worker_is_given_time_to_drain() -> None:
    given = settings("systemd/voice-gateway@.service")
    assert int(given["TimeoutStopSec"]) >= SessionSection().drain_timeout_s + 10
    assert given["Type"] == "notify"
