"""The checkpoints of an agent's state. Sans-IO."""

from __future__ import annotations


class Checkpoints:
    """Each is reached once the revision of the record that holds it is saved."""

    def __init__(self) -> None:
        self._awaited: list[tuple[int, int]] = []

    def add(self, checkpoint: int, revision: int) -> None:
        """The agent waits for this revision, which is no older than those before it."""
        self._awaited.append((revision, checkpoint))

    def reached(self, revision: int) -> list[int]:
        """Return those that are saved with this revision, in their order, each once."""
        reached = []
        while self._awaited and self._awaited[0][0] <= revision:
            reached.append(self._awaited.pop(0)[1])
        return reached
