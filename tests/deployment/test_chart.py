"""The Helm chart renders what Kubernetes takes by its strict schemas, and settings that the programs take."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring.dashboard import queries
from quiclb import CidEncoder
from quiclb.settings.loader import load_settings as load_balancer_settings
from quiclb.settings.sections import OrdinalDiscovery
from tests.deployment.chart import CHART, VARIANTS, arguments, chart, find, pods, rendered, write_settings
from tests.deployment.tools import module, run, tool
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.endpoint.sockets.client_paths import TrustedProxies
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings
from voice_gateway.worker.preflight import risks

KUBERNETES = "1.37"
USER = 10_001
NO_SCHEMA = {"ServiceMonitor"}
"""Kinds of other projects; `make test-kubernetes` checks them against their own definitions."""
SERVER_ID = "LWV1oW+gjqQ="
"""A server ID as AWS Load Balancer Controller writes it."""


def check(manifest: dict[str, Any]) -> None:
    """Check a manifest against the strict schema of its kind; raises `ValidationError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module("kubernetes_validate").validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_helm_finds_nothing_to_complain_of(variant: str) -> None:
    run(tool("helm"), "lint", "--strict", "--quiet", CHART, *arguments(*VARIANTS[variant]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_keeps_the_strict_schema_of_its_kind(variant: str) -> None:
    for manifest in rendered(variant):
        if manifest["kind"] not in NO_SCHEMA:
            check(manifest)


def test_a_misspelt_field_breaks_the_schema() -> None:
    """The control of the test above."""
    manifest = copy.deepcopy(find("default", "StatefulSet", "voice-voice-gateway-worker"))
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(Exception, match="terminationGracePeriod"):
        check(manifest)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--set=keys.secretName=",), "keys"),
        (("--set=workers.replica=3",), "replica"),
        (("--set=workers.replicas=0",), "replicas"),
        (("--set=quicLb.configId=7",), "configId"),
        (("--set=access.secretName=",), "access.openToAll=true where callers need no token"),
        (("--set=access.keyFiles=null",), "access.keyFiles must name the files"),
        (("--set=balancers.enabled=false",), "nothing else brings UDP to the workers"),
        (("--set=workers.service.enabled=true",), "enable balancers or workers.service, not both"),
        (("--set=workers.serverIds=environment",), "workers.serverIds must be ordinal with balancers"),
        (("--set=redis.bundled=false",), "redis.existing.secretName is required"),
    ],
)
def test_values_that_cannot_be_served_are_refused_by_name(given: tuple[str, ...], message: str) -> None:
    _, err = run(tool("helm"), "template", "voice", CHART, *arguments(*given), status=1)
    assert message in err


@pytest.fixture(scope="session")
def secret(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of all Secrets."""
    made = ensure_certificate(tmp_path_factory.mktemp("certificate"), now=1e9)
    return {
        **dict.fromkeys(("reset.key", "retry.key", "ticket.key", "store.key", "production.pub"), 64 * "a"),
        "quic-lb.key": 32 * "b",
        "tls.crt": made.leaf.read_text(),
        "tls.key": made.key.read_text(),
    }


def worker_settings(variant: str, folder: Path, secret: dict[str, str], ordinal: int = 11) -> GatewaySettings:
    """Return the settings of a worker whose pod has this ordinal, as the kubelet and the rendered pod give them."""
    [container] = pods(variant)["worker"]["spec"]["containers"]
    facts = {"metadata.name": f"w-{ordinal}", "metadata.labels['apps.kubernetes.io/pod-index']": str(ordinal)}
    secrets = {"url": "redis://other:6379", "redis-password": "abcd"}
    environ: dict[str, str] = {"AWS_LBC_QUIC_SERVER_ID": SERVER_ID}
    for entry in container["env"]:
        source = entry.get("valueFrom", {})
        key, field = source.get("secretKeyRef", {}).get("key"), source.get("fieldRef", {}).get("fieldPath")
        value = secrets[key] if key else facts[field] if field else entry["value"]
        environ[entry["name"]] = value.replace("$(REDIS_PASSWORD)", environ.get("REDIS_PASSWORD", ""))
    given = [each.removeprefix("--").partition("=") for each in container["args"][1:]]
    flags = {name: value for name, _, value in given}
    assert ("insecure-development" in flags) == (variant in ("plain", "images"))
    server_id = flags.get("server-id", "").replace("$(AWS_LBC_QUIC_SERVER_ID)", SERVER_ID) or None
    path = write_settings(variant, "worker", folder, secret)
    assert flags["config"] == f"/etc/voice-gateway/settings/{path.name}"
    settings = load_settings(path, environ, {"worker.server_id": server_id})
    # a development certificate, which is all that a test has, is what it warns of
    found = [risk.sentence for risk in risks(settings, None, USER) if "development certificate" not in risk.sentence]
    assert len(found) == ("insecure-development" in flags)
    return settings


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_worker_takes_its_rendered_settings(variant: str, tmp_path: Path, secret: dict[str, str]) -> None:
    settings = worker_settings(variant, tmp_path, secret)
    assert settings.server_id == bytes.fromhex("2d6575a16fa08ea4" if variant == "aws" else "0000000b")
    assert settings.worker.name == "w-11"
    assert settings.session.store.startswith("redis://")
    assert settings.access.is_open == (variant in ("plain", "images"))
    assert (settings.worker.listen is not None) == (variant == "aws")
    udp = settings.worker.inner or settings.worker.listen
    assert udp is not None
    assert settings.admin is not None
    [container] = pods(variant)["worker"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert (ports.pop("quic"), ports.pop("metrics")) == (udp[1], settings.admin.listen[1])
    assert ports == ({"websocket": settings.websocket.listen[1]} if settings.websocket else {})


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "aws"])
def test_a_load_balancer_finds_the_workers_by_their_names_and_server_ids(
    variant: str, tmp_path: Path, secret: dict[str, str]
) -> None:
    settings = load_balancer_settings(write_settings(variant, "balancer", tmp_path, secret))
    [discovery] = settings.discovery
    assert isinstance(discovery, OrdinalDiscovery)
    workers = find(variant, "StatefulSet", "voice-voice-gateway-worker")["spec"]
    assert discovery.host_of(2) == f"voice-voice-gateway-worker-2.{workers['serviceName']}.telephones.svc.cluster.local"
    scaled = [each for each in rendered(variant) if each["kind"] == "HorizontalPodAutoscaler"]
    assert discovery.count == (scaled[0]["spec"]["maxReplicas"] if scaled else workers["replicas"])
    assert settings.forwarder.metrics is not None
    [container] = pods(variant)["balancer"]["spec"]["containers"]
    listening = {settings.forwarder.listen[1], settings.forwarder.inner[1], settings.forwarder.metrics[1]}
    assert {each["containerPort"] for each in container["ports"]} == listening
    folder = tmp_path / "worker"
    folder.mkdir()
    worker = worker_settings(variant, folder, secret, ordinal=2)
    [config] = [entry.build() for entry in settings.config]
    assert worker.issuing_config() == config
    assert worker.server_id == config.ordinal_server_id(2)


def test_connection_ids_behind_aws_are_what_its_listener_routes(tmp_path: Path, secret: dict[str, str]) -> None:
    settings = worker_settings("aws", tmp_path, secret)
    assert settings.server_id is not None
    cid = CidEncoder(settings.issuing_config(), settings.server_id, rng=lambda count: bytes(count)).encode()
    assert cid[0] <= 0x1F
    assert cid[1:9].hex() == "2d6575a16fa08ea4"
    assert settings.issuing_config().key is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_container_is_sandboxed_and_probed(variant: str) -> None:
    for component, pod in pods(variant).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, component
        assert spec["securityContext"]["runAsNonRoot"] is True, component
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, component
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"readinessProbe", "livenessProbe", "resources", "lifecycle"} <= container.keys()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_worker_is_given_time_to_leave_the_dns_and_to_drain(
    variant: str, tmp_path: Path, secret: dict[str, str]
) -> None:
    spec = pods(variant)["worker"]["spec"]
    [container] = spec["containers"]
    settings = worker_settings(variant, tmp_path, secret)
    slept = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= slept + settings.session.drain_timeout_s + 10


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_select_pods_of_their_own_installation(variant: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(variant).values()]
    for manifest in rendered(variant):
        spec = manifest.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        wanted = selector.get("matchLabels", selector)
        if not wanted or manifest["kind"] == "ServiceMonitor":
            continue
        assert wanted["app.kubernetes.io/instance"] == "voice"
        assert [each for each in labels if wanted.items() <= each.items()], manifest["metadata"]["name"]


def test_metrics_are_scraped_from_every_component_under_the_jobs_that_dashboard_and_alerts_ask_for() -> None:
    scraped = chart("everything").scraped()
    assert {component: job for component, (job, _) in scraped.items()} == {
        "worker": "voice-gateway",
        "balancer": "quiclb",
    }
    assert all(f'job="{job}"' in " ".join(query for _, query in queries()) for job, _ in scraped.values())
    ports = {
        component: {each["name"] for each in pod["spec"]["containers"][0]["ports"]}
        for component, pod in pods("everything").items()
    }
    assert all(port in ports[component] for component, (_, port) in scraped.items())


def test_only_load_balancers_reach_the_port_where_spp_headers_are_believed(
    tmp_path: Path, secret: dict[str, str]
) -> None:
    policy = find("default", "NetworkPolicy", "voice-voice-gateway-worker")["spec"]
    [rule] = [each for each in policy["ingress"] if {"port": "quic", "protocol": "UDP"} in each["ports"]]
    [peer] = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "balancer"
    settings = worker_settings("default", tmp_path, secret)
    proxies = TrustedProxies(settings.worker.trusted_proxies)
    assert [proxies.has((host, 4434)) for host in ("10.1.2.3", "8.8.8.8")] == [True, False]


@pytest.mark.parametrize("variant", VARIANTS)
def test_secrets_are_named_and_never_rendered(variant: str) -> None:
    assert "Secret" not in {each["kind"] for each in rendered(variant)}
