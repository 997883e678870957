"""The Helm chart on a real API server with etcd, controllers and scheduler: `make test-kubernetes`.

Nodes and the life of pods are emulated (`testbed/kubernetes`): what is shown is what Kubernetes takes, refuses and
does, and in which order.
"""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbed.kubernetes.control_plane import PROGRAMS, SERVICE_MONITOR, ControlPlane, ControlPlaneError
from tests.deployment.chart import CHART, NAMESPACE, VARIANTS, arguments, rendered
from tests.deployment.tools import module

pytestmark = pytest.mark.timeout(300)
NAME = "voice-voice-gateway"
WORKERS = "--selector=app.kubernetes.io/component=worker,app.kubernetes.io/instance=voice"
QUICK = "--set=workers.minReadySeconds=2"
REPLICAS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    if not (PROGRAMS / "kube-apiserver").exists():
        if os.environ.get("STRICT") == "1":
            pytest.fail("there is no Kubernetes: make test-kubernetes")
        pytest.skip("there is no Kubernetes: make test-kubernetes")
    with ControlPlane() as cluster:
        cluster.run("kubectl", "apply", "--server-side", f"--filename={SERVICE_MONITOR}")
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        space["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}  # type: ignore[index]
        cluster.run("kubectl", "apply", "--filename=-", given=json.dumps(space))
        yield cluster


def until(holds: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.2)


def workers(cluster: ControlPlane) -> list[dict[str, Any]]:
    return cluster.get("pods", WORKERS, f"--namespace={NAMESPACE}")


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    has_ended = "deletionTimestamp" in pod["metadata"]
    return not has_ended and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def names_in_dns(cluster: ControlPlane) -> set[str]:
    """The workers whose names the cluster's DNS would have: the ready addresses of the headless Service."""
    chosen = f"--selector=kubernetes.io/service-name={NAME}-workers"
    slices = cluster.get("endpointslices", chosen, f"--namespace={NAMESPACE}")
    return {
        endpoint["hostname"]
        for each in slices
        for endpoint in each["endpoints"] or ()
        if endpoint["conditions"].get("ready")
    }


def healthy(cluster: ControlPlane) -> bool:
    """Whether all workers are ready, have been for `minReadySeconds`, and are in the DNS."""
    [found] = cluster.get("statefulset", f"{NAME}-worker", f"--namespace={NAMESPACE}")
    available = found.get("status", {}).get("availableReplicas", 0)
    ready = sum(map(is_ready, workers(cluster)))
    return available == ready == len(names_in_dns(cluster)) == REPLICAS


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_server_takes_every_manifest(cluster: ControlPlane, variant: str) -> None:
    manifests = module("yaml").safe_dump_all(rendered(variant))
    out = cluster.run(
        "kubectl", "apply", "--dry-run=server", "--validate=strict", "--filename=-", f"--namespace={NAMESPACE}",
        given=manifests,
    )  # fmt: skip
    assert len(out.splitlines()) == len(rendered(variant))


FAULTS: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "port": (
        "StatefulSet",
        lambda spec: spec["template"]["spec"]["containers"][0]["ports"][0].update(containerPort=443300),
        "must be between 1 and 65535",
    ),
    "budget": ("PodDisruptionBudget", lambda spec: spec.update(minAvailable=2), "minAvailable and maxUnavailable"),
    "metric": ("HorizontalPodAutoscaler", lambda spec: spec["metrics"][0].pop("pods"), "must populate information"),
    "monitor": ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(prot="metrics"), "unknown field"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_server_refuses_what_is_wrong(cluster: ControlPlane, fault: str) -> None:
    """The control of the test above; the first three keep the strict schemas."""
    kind, spoil, message = FAULTS[fault]
    manifest = json.loads(json.dumps(next(each for each in rendered("everything") if each["kind"] == kind)))
    spoil(manifest["spec"])
    apply = ("kubectl", "apply", "--dry-run=server", "--validate=strict", "--filename=-", f"--namespace={NAMESPACE}")
    with pytest.raises(ControlPlaneError, match=message):
        cluster.run(*apply, given=json.dumps(manifest))


def test_the_server_refuses_pods_that_are_not_restricted(cluster: ControlPlane) -> None:
    """The control for the pods below: the namespace takes restricted ones alone."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "free"}}
    pod["spec"] = {"containers": [{"name": "free", "image": "free"}]}
    with pytest.raises(ControlPlaneError, match="violates PodSecurity"):
        cluster.run("kubectl", "apply", "--filename=-", f"--namespace={NAMESPACE}", given=json.dumps(pod))


@pytest.fixture(scope="module")
def installed(cluster: ControlPlane) -> ControlPlane:
    """The cluster with the chart in it, all workers ready."""
    cluster.run("helm", "install", "voice", CHART, *arguments(QUICK))
    until(lambda: healthy(cluster), "three workers are ready")
    return cluster


def test_installed_workers_have_the_names_and_ordinals_that_load_balancers_ask_for(installed: ControlPlane) -> None:
    [configuration] = installed.get("configmap", f"{NAME}-balancer", f"--namespace={NAMESPACE}")
    [discovery] = tomllib.loads(configuration["data"]["lb.toml"])["discovery"]
    asked = {discovery["host"].replace("{ordinal}", str(number)) for number in range(discovery["count"])}
    zone = f".{NAME}-workers.{NAMESPACE}.svc.cluster.local"
    assert {f"{name}{zone}" for name in names_in_dns(installed)} == asked
    for pod in workers(installed):
        ordinal = pod["metadata"]["name"].rpartition("-")[2]
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == ordinal
    spread = {pod["spec"]["nodeName"] for pod in workers(installed)}
    assert len(spread) == REPLICAS


def test_only_one_worker_may_be_evicted_at_a_time(installed: ControlPlane) -> None:
    def evict(ordinal: int) -> None:
        name = f"{NAME}-worker-{ordinal}"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        installed.run("kubectl", "create", f"--raw={path}", "--filename=-", given=json.dumps(eviction))

    def may_evict() -> bool:
        [budget] = installed.get("pdb", f"{NAME}-worker", f"--namespace={NAMESPACE}")
        return budget.get("status", {}).get("disruptionsAllowed") == 1

    until(may_evict, "the disruption budget allows one")
    evict(0)
    with pytest.raises(ControlPlaneError, match="disruption budget"):
        evict(1)
    until(lambda: healthy(installed), "the evicted worker is back")
    until(may_evict, "the disruption budget allows one again")
    evict(1)
    until(lambda: healthy(installed), "the second one is back, too")


def test_an_upgrade_rolls_one_worker_after_the_other_out_of_the_dns_and_back(installed: ControlPlane) -> None:
    until(lambda: healthy(installed), "three workers are ready")
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in workers(installed)}
    installed.run("helm", "upgrade", "voice", CHART, *arguments(QUICK, "--set=workers.maxSessions=200"))
    left: list[str] = []
    fewest = REPLICAS
    deadline = time.monotonic() + 120
    while True:
        in_dns, pods = names_in_dns(installed), workers(installed)
        fewest = min(fewest, len(in_dns))
        for pod in pods:
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"] and pod["metadata"]["uid"] == before[name] and name not in left:
                left.append(name)
        renewed = [
            each for each in pods if is_ready(each) and each["metadata"]["uid"] != before[each["metadata"]["name"]]
        ]
        if len(renewed) == REPLICAS and len(in_dns) == REPLICAS:
            break
        assert time.monotonic() < deadline, f"after {left} the update stands still"
        time.sleep(0.1)
    assert left == [f"{NAME}-worker-{ordinal}" for ordinal in (2, 1, 0)]
    assert fewest == REPLICAS - 1
    [configuration] = installed.get("configmap", f"{NAME}-worker", f"--namespace={NAMESPACE}")
    assert tomllib.loads(configuration["data"]["worker.toml"])["session"]["max_sessions"] == 200


def test_an_upgrade_with_values_that_cannot_be_served_changes_nothing(installed: ControlPlane) -> None:
    before = installed.get("statefulset", f"{NAME}-worker", f"--namespace={NAMESPACE}")[0]["metadata"]["generation"]
    with pytest.raises(ControlPlaneError, match="ordinal with balancers"):
        installed.run("helm", "upgrade", "voice", CHART, *arguments(QUICK, "--set=workers.serverIds=environment"))
    after = installed.get("statefulset", f"{NAME}-worker", f"--namespace={NAMESPACE}")[0]["metadata"]["generation"]
    assert after == before


def test_uninstalled_it_leaves_the_sessions_volume_alone(installed: ControlPlane) -> None:
    installed.run("helm", "uninstall", "voice", f"--namespace={NAMESPACE}")
    until(lambda: installed.get("pods", f"--namespace={NAMESPACE}") == [], "no pod is left")
    kinds = "statefulsets,deployments,services,networkpolicies,pdb,serviceaccounts"
    left = [each["metadata"]["name"] for each in installed.get(kinds, f"--namespace={NAMESPACE}")]
    assert [name for name in left if name != "default"] == []
    claims = installed.get("pvc", f"--namespace={NAMESPACE}")
    assert [each["metadata"]["name"] for each in claims] == [f"data-{NAME}-redis-0"]
