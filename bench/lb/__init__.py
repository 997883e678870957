"""The load balancer beside its peers."""
