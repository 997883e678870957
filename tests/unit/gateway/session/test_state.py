from __future__ import annotations

from itertools import product

import pytest

from gateway.session.state import TRANSITIONS, SessionInput, SessionState, next_state


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
@pytest.mark.parametrize("given", [SessionInput.FAULT, SessionInput.LOST])
def test_a_fault_and_a_lost_transport_close_from_everywhere(state, given):
    assert next_state(state, given) is SessionState.CLOSED


@pytest.mark.parametrize("state", [s for s in SessionState if s is not SessionState.FINISHING])
def test_only_a_finishing_session_is_done(state):
    assert next_state(state, SessionInput.DONE) is None
