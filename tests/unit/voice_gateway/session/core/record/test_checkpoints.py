"""An agent learns once that a checkpoint of its state is saved."""

from __future__ import annotations

from voice_gateway.session.core.record.checkpoints import Checkpoints


def test_a_checkpoint_is_reached_once_its_revision_is_saved() -> None:
    checkpoints = Checkpoints()
    checkpoints.add(1, revision=4)
    checkpoints.add(2, revision=4)
    checkpoints.add(3, revision=6)
    assert checkpoints.reached(3) == []
    assert checkpoints.reached(5) == [1, 2]
    assert checkpoints.reached(5) == []
    assert checkpoints.reached(7) == [3]
