"""Noticing that files changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quiclb.documents import read_document
from quiclb.errors import ConfigError
from quiclb.settings import Settings, load_settings

Signature = tuple[tuple[str, int, int, int] | tuple[str, None], ...]


def files_signature(paths: Iterable[Path]) -> Signature:
    """Something that differs when a file was written, replaced, removed or put back; links are followed."""
    return tuple(_signature(path) for path in paths)


class SettingsFile:
    """The settings file and the key files it names, for a `TableKeeper` to read again."""

    def __init__(
        self, path: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
    ) -> None:
        self._path = path
        self._environ = environ
        self._flags = flags
        self._read: tuple[Signature, list[Path]] | None = None

    def load(self) -> Settings:
        """Read and check everything; raises `ConfigError`."""
        return load_settings(self._path, self._environ, self._flags)

    def signature(self) -> Signature:
        """Differs if any of the files changed; key files are watched even while the settings are bad."""
        own = files_signature([self._path])
        if self._read is None or self._read[0] != own:
            self._read = own, self._key_files()
        return own + files_signature(self._read[1])

    def _key_files(self) -> list[Path]:
        try:
            entries = read_document(self._path).get("config")
        except ConfigError:
            return []
        entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        return [self._path.parent / entry["key_file"] for entry in entries if isinstance(entry.get("key_file"), str)]


def _signature(path: Path) -> tuple[str, int, int, int] | tuple[str, None]:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name with a null character is none
        return str(path), None
    return str(path), status.st_mtime_ns, status.st_ino, status.st_size
