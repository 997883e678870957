"""What calls lose when workers, paths, load balancers and stores die: run it as `python -m bench.survival`."""
