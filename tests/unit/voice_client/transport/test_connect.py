from __future__ import annotations

from typing import Any

import pytest

from voice_client import CredentialStore, Unreachable
from voice_client.errors import ClientError, InvalidSetting
from voice_client.transport import connect as connecting
from voice_client.transport.target import parse_url
from voice_client.transport.trust import trust

RESET = Unreachable("no connection to here: stateless reset", is_reset=True)
SILENT = Unreachable("no server listens here")


class Dialled:
    """Connections that fail one after the other, in this order, before one opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: list[ClientError]) -> None:
        self.failures = failures
        self.opened = self.abandoned = 0
        monkeypatch.setattr(connecting, "WebTransportConnection", lambda *_, **__: self)

    async def open(self, local_address: str | None) -> None:
        self.opened += 1
        if self.failures:
            raise self.failures.pop(0)

    def abandon(self) -> None:
        self.abandoned += 1


async def connect() -> Any:
    return await connecting.connect(
        parse_url("https://127.0.0.1:4433/v1/voice"),
        trust(None, None),
        None,  # type: ignore[arg-type]
        credentials=CredentialStore(),
        headers={},
        local_address=None,
        timeout_s=5.0,
        rng=lambda byte_count: bytes(byte_count),
    )


@pytest.mark.parametrize("resets", [0, 1, 3])
async def test_a_connection_that_is_reset_is_replaced(monkeypatch: pytest.MonkeyPatch, resets: int) -> None:
    dialled = Dialled(monkeypatch, [RESET] * resets)
    assert await connect() is dialled
    assert (dialled.opened, dialled.abandoned) == (resets + 1, resets)


@pytest.mark.parametrize(
    ("failures", "tries"), [([RESET] * 9, 4), ([SILENT], 1), ([RESET, SILENT], 2), ([InvalidSetting("no")], 1)]
)
async def test_other_failures_are_raised(
    monkeypatch: pytest.MonkeyPatch, failures: list[ClientError], tries: int
) -> None:
    dialled = Dialled(monkeypatch, list(failures))
    with pytest.raises(type(failures[-1]), match=str(failures[-1])):
        await connect()
    assert dialled.opened == dialled.abandoned == tries
