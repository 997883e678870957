"""Whole calls whose uplink travels in datagrams, in every weather."""

from __future__ import annotations

import pytest

from gateway.certificate import DevelopmentCertificate
from tests.sim.cluster import Plan
from tests.sim.simulation import seeds, simulate
from tests.sim.test_calls import KINDS, assert_is_whole, place_call

pytestmark = pytest.mark.usefixtures("order_agent_models")


@pytest.mark.parametrize("seed", seeds(12))
def test_a_hybrid_call_comes_through_whole(certificate: DevelopmentCertificate, seed: int) -> None:
    name, profile, misfortune = KINDS[seed % len(KINDS)]
    outcome = simulate(
        lambda sim: place_call(sim, certificate, Plan(access=profile(sim.rng)), misfortune, uplink="hybrid"), seed=seed
    )[0]
    assert_is_whole(outcome)
    assert outcome.report.uplink == "hybrid", name
