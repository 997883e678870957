"""The images of `deploy/images`, run read-only and without privileges as the chart's pods say: `make test-images`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.local.assertions import expected_order, named
from testbed.containers.engine import ROOT, TARGETS, Engine, EngineError
from tests.deployment.chart import CHART
from tests.deployment.tools import module, tool
from tests.images.conftest import ADDRESSES, NAME, USER, VIP, Pods

# of a test alone: what the images are built by has a time limit of its own (`testbed.containers.engine`)
pytestmark = pytest.mark.timeout(900, func_only=True)
URL = f"https://{VIP}:4433/v1/voice"


class Caller:
    """A call from the caller's host: begins at once, `result` waits for its end."""

    def __init__(self, cluster: Pods, *addresses: str) -> None:
        command = [sys.executable, "-m", "tests.images.caller", URL, str(cluster.ca_file), *addresses]
        self._process = subprocess.Popen(
            cluster.hosts.command("caller", *command),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, word: str) -> str:
        """Return the line of the call's progress that begins with `word`."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith(word):
                return line.strip()
        raise AssertionError(f"the call ended before {word!r}")

    def result(self) -> dict[str, Any]:
        out, err = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, err
        found: dict[str, Any] = json.loads(out)
        return found


def order(result: dict[str, Any]) -> list[dict[str, Any]]:
    items = result["call"]["state"]["items"]
    return [named(item, like) for item, like in zip(items, expected_order(), strict=True)]


def host_of(worker: str) -> str:
    return worker.removeprefix(f"{NAME}-")


def test_a_call_through_containers_survives_a_change_of_network_and_a_killed_load_balancer(cluster: Pods) -> None:
    caller = Caller(cluster, *ADDRESSES["caller"])
    caller.wait_for("speaking")
    time.sleep(6)
    cluster.kill("balancer-0")
    cluster.restart("balancer-0")
    result = caller.result()
    assert order(result) == expected_order()
    assert result["moved"]["to"].startswith("10.77.0.3:")
    assert result["last_worker"] == result["first_worker"]
    assert result["call"]["frames_acked"] == result["call"]["frames_sent"]
    ended = cluster.ask(host_of(result["first_worker"]), "/sessions")["ended"]
    [session] = [each for each in ended if each["id"] == result["call"]["session"]]
    assert session["migrations"]
    # the worker saw the caller's own addresses, which the load balancer's SPP header names
    assert session["peer"].startswith("10.77.0.3:")


def test_a_call_goes_on_at_the_other_worker_when_its_container_is_stopped(cluster: Pods) -> None:
    caller = Caller(cluster, ADDRESSES["caller"][0])
    worker = host_of(caller.wait_for("answered").split()[-1])
    caller.wait_for("speaking")
    time.sleep(3)
    began = time.monotonic()
    cluster.stop(worker)
    assert time.monotonic() - began < 45
    result = caller.result()
    assert order(result) == expected_order()
    assert {host_of(result["first_worker"]), host_of(result["last_worker"])} == {"worker-0", "worker-1"}
    assert '"event": "worker_stopped"' in cluster.log(worker).replace('":"', '": "')


@pytest.mark.parametrize("host", ["balancer-0", "worker-0"])
def test_a_container_is_not_roots_cannot_write_and_is_healthy(cluster: Pods, host: str) -> None:
    assert cluster.execute(host, "id", "-u").strip() == str(USER)
    status = cluster.execute(host, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    with pytest.raises(EngineError, match="Read-only file system"):
        cluster.execute(host, "touch", "/etc/written")
    component = host.partition("-")[0]
    [image] = json.loads(cluster.engine.run("podman", "image", "inspect", cluster.engine.image(component)))
    kind, *command = image["Healthcheck"]["Test"]
    assert kind == "CMD"
    cluster.execute(host, *command)


def test_an_image_says_that_it_is_not_healthy(cluster: Pods) -> None:
    """The control: without the process that it asks, the check fails."""
    [image] = json.loads(cluster.engine.run("podman", "image", "inspect", cluster.engine.image("worker")))
    command = image["Healthcheck"]["Test"][1:]
    with pytest.raises(EngineError):
        cluster.engine.run(
            "podman", "run", "--rm", "--no-healthcheck", f"--network=ns:{cluster.hosts.path('caller')}", "--no-hosts",
            f"--signature-policy={cluster.engine.folder / 'policy.json'}", f"--entrypoint={command[0]}",
            cluster.engine.image("worker"), *command[1:],
        )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_an_images_bill_of_materials_names_what_it_needs_and_no_tool_of_its_build(
    engine: Engine, target: str, tmp_path: Path
) -> None:
    archive = tmp_path / "image.tar"
    engine.run("podman", "save", "--quiet", "--format=oci-archive", f"--output={archive}", engine.image(target))
    found = json.loads(engine.run(tool("syft"), "scan", f"oci-archive:{archive}", "--quiet", "--output=spdx-json"))
    packages = {each["name"]: each.get("versionInfo") for each in found["packages"]}
    version = module("yaml").safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert packages["quiclb"] == version
    assert {"cryptography", "python3", "openssl"} <= packages.keys()
    assert ({"aioquic", "voice-gateway", "redis"} <= packages.keys()) == (target == "worker")
    # pip is the base image's own, at most
    assert not {"hatchling", "mypy", "pytest"} & packages.keys()
