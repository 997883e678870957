"""What tests and benchmarks share. Part of the workspace, not published.

`simulation.simulate` runs a scenario on virtual time; `simnet` is its network; `calls` puts the production code on it.
"""
