"""The manifests of a rendered Helm chart, and what its pods have mounted."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MOUNTED = "/etc/voice-gateway"


class ChartError(Exception):
    """Helm does not render the chart; the message is Helm's."""


@dataclass(frozen=True, slots=True)
class RenderedChart:
    """What `helm template` wrote; `name` begins the names of all that it makes."""

    name: str
    manifests: tuple[dict[str, Any], ...]

    @classmethod
    def render(cls, helm: str | Path, chart: Path, release: str, arguments: Sequence[str]) -> Self:
        """Render a chart; raises `ChartError`, and `ImportError` without the packages of `locks/deploy.lock`."""
        command = [str(helm), "template", release, str(chart), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise ChartError(done.stderr.strip())
        found = importlib.import_module("yaml").safe_load_all(done.stdout)
        return cls(f"{release}-{chart.name}", tuple(each for each in found if each is not None))

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return one manifest."""
        [found] = [each for each in self.manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return found

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.manifests if each["kind"] == kind]

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return the pod templates, by component."""
        templates = [each["spec"]["template"] for each in self.manifests if "template" in each.get("spec", {})]
        return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in templates}

    def write_settings(self, component: str, folder: Path, secret: Mapping[str, str]) -> Path:
        """Write what a pod has mounted below `folder` in place of /etc/voice-gateway, and return its settings file.

        `secret` has the files of all Secrets, by name.
        """
        settings: dict[str, str] = self.find("ConfigMap", f"{self.name}-{component}")["data"]
        for name, text in settings.items():
            (folder / name).write_text(text.replace(MOUNTED, str(folder)))
        for volume in self.pods()[component]["spec"]["volumes"]:
            if "secret" in volume:
                mounted = folder / volume["name"]
                mounted.mkdir(exist_ok=True)
                wanted = [each["key"] for each in volume["secret"].get("items", ())] or list(secret)
                for name in wanted:
                    (mounted / name).touch(mode=0o600)
                    (mounted / name).write_text(secret[name])
        return folder / next(iter(settings))

    def scraped(self) -> dict[str, tuple[str, str]]:
        """Return what the ServiceMonitor lets a Prometheus scrape: component to (job, name of the port).

        The Prometheus operator names a job by the label of the Service that `jobLabel` names, else by the Service.
        """
        [monitor] = self.of_kind("ServiceMonitor")
        wanted = monitor["spec"]["selector"]["matchLabels"]
        [endpoint] = monitor["spec"]["endpoints"]
        found = {}
        for service in self.of_kind("Service"):
            labels = service["metadata"]["labels"]
            if wanted.items() <= labels.items():
                job = labels.get(monitor["spec"].get("jobLabel"), service["metadata"]["name"])
                found[labels["app.kubernetes.io/component"]] = (job, endpoint["port"])
        return found
