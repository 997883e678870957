"""What a worker reads again while it runs: on SIGHUP, and when files change. A bad file changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from quiclb.errors import QuicLbError
from quiclb.settings.files import Signature, files_signature
from voice_gateway.errors import GatewayError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voicelink.errors import VoiceLinkError

LOOK_EVERY_S: Final = 1.0
_log = structlog.get_logger("voice_gateway.ops.reload")


class Reloadable(Protocol):
    """A part of the worker that can take new settings or new contents of its files without a restart."""

    name: str
    """For logs and metrics, as `certificate`."""

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        """The files to watch, beside the settings' own."""

    def reload(self, settings: GatewaySettings) -> None:
        """Take what is there now, which may be what was there before; raises `GatewayError` and keeps the old."""


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where settings come from, to be read again."""

    file: Path | None
    """`None` where there is none: the settings come from flags and the environment alone."""
    load: Callable[[], GatewaySettings]
    """Reads and checks everything; raises `GatewayError`."""


class Reloader:
    """Looks after `parts`: `start` it, call `reload` on SIGHUP, `stop` it in the end.

    Files are looked at every second, and read once they have not changed for one: a certificate and its key are two.
    Without a `source` the settings stay those given. `counts` has an entry for each part (or `settings`) and result,
    `done` or `refused`.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        parts: Sequence[Reloadable],
        source: SettingsSource | None = None,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._settings = settings
        self._parts = parts
        self._source = source
        self._look_every_s = look_every_s
        self._read = self._signatures()
        self._seen = self._read
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reload(self) -> None:
        """Read everything again now, changed or not."""
        self._read = self._seen = self._signatures()
        self._reload([_SETTINGS, *(part.name for part in self._parts)])

    def _look(self) -> None:
        self.start()
        signatures, seen = self._signatures(), self._seen
        self._seen = signatures
        if signatures == seen and signatures != self._read:
            changed = [name for name, signature in signatures.items() if signature != self._read.get(name)]
            self._read = signatures
            self._reload(changed)

    def _reload(self, changed: Sequence[str]) -> None:
        has_settings = _SETTINGS in changed and self._source is not None
        if has_settings and not self._try(_SETTINGS, self._load):
            return
        for part in self._parts:
            if has_settings or part.name in changed:
                self._try(part.name, lambda part=part: part.reload(self._settings))  # type: ignore[misc]

    def _load(self) -> None:
        if self._source is not None:
            self._settings = self._source.load()

    def _try(self, name: str, attempt: Callable[[], None]) -> bool:
        try:
            attempt()
        except (GatewayError, VoiceLinkError, QuicLbError) as error:
            self.counts[name, "refused"] += 1
            _log.error("reload_refused", what=name, error=str(error), remedy="correct it; what was there before stays")
            return False
        self.counts[name, "done"] += 1
        _log.info("reloaded", what=name)
        return True

    def _signatures(self) -> dict[str, Signature]:
        file = None if self._source is None else self._source.file
        own = [] if file is None else [file]
        return {
            _SETTINGS: files_signature(own),
            **{part.name: files_signature(part.files(self._settings)) for part in self._parts},
        }


_SETTINGS: Final = "settings"
