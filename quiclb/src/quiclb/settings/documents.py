"""Reads the files that people write: settings and lists of backends, TOML or JSON, and keys."""

from __future__ import annotations

import codecs
import json
import tomllib
from pathlib import Path
from typing import Any, Final

from quiclb.errors import ConfigError, UnreadableError

MAX_FILE_BYTES: Final = 16 << 20
"""More than any pool needs; a device given by mistake would never end."""


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text, without the byte order mark that some editors put in front; raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError((error.strerror or str(error)).lower()) from None
    except ValueError:
        raise ConfigError("a file name must not hold a null character") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"must be at most {MAX_FILE_BYTES >> 20} MiB long")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError("is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text: byte {error.start + 1} is {content[error.start]:#04x}") from None


def read_document(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file, JSON if its name ends in `.json`; raises `ConfigError` that names the file."""
    is_json = path.suffix == ".json"
    try:
        text = read_text(path)
        document = json.loads(text) if is_json else tomllib.loads(text)
    except ConfigError as error:
        raise type(error)(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{path}: not valid {'JSON' if is_json else 'TOML'}: {reason}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a JSON object")
    return document
