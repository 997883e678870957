from __future__ import annotations

from itertools import product

import pytest

from voice_gateway.session.core.lifecycle.state import TRANSITIONS, SessionInput, SessionState, next_state


@pytest.mark.parametrize(("state", "given"), list(product(SessionState, SessionInput)))
def test_next_state_is_the_table(state, given):
    assert next_state(state, given) == TRANSITIONS.get((state, given))


def test_every_state_is_reached_from_new():
    reached = {SessionState.NEW}
    for _ in SessionState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(SessionState)


@pytest.mark.parametrize("given", SessionInput)
def test_nothing_leaves_closed(given):
    assert next_state(SessionState.CLOSED, given) is None


@pytest.mark.parametrize("state", [s for s in SessionState if s is not SessionState.CLOSED])
def test_a_fault_closes_from_everywhere(state):
    assert next_state(state, SessionInput.FAULT) is SessionState.CLOSED


@pytest.mark.parametrize("state", [SessionState.ACTIVE, SessionState.DRAINING, SessionState.FINISHING])
def test_a_session_that_has_started_outlives_its_connection(state):
    detached = next_state(state, SessionInput.LOST)
    assert detached is SessionState.DETACHED
    assert next_state(detached, SessionInput.RESUME) is SessionState.ACTIVE


@pytest.mark.parametrize("state", [s for s in SessionState if s is not SessionState.FINISHING])
def test_only_a_finishing_session_is_done(state):
    assert next_state(state, SessionInput.DONE) is None
