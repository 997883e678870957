"""Dockerfile and compose file, without an engine: `make test-images` builds and runs the images."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring.dashboard import queries
from locks.renew import documents
from quiclb.settings.loader import load_settings as load_balancer_settings
from quiclb.settings.sections import OrdinalDiscovery
from tests.deployment.chart import CHART
from tests.deployment.tools import DEPLOY, ROOT, module, run, tool
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import load_settings
from voice_gateway.settings.worker_sections import SessionSection

DOCKERFILE = DEPLOY / "images" / "Dockerfile"
COMPOSE = DEPLOY / "compose"
SECRETS = "/etc/voice-gateway/secrets"


def stages() -> Iterator[tuple[str, str]]:
    """Yield name and text of each stage of the Dockerfile."""
    for part in re.split(r"^FROM \S+ AS ", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        yield name, text


def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file."""
    found: dict[str, dict[str, Any]] = module("yaml").safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return found


def test_hadolint_finds_nothing_to_complain_of() -> None:
    run(tool("hadolint"), "--failure-threshold", "style", DOCKERFILE)


def test_hadolint_refuses_an_image_of_any_version(tmp_path: Path) -> None:
    """The control of the test above."""
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian\nRUN apt-get install curl\n")
    out, _ = run(tool("hadolint"), path, status=1)
    assert "DL3006" in out


@pytest.mark.parametrize("name", ["balancer", "worker"])
def test_an_image_is_not_roots_and_says_whether_it_is_healthy(name: str) -> None:
    text = dict(stages())[name]
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    assert " pip" not in text
    assert "\nRUN " not in text


def test_the_images_versions_are_the_packages_and_the_charts() -> None:
    chart = module("yaml").safe_load((CHART / "Chart.yaml").read_text())
    version = chart["appVersion"]
    assert {each["project"]["version"] for each in documents() if each["project"]["name"] != "voice-workspace"} == {
        version
    }
    ours = [each["image"] for each in services().values() if "build" in each]
    assert {image.rpartition(":")[2] for image in ours} == {version}


def test_compose_takes_its_file() -> None:
    run(tool("docker-compose"), "--file", COMPOSE / "compose.yaml", "config", "--quiet")


def test_compose_refuses_an_unknown_key(tmp_path: Path) -> None:
    """The control of the test above."""
    path = tmp_path / "compose.yaml"
    path.write_text((COMPOSE / "compose.yaml").read_text().replace("stop_grace_period:", "stop_grace:"))
    _, err = run(tool("docker-compose"), "--file", path, "config", "--quiet", status=1)
    assert "stop_grace" in err


def test_containers_are_sandboxed() -> None:
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_composed_workers_and_load_balancers_find_each_other(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, now=1e9)
    assert made.leaf.name == "leaf.pem"
    for name in ("reset.key", "retry.key", "ticket.key", "store.key", "access.key"):
        (tmp_path / name).write_text(64 * "a")
    (tmp_path / "quic-lb.key").write_text(32 * "b")
    for name in ("worker.toml", "lb.toml"):
        (tmp_path / name).write_text((COMPOSE / name).read_text().replace(SECRETS, str(tmp_path)))
    balancer = load_balancer_settings(tmp_path / "lb.toml")
    [discovery] = balancer.discovery
    assert isinstance(discovery, OrdinalDiscovery)
    workers = {name: service for name, service in services().items() if name.startswith("worker-")}
    assert [discovery.host_of(ordinal) for ordinal in range(discovery.count)] == sorted(workers)
    for ordinal, service in enumerate(workers.values()):
        settings = load_settings(tmp_path / "worker.toml", service["environment"])
        assert settings.server_id == balancer.config[0].build().ordinal_server_id(ordinal)
        assert settings.worker.inner == ("0.0.0.0", discovery.port)
    assert int(workers["worker-0"]["stop_grace_period"].removesuffix("s")) >= SessionSection().drain_timeout_s + 10


def test_prometheus_scrapes_hosts_by_their_own_names() -> None:
    document = module("yaml").safe_load((COMPOSE / "prometheus.yml").read_text())
    targets = [
        target for job in document["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    ]
    jobs = {job["job_name"] for job in document["scrape_configs"]}
    assert jobs == {job for _, query in queries() for job in re.findall(r'job="([^"]+)"', query)}
    hosts = [target.partition(":")[0] for target in targets]
    # worker and load balancer answer to their host's name and refuse others
    assert {host: services()[host]["hostname"] for host in hosts} == {host: host for host in hosts}


def test_the_image_of_the_lock_has_what_the_worker_asks_for() -> None:
    lock = (ROOT / "locks" / "image.lock").read_text()
    document = tomllib.loads((ROOT / "gateway" / "pyproject.toml").read_text())["project"]
    extras = re.search(r"'voice-gateway\[(.*)\]'", DOCKERFILE.read_text())
    assert extras is not None
    for extra in extras[1].split(","):
        for line in document["optional-dependencies"][extra]:
            name = re.split(r"[\[=<>~! ]", line)[0]
            assert name == "voice-gateway-link" or re.search(rf"^{name}==", lock, re.MULTILINE), name
