"""What the settings' sections are made of: a strict base, lists, and secrets that files may hold."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, JsonValue, SecretStr

from quiclb.errors import ConfigError
from quiclb.net.address import parse_host_port
from quiclb.settings import documents
from quiclb.settings.fields import HexBytes
from quiclb.settings.fields import Section as StrictSection
from voice_gateway.errors import ConfigurationError


class Section(StrictSection):
    """A table of the settings file: unknown keys and infinite numbers are refused, and errors do not repeat values."""

    model_config = ConfigDict(allow_inf_nan=False)


def split(value: object) -> object:
    """Take a text for a list by its commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


TextOrList = str | list[str]
"""How a list may be written: as one, or as text with commas."""
List = Annotated[tuple[str, ...], BeforeValidator(split, json_schema_input_type=TextOrList)]


def _to_server_id(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(_BASE64):
        return value
    try:
        return base64.b64decode(value.removeprefix(_BASE64), validate=True)
    except ValueError:
        raise ValueError(f"must be base64 after {_BASE64!r}, as AWS gives server IDs, got {value!r}") from None


_BASE64 = "base64:"
ServerId = Annotated[HexBytes, BeforeValidator(_to_server_id)]
"""A server ID in hexadecimal, or in base64 behind `base64:`."""


def unit(name: str | None) -> dict[str, JsonValue]:
    """Return what a number counts, for `Field(json_schema_extra=...)`, where its name does not end in its unit."""
    return {"x-unit": name}


def check_url_authority(url: str) -> str:
    """Return the URL if its host and port can be called; raises `ConfigError`, a `ValueError`."""
    _, _, rest = url.partition("://")
    parse_host_port(rest.partition("/")[0], default_port=443)
    return url


def check_origin(origin: str) -> str:
    """Return the origin if a browser can send it as `Origin` (RFC 6454 section 6.2); raises `ValueError`.

    That is `null`, or scheme and host in lower case, and the port where it is not the scheme's own.
    """
    scheme, _, host = origin.partition("://")
    own_port = _OWN_PORTS.get(scheme)
    is_written_so = _ORIGIN.fullmatch(origin) and not (own_port and host.endswith(own_port))
    if origin != "null" and not is_written_so:
        raise ValueError(
            "an origin is written as browsers send it, in lower case, without a path, and with a port only where it is "
            f"not the scheme's own, such as https://shop.example.com; got {origin!r}"
        )
    return origin


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._~%-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_OWN_PORTS = {"https": ":443", "http": ":80"}


def holds_secret(url: str) -> bool:
    """Whether a URL has a user or password, a parameter with a name that secrets have, or a part that looks drawn."""
    authority, _, rest = url.partition("://")[2].partition("/")
    if "@" in authority:
        return True
    path, _, query = rest.partition("?")
    pairs = [each.partition("=") for each in re.split(r"[&;]", query.partition("#")[0])]
    if any(value and _SECRET_NAME.search(name) for name, _, value in pairs):
        return True
    return any(_looks_drawn(part) for part in (*path.split("/"), *(value for _, _, value in pairs)))


def _looks_drawn(part: str) -> bool:
    """Whether it is long, and of letters and digits in no order, as tokens and UUIDs are; words are not."""
    changes = len(re.findall(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])", part))
    return len(part) >= _DRAWN_CHARACTERS and changes >= _DRAWN_CHANGES and re.fullmatch(r"[\w.~%-]+", part) is not None


def read_secret(name: str, value: SecretStr | None, path: Path | None) -> str | None:
    """Return the value, or what its file holds without the space around it; raises `ConfigurationError`."""
    if path is None:
        return None if value is None else value.get_secret_value()
    if value is not None:
        raise ConfigurationError(f"{name}: give it or {name}_file, not both")
    # the file's name is not repeated: it is the secret itself where the wrong key was used
    return read_text(f"{name}_file", path)


def read_text(shown: str, path: Path) -> str:
    """Return what a UTF-8 file holds without the space around it; raises `ConfigurationError` that begins with `shown`.

    A byte order mark in front is left out.
    """
    try:
        return documents.read_text(path).strip()
    except ConfigError as error:
        raise ConfigurationError(f"{shown}: {error}") from None


def read_full_secret(name: str, value: SecretStr | None, path: Path | None) -> str | None:
    """`read_secret` that is not empty."""
    text = read_secret(name, value, path)
    if text == "":
        raise ConfigurationError(f"{name}: is empty; leave it out to admit all callers")
    return text


def read_bytes(name: str, value: SecretStr | None, path: Path | None, lengths: range | tuple[int, ...]) -> bytes | None:
    """`read_secret` in hexadecimal, of one of these lengths."""
    text = read_secret(name, value, path)
    return None if text is None else _bytes(name, text, lengths)


def read_bytes_of_each(
    name: str, value: SecretStr | None, path: Path | None, lengths: range | tuple[int, ...]
) -> tuple[bytes, ...]:
    """`read_bytes` of several, separated by spaces or lines; none where nothing was given."""
    text = read_secret(name, value, path)
    return () if text is None else tuple(_bytes(name, each, lengths) for each in text.split() or [""])


def _bytes(name: str, text: str, lengths: range | tuple[int, ...]) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) not in lengths:
        least, most = min(lengths), max(lengths)
        how_many = f"{least} to {most}" if isinstance(lengths, range) else " or ".join(map(str, lengths))
        raise ConfigurationError(f"{name}: must be {how_many} bytes in hexadecimal")
    return data


_SECRET_NAME: Final = re.compile(r"(?i)(^|[_-])(key|apikey|pass|password|pwd|secret|sig|signature|token|auth)$")
_DRAWN_CHARACTERS: Final = 20
_DRAWN_CHANGES: Final = 3
