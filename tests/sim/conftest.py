"""What all simulations of whole calls share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from testbed.calls.agents import one_voice_detector
from testbed.calls.simulated_cluster import make_certificate
from voice_gateway.certificates.development import DevelopmentCertificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCertificate:
    """For the cluster's VIP; the same bytes in every run."""
    folder: Path = tmp_path_factory.mktemp("certificate")
    return make_certificate(folder)


@pytest.fixture
def order_agent_models() -> Iterator[None]:
    """One copy of the order agent's networks for all workers; its logs are not printed."""
    with one_voice_detector(), structlog.testing.capture_logs():
        yield
