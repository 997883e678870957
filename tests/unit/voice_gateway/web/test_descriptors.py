"""How descriptors are shared out."""

from __future__ import annotations

import resource

import pytest

from voice_gateway.web.descriptors import HELD_BACK, DescriptorBudget, raise_descriptor_limit


@pytest.mark.parametrize(
    ("limit", "most", "connections"),
    [
        (1_024, 2_048, 1_024 - HELD_BACK),
        (65_536, 2_048, 2_048),
        (20_000, 10_000, 10_000),
        (64, 2_048, 16),
        (-1, 2_048, 2_048),
    ],
)
def test_tcp_connections_leave_the_held_back_descriptors(limit: int, most: int, connections: int) -> None:
    assert DescriptorBudget.of(limit, most) == DescriptorBudget(limit, connections)


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "raised"),
    [
        (1_024, 1_048_576, 2_208, 2_208),
        (1_024, 2_000, 2_208, 2_000),
        (1_024, 1_024, 2_208, 1_024),
        (8_192, 8_192, 2_208, 8_192),
        (1_024, resource.RLIM_INFINITY, 2_208, 2_208),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 2_208, resource.RLIM_INFINITY),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_the_hard_one_allows(
    soft: int, hard: int, wanted: int, raised: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr("resource.getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr("resource.setrlimit", lambda kind, given: limits.append(given))
    assert raise_descriptor_limit(wanted) == raised
    assert limits[-1] == (raised, hard)
