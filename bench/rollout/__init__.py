"""A rolling update of the Helm chart's workers under live calls, watched by a Prometheus: `make bench-rollout`."""
