"""The Helm chart, rendered as several installations would have it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.deployment.tools import DEPLOY, module, run, tool

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
def rendered(variant: str) -> tuple[dict[str, Any], ...]:
    """Return the manifests of a variant."""
    out, _ = run(tool("helm"), "template", "voice", CHART, *arguments(*VARIANTS[variant]))
    return tuple(each for each in module("yaml").safe_load_all(out) if each is not None)


def find(variant: str, kind: str, name: str) -> dict[str, Any]:
    """Return one manifest."""
    [found] = [each for each in rendered(variant) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods(variant: str) -> dict[str, dict[str, Any]]:
    """Return the pod templates, by component."""
    templates = [each["spec"]["template"] for each in rendered(variant) if "template" in each.get("spec", {})]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in templates}


def write_settings(variant: str, component: str, folder: Path, secret: dict[str, str]) -> Path:
    """Write what a pod has mounted below `folder` in place of /etc/voice-gateway, and return its settings file.

    `secret` has the files of all Secrets, by name.
    """
    settings = find(variant, "ConfigMap", f"voice-voice-gateway-{component}")["data"]
    for name, text in settings.items():
        (folder / name).write_text(text.replace("/etc/voice-gateway", str(folder)))
    for volume in pods(variant)[component]["spec"]["volumes"]:
        if "secret" in volume:
            mounted = folder / volume["name"]
            mounted.mkdir(exist_ok=True)
            wanted = [each["key"] for each in volume["secret"].get("items", ())] or list(secret)
            for name in wanted:
                (mounted / name).touch(mode=0o600)
                (mounted / name).write_text(secret[name])
    return folder / next(iter(settings))
