"""Where the files of recorded calls lie: a folder of this host, and optionally object storage behind `fsspec`."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from voice_gateway.errors import ConfigurationError, GatewayError
from voice_gateway.recording.segments.format import is_call_name

_EXTRA: Final = "pip install 'voice-gateway[recording-storage]'"


class ArchiveError(GatewayError):
    """The storage of recordings cannot be reached or read."""


class Archive(ABC):
    """Files by call and name. What is not there is no error to `delete`. Raises `ArchiveError`; calls may block."""

    @abstractmethod
    def calls(self) -> list[str]:
        """Return the session IDs of all calls."""

    @abstractmethod
    def names(self, call: str) -> list[str]:
        """Return the names of the call's files."""

    @abstractmethod
    def read(self, call: str, name: str) -> bytes:
        """Return what a file holds; empty where it is gone by now."""

    @abstractmethod
    def write(self, call: str, name: str, data: bytes) -> None:
        """Keep a file in place of any earlier one of this name."""

    @abstractmethod
    def delete(self, call: str, names: Sequence[str] | None = None) -> None:
        """Delete these files of a call, or all of it."""


class FolderArchive(Archive):
    """A folder of this host, with one folder for each call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def calls(self) -> list[str]:
        with self._reached(), suppress(FileNotFoundError):
            return sorted(each.name for each in self.folder.iterdir() if is_call_name(each.name) and each.is_dir())
        return []

    def names(self, call: str) -> list[str]:
        with self._reached(), suppress(FileNotFoundError, NotADirectoryError):
            return sorted(each.name for each in (self.folder / call).iterdir())
        return []

    def read(self, call: str, name: str) -> bytes:
        with self._reached(), suppress(FileNotFoundError):
            return (self.folder / call / name).read_bytes()
        return b""

    def write(self, call: str, name: str, data: bytes) -> None:
        with self._reached():
            (self.folder / call).mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.folder / call / name).write_bytes(data)

    def delete(self, call: str, names: Sequence[str] | None = None) -> None:
        with self._reached(), suppress(FileNotFoundError):
            if names is None:
                shutil.rmtree(self.folder / call)
                return
            for name in names:
                (self.folder / call / name).unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                (self.folder / call).rmdir()

    def _reached(self) -> AbstractContextManager[None]:
        return _reached(str(self.folder), OSError)


class FsspecArchive(Archive):
    """Object storage that `fsspec` knows by its URL, as `s3://bucket/prefix`; credentials are those of its own library.

    Raises `ConfigurationError` where the URL is none, or what it needs is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise ConfigurationError(f"recording.storage needs fsspec: {_EXTRA}") from None
        try:
            files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"recording.storage cannot be opened: {error}; for s3:// install s3fs") from None
        self._files: Any = files
        self._root = str(root).rstrip("/")

    def calls(self) -> list[str]:
        return [name for name in self._list(self._root) if is_call_name(name)]

    def names(self, call: str) -> list[str]:
        return self._list(f"{self._root}/{call}")

    def read(self, call: str, name: str) -> bytes:
        with self._reached(), suppress(FileNotFoundError):
            return bytes(self._files.cat_file(f"{self._root}/{call}/{name}"))
        return b""

    def write(self, call: str, name: str, data: bytes) -> None:
        with self._reached():
            self._files.makedirs(f"{self._root}/{call}", exist_ok=True)
            self._files.pipe_file(f"{self._root}/{call}/{name}", data)

    def delete(self, call: str, names: Sequence[str] | None = None) -> None:
        with self._reached(), suppress(FileNotFoundError):
            if names is None:
                self._files.rm(f"{self._root}/{call}", recursive=True)
                return
            for name in names:
                with suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{call}/{name}")

    def _list(self, folder: str) -> list[str]:
        with self._reached(), suppress(FileNotFoundError):
            self._files.invalidate_cache(folder)
            return sorted(str(path).rstrip("/").rpartition("/")[2] for path in self._files.ls(folder, detail=False))
        return []

    def _reached(self) -> AbstractContextManager[None]:
        return _reached(self._root, Exception)  # a foreign library may raise anything


class JoinedArchive(Archive):
    """The folder of this host, and the storage to which it moves what is complete: read as one."""

    def __init__(self, folder: FolderArchive, storage: Archive) -> None:
        self._folder = folder
        self._storage = storage

    def calls(self) -> list[str]:
        return sorted({*self._folder.calls(), *self._storage.calls()})

    def names(self, call: str) -> list[str]:
        return sorted({*self._folder.names(call), *self._storage.names(call)})

    def read(self, call: str, name: str) -> bytes:
        return self._folder.read(call, name) or self._storage.read(call, name)

    def write(self, call: str, name: str, data: bytes) -> None:
        self._storage.write(call, name, data)

    def delete(self, call: str, names: Sequence[str] | None = None) -> None:
        self._folder.delete(call, names)
        self._storage.delete(call, names)


def open_archive(folder: Path, storage: str | None) -> Archive:
    """Return where recordings are read from; raises `ConfigurationError`."""
    own = FolderArchive(folder)
    return own if storage is None else JoinedArchive(own, FsspecArchive(storage))


def move_to_storage(folder: FolderArchive, storage: Archive, call: str, stem: str) -> None:
    """Move the files of a complete segment; a file that cannot be moved stays in the folder."""
    for name in folder.names(call):
        if name.rpartition(".")[0] == stem and (data := folder.read(call, name)):
            storage.write(call, name, data)
            folder.delete(call, [name])


@contextmanager
def _reached(place: str, failure: type[Exception]) -> Iterator[None]:
    """Raise `ArchiveError` for a `failure`."""
    try:
        yield
    except failure as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ArchiveError(f"recordings in {place}: {reason}") from None
