"""A load balancer and workers on this machine, for tests, benchmarks and demonstrations: `local_cluster.Cluster`."""
