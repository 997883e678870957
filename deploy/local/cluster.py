"""The cluster of `make serve`, the demonstration, tests and benchmarks, with this checkout's certificate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voice_gateway.testing.cluster import local_cluster
from voice_gateway.testing.cluster.local_cluster import Cluster, ClusterError

__all__ = ["CERTIFICATES", "ROOT", "Cluster", "ClusterError", "ClusterOptions"]

ROOT = Path(__file__).parents[2]
CERTIFICATES = ROOT / "certs" / "dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions(local_cluster.ClusterOptions):
    """What kind of cluster to run."""

    certificates: Path | None = CERTIFICATES
    ready_timeout_s: float = 90.0
