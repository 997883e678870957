"""What becomes of files: that they changed, and who else can read those that hold secrets."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quiclb.errors import ConfigError
from quiclb.logs.setup import get_logger
from quiclb.settings.documents import read_document
from quiclb.settings.loader import Settings, load_settings

Signature = tuple[tuple[str, int, int, int] | tuple[str, None], ...]


def files_signature(paths: Iterable[Path]) -> Signature:
    """Something that differs when a file was written, replaced, removed or put back; links are followed."""
    return tuple(_signature(path) for path in paths)


@dataclass(frozen=True, slots=True)
class ExposedFile:
    """A file with secrets that every user of the machine can read or write; `mode` is its permission bits."""

    path: Path
    mode: int

    @property
    def remedy(self) -> str:
        """What to do, as a command."""
        return f"chmod 600 {shlex.quote(str(self.path))}"

    def __str__(self) -> str:
        return f"{self.path} has mode {self.mode:04o}: every user of this machine can read or write it; {self.remedy}"


def exposed_files(paths: Iterable[Path]) -> tuple[ExposedFile, ...]:
    """Return those of `paths` that others than owner and group can reach and read, or write; links are followed.

    A group may read them: service managers and container platforms hand secrets to a service by its group.
    """
    found = []
    for path in dict.fromkeys(paths):
        try:
            whole = path.resolve(strict=True)
            mode = stat.S_IMODE(whole.stat().st_mode)
            is_reachable = all(folder.stat().st_mode & stat.S_IXOTH for folder in whole.parents)
        except (OSError, ValueError, RuntimeError):
            continue  # the reader of the file says what is wrong with it
        if mode & (stat.S_IROTH | stat.S_IWOTH) and is_reachable:
            found.append(ExposedFile(path, mode))
    return tuple(found)


class SettingsFile:
    """The settings file and the key files it names, for a `TableController` to read again."""

    def __init__(
        self, path: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
    ) -> None:
        self._path = path
        self._environ = environ
        self._flags = flags
        self._read: tuple[Signature, list[Path]] | None = None
        self._reported: set[ExposedFile] = set()

    def load(self) -> Settings:
        """Read and check everything, and log which files with keys others can read; raises `ConfigError`."""
        settings = load_settings(self._path, self._environ, self._flags)
        exposed = set(exposed_files(secret_files(settings, self._path)))
        for file in sorted(exposed - self._reported, key=str):
            get_logger().warning(
                "key file open to all users", file=str(file.path), mode=f"{file.mode:04o}", remedy=file.remedy
            )
        self._reported = exposed
        return settings

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


def secret_files(settings: Settings, path: Path) -> list[Path]:
    """Return the files that hold keys: those named by `key_file`, and the settings file where it has a `key`."""
    files = [entry.key_file for entry in settings.config if entry.key_file is not None]
    return files + [path] * any(entry.key is not None for entry in settings.config)


def _signature(path: Path) -> tuple[str, int, int, int] | tuple[str, None]:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name with a null character is none
        return str(path), None
    return str(path), status.st_mtime_ns, status.st_ino, status.st_size
