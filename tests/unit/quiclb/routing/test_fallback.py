from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from quiclb import ConfigError
from quiclb.routing.fallback import TABLE_SIZE, Maglev, flow_hash
from quiclb.routing.pool import Backend

VIP = ("192.0.2.1", 443)


def backends(count: int) -> list[Backend]:
    return [Backend(f"backend-{number}", (f"10.0.0.{number + 1}", 4433)) for number in range(count)]


def test_shares_are_even():
    shares = Counter(Maglev(backends(7)).slots)
    assert sum(shares.values()) == TABLE_SIZE
    assert max(shares.values()) - min(shares.values()) <= 1


def test_removing_a_backend_moves_few_other_flows():
    before, after = Maglev(backends(8)), Maglev(backends(8)[:-1])
    moved = sum(1 for old, new in zip(before.slots, after.slots, strict=True) if old not in (7, new))
    assert moved / TABLE_SIZE < 0.03


def test_the_order_in_which_backends_are_given_does_not_matter():
    assert list(Maglev(backends(5), 1021).slots) == list(Maglev(backends(5)[::-1], 1021).slots)


def test_another_process_with_another_hash_seed_agrees():
    program = (
        "from quiclb.routing.fallback import Maglev, flow_hash; from quiclb.routing.pool import Backend;"
        "m = Maglev([Backend(f'backend-{n}', (f'10.0.0.{n+1}', 4433)) for n in range(5)], 1021);"
        "print([m.lookup(('198.51.100.7', port), ('192.0.2.1', 443)).name for port in range(1, 200)])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    ours = Maglev(backends(5), 1021)
    assert output.stdout.strip() == str([ours.lookup(("198.51.100.7", port), VIP).name for port in range(1, 200)])


def test_the_hash_is_fixed_for_ever():
    """Load balancers of different releases serve one VIP during an upgrade, so these values may not change."""
    assert hex(flow_hash(("198.51.100.7", 40001), VIP)) == "0xcb172cd77a20e699"
    assert hex(flow_hash(("2001:db8::7", 40001), ("2001:db8::1", 443))) == "0xa6b59540066a7de4"


@pytest.mark.parametrize("changed", [("198.51.100.8", 40001), ("198.51.100.7", 40002), ("::198.51.100.7", 40001)])
def test_each_part_of_the_4_tuple_counts(changed):
    client = ("198.51.100.7", 40001)
    assert flow_hash(changed, VIP) != flow_hash(client, VIP)
    assert flow_hash(client, ("192.0.2.1", 444)) != flow_hash(client, VIP)
    assert flow_hash(client, ("192.0.2.2", 443)) != flow_hash(client, VIP)


def test_v4_mapped_clients_hash_like_ipv4():
    assert flow_hash(("::ffff:198.51.100.7", 40001), VIP) == flow_hash(("198.51.100.7", 40001), VIP)


def test_without_backends_there_is_no_answer():
    assert Maglev([]).lookup(("198.51.100.7", 40001), VIP) is None


def test_more_backends_than_slots_are_refused():
    with pytest.raises(ConfigError, match="holds fewer backends"):
        Maglev(backends(7), 7)
