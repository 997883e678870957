"""What the settings' sections are made of: a strict base and the values that are written as text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from quiclb.address import Address, parse_address, parse_host


class Section(BaseModel):
    """A table of the settings file: unknown keys are refused, and errors do not repeat values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def _to_address(value: object) -> object:
    if isinstance(value, str):
        return parse_address(value)
    if isinstance(value, tuple):
        return value  # made by code; TOML has lists only
    raise ValueError("must be text such as '192.0.2.1:443' or '[2001:db8::1]:443'")


def _to_octets(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise ValueError(f"must be hexadecimal digits, two for each octet, got {value!r}") from None


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


HostName = Annotated[str, AfterValidator(parse_host)]
"""An IP address, or a host name in the form that is looked up."""
HostPort = Annotated[Address, BeforeValidator(_to_address)]
HexOctets = Annotated[bytes, BeforeValidator(_to_octets)]
ServerIds = Annotated[tuple[HexOctets, ...], BeforeValidator(_to_list)]
"""One server ID in hexadecimal, or a list of them."""
