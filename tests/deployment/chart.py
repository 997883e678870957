"""The Helm chart, rendered as several installations would have it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from testbed.kubernetes.chart import RenderedChart
from tests.deployment.tools import DEPLOY, module, tool

CHART = DEPLOY / "helm" / "voice-gateway"
NAMESPACE = "telephones"
REQUIRED = (
    "keys.secretName=voice-keys",
    "tls.secretName=voice-tls",
    "access.secretName=voice-access",
    "access.keyFiles={production.pub}",
)
AWS = f"--values={CHART / 'values-aws-nlb.yaml'}"
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "aws": (AWS,),
    "everything": (
        "--set=balancers.kind=DaemonSet,autoscaling.enabled=true,serviceMonitor.enabled=true,ipFamily=IPv6",
        "--set=workers.webSocket.enabled=true,redis.bundled=false,redis.existing.secretName=voice-redis",
        "--set=access.origins={https://shop.example.com},images.worker.digest=sha256:" + 64 * "0",
        "--set=images.pullSecrets[0].name=registry,serviceMonitor.labels.team=voice",
        "--set=workers.environment.VOICE_GATEWAY_LIMITS_ADDRESS_SESSIONS=20",
        "--set=workers.environmentFrom[0].secretRef.name=vendors,workers.nodeSelector.pool=voice",
        "--set=balancers.tolerations[0].key=edge,balancers.tolerations[0].operator=Exists",
    ),
    "plain": (
        "--set=quicLb.encrypted=false,networkPolicy.enabled=false,balancers.service.type=NodePort",
        "--set=access.openToAll=true,access.secretName=,access.keyFiles=null",
    ),
    # what `make test-images` runs
    "images": (
        "--set=workers.replicas=2,workers.drain.timeoutSeconds=6,access.openToAll=true,access.secretName=,access.keyFiles=null",
    ),
}


def arguments(*given: str) -> list[str]:
    """Return what `helm template` and `helm lint` are called with."""
    return [f"--set={','.join(REQUIRED)}", f"--namespace={NAMESPACE}", *given]


@lru_cache
def chart(variant: str) -> RenderedChart:
    """Return a variant as Helm renders it."""
    module("yaml")
    return RenderedChart.render(tool("helm"), CHART, "voice", arguments(*VARIANTS[variant]))


def rendered(variant: str) -> tuple[dict[str, Any], ...]:
    """Return the manifests of a variant."""
    return chart(variant).manifests


def find(variant: str, kind: str, name: str) -> dict[str, Any]:
    """Return one manifest."""
    return chart(variant).find(kind, name)


def pods(variant: str) -> dict[str, dict[str, Any]]:
    """Return the pod templates, by component."""
    return chart(variant).pods()


def write_settings(variant: str, component: str, folder: Path, secret: dict[str, str]) -> Path:
    """Write what a pod has mounted below `folder`, and return its settings file."""
    return chart(variant).write_settings(component, folder, secret)
