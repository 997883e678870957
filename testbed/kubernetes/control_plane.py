"""A Kubernetes of real parts without a kubelet: etcd, API server, controllers, scheduler, and kwok for the nodes.

Pods are scheduled, become ready and end, and nothing runs in them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from testbed.ports import free_port

PROGRAMS: Final = Path(sys.executable).parents[1] / "kubernetes"
"""Where `make test-kubernetes` builds them."""
STAGES: Final = Path(__file__).with_name("stages.yaml")
SERVICE_MONITOR: Final = PROGRAMS / "servicemonitors.yaml"
READY_TIMEOUT_S: Final = 60.0
_ADMIN: Final = "admin-of-the-testbed"


class ControlPlaneError(Exception):
    """A part did not come up, or refused what it was asked; the message has what it said."""


@dataclass(slots=True)
class ControlPlane:
    """Use as `with ControlPlane(nodes=3) as cluster:`; every process is gone at its end."""

    nodes: int = 3
    folder: Path = field(init=False)
    _processes: list[subprocess.Popen[bytes]] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="voice-kubernetes-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def run(self, *command: str | Path, given: str | None = None) -> str:
        """Run `helm` or `kubectl` and return its output; raises `ControlPlaneError` with what it complained of."""
        environ = os.environ | {"KUBECONFIG": str(self.kubeconfig), "HELM_CACHE_HOME": str(self.folder / "helm")}
        program = str(Path(sys.executable).with_name(str(command[0])))
        done = subprocess.run(
            [program, *map(str, command[1:])], input=given, env=environ, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise ControlPlaneError(done.stderr or done.stdout)
        return done.stdout

    def get(self, *what: str) -> list[dict[str, Any]]:
        """Return objects, as `kubectl get` names them."""
        document = json.loads(self.run("kubectl", "get", "--output=json", *what))
        found: list[dict[str, Any]] = document.get("items", [document])
        return found

    def stop(self) -> None:
        """End every process, the last one first, and remove their files."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        etcd, peer, secure = free_port(), free_port(), free_port()
        server = f"https://127.0.0.1:{secure}"
        subprocess.run(
            ["openssl", "genrsa", "-out", self.folder / "accounts.key", "2048"], check=True, capture_output=True
        )
        (self.folder / "tokens.csv").write_text(f"{_ADMIN},admin,admin,system:masters\n")
        self.kubeconfig.write_text(_kubeconfig(server))
        self._spawn(
            shutil.which("etcd") or "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )
        self._spawn(
            PROGRAMS / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={secure}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--service-account-key-file={self.folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/108",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            # Debian's etcd lacks what streamed lists need: with them kwok sees changes half a minute late
            "--feature-gates=WatchList=false",
        )
        self._until_ready()
        common = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false")
        self._spawn(PROGRAMS / "kube-controller-manager", *common, "--secure-port=0", "--controllers=*,-nodeipam")
        self._spawn(PROGRAMS / "kube-scheduler", *common, "--secure-port=0")
        self._spawn(
            PROGRAMS / "kwok",
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes",
            f"--config={STAGES}",
            "--cidr=10.244.0.0/16",
            "--node-ip=10.0.0.1",
            f"--server-address=127.0.0.1:{free_port()}",
        )
        for number in range(self.nodes):
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"}}
            self.run("kubectl", "apply", "--filename=-", given=json.dumps(node))

    def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(ControlPlaneError):
                if self.run("kubectl", "get", "--raw=/readyz") == "ok":
                    return
            time.sleep(0.2)
        logs = "\n".join(log.read_text()[-1000:] for log in sorted(self.folder.glob("*.log")))
        raise ControlPlaneError(f"the API server did not come up: {logs}")

    def _spawn(self, program: str | Path, *arguments: str) -> None:
        with (self.folder / f"{Path(program).name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen([str(program), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )


def _kubeconfig(server: str) -> str:
    cluster = {"name": "testbed", "cluster": {"server": server, "insecure-skip-tls-verify": True}}
    user = {"name": "admin", "user": {"token": _ADMIN}}
    context = {"name": "testbed", "context": {"cluster": "testbed", "user": "admin"}}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [user],
            "contexts": [context],
            "current-context": "testbed",
        }
    )
