"""The runs of the benchmark, one a file: each starts what it measures, and returns figures."""
