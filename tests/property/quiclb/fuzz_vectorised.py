"""More datagrams than a test run has time for: `python -m tests.property.quiclb.fuzz_vectorised [count] [seed]`."""

from __future__ import annotations

import random
import sys
import time

from tests.property.quiclb.test_vectorised import VIPS, both, clients_of, datagram_of, pool_of, reply_of


def main(count: int, seed: int) -> None:
    """Compare scalar and vectorised datapath on `count` datagrams; `seed` replays a run."""
    rng = random.Random(seed)
    started, done = time.monotonic(), 0
    while done < count:
        pool = rng.randrange(60)
        scalar, vector = both(pool)
        _, _, cids = pool_of(pool)
        clients = clients_of(VIPS[pool % 3])
        for _ in range(4):
            batch = [(datagram_of(rng, cids), rng.choice(clients)) for _ in range(512)]
            replies = [reply_of(rng, pool) for _ in range(64)]
            assert vector.from_clients(batch) == scalar.from_clients(batch), f"pool {pool}, seed {seed}"
            assert vector.from_backends(replies) == scalar.from_backends(replies), f"pool {pool}, seed {seed}"
            done += len(batch) + len(replies)
        assert vector.rules.counters == scalar.counters, f"pool {pool}, seed {seed}"
    print(f"{done} datagrams alike, seed {seed}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [1_000_000, 1][len(arguments) :]))
