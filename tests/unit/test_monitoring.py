"""The files of `deploy/monitoring`: current, and as Prometheus's own tool demands."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess

import pytest

from deploy.monitoring.dashboard import FILE, dashboard_text, queries
from voice_gateway.supervisor import pages

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("STRICT") != "1", reason="promtool is not installed: make tools"
)


def test_the_dashboard_in_the_tree_is_current() -> None:
    assert FILE.read_text() == dashboard_text(), "write it anew: python -m deploy.monitoring.dashboard"


def test_every_query_is_in_the_dashboard_and_panels_are_numbered_once() -> None:
    panels = json.loads(FILE.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert shown == [query for _, query in queries()]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        ids = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(ids)) == len(ids)
        assert "" not in ids


def test_the_page_names_the_metrics_of_the_supervisor() -> None:
    found = re.findall(r'(Gauge|Counter)MetricFamily\(\s*"(\w+)"', inspect.getsource(pages))
    names = {name if kind == "Gauge" else f"{name}_total" for kind, name in found}
    assert len(names) >= 3
    page = FILE.with_name("README.md").read_text()
    assert {name for name in names if f"| `{name}` |" not in page} == set()


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_finds_no_fault(command: tuple[str, ...]) -> None:
    checked = subprocess.run(["promtool", *command], cwd=FILE.parent, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
