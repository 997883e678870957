"""The control: a worker that keeps nothing for the next host."""

from __future__ import annotations

from voice_gateway.cli.main import main
from voice_gateway.hosts.messages import AskedMessage, AskGreet
from voice_gateway.hosts.worker.call.continuity import Continuity


def _replay(self: Continuity) -> list[AskedMessage | tuple[int, bytes]]:
    return [AskGreet(id=self.new_id())]


if __name__ == "__main__":
    Continuity.replay = _replay  # type: ignore[method-assign]  # the control
    main()
