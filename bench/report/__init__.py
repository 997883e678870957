"""One report of all benchmarks: runs what has no result of this commit, then says which claims the figures bear out."""
