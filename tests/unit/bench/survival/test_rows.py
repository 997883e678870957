"""What happens to calls in the survival benchmark, and in which clusters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from bench.survival.__main__ import Row, clusters_of, rows
from bench.survival.events import NOTHING
from deploy.local.cluster import ClusterOptions

REDIS: Any = SimpleNamespace(url="redis://127.0.0.1:1/0")


def test_each_cluster_is_started_once_and_has_all_its_rows() -> None:
    every = rows(REDIS)
    clusters = clusters_of(every)
    assert 1 < len(clusters) < len(every)
    assert [clusters.count(row.options) for row in every] == [1] * len(every)
    assert clusters[0] == every[0].options


def test_clusters_that_differ_only_in_a_mapping_are_two() -> None:
    plain, other = ClusterOptions(), ClusterOptions(environment={"NAME": "value"})
    given = [Row("a", NOTHING, options=plain), Row("b", NOTHING, options=other), Row("c", NOTHING, options=plain)]
    assert clusters_of(given) == [plain, other]
