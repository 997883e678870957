"""What the settings' sections are made of: a strict base and the values that are written as text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quiclb.net.address import Address, parse_address, parse_host, parse_host_name


class Section(BaseModel):
    """A table of the settings file: unknown keys are refused, and errors do not repeat values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _check_numbers(cls, values: object) -> object:
        """Refuse `true` for a number; pydantic takes it for 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields and cls.model_fields[name].annotation in _NUMBERS:
                raise ValueError(f"{name} must be a number, got {str(value).lower()}")
        return values


_NUMBERS = (int, float, int | None, float | None)


def _to_address(value: object) -> object:
    if isinstance(value, str):
        return parse_address(value)
    if isinstance(value, tuple):
        return value  # made by code; TOML has lists only
    raise ValueError("must be text such as '192.0.2.1:443' or '[2001:db8::1]:443'")


def _to_bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise ValueError(f"must be hexadecimal digits, two for each byte, got {value!r}") from None


def _to_list(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be hexadecimal digits in quotes, or a list of such")
    return [value] if isinstance(value, str) else value


def _check_config_ids(value: object) -> object:
    """TOML tells `0` from `00`; as a number the later one would win in silence."""
    if isinstance(value, dict):
        numbers = [
            int(key) for key in value if isinstance(key, int | str) and str(key).isdecimal() and len(str(key)) < 9
        ]
        if len(numbers) != len(set(numbers)):
            raise ValueError("a config ID is given twice")
    return value


def _check_name(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable characters, with no space at either end")
    return value


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _check_host_pattern(value: str) -> str:
    parent = value.removeprefix("*.")
    return value[: len(value) - len(parent)] + parse_host_name(parent)


HostName = Annotated[str, AfterValidator(parse_host)]
"""An IP address, or a host name in the form that is looked up."""
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_check_name)]
"""What logs and metrics call something."""
_AddressText = Annotated[str, Field(json_schema_extra={"format": "ip-port"})]
_HexText = Annotated[str, Field(json_schema_extra={"format": "hex"})]
HostPort = Annotated[Address, BeforeValidator(_to_address, json_schema_input_type=_AddressText)]
HostNames = Annotated[
    tuple[Annotated[str, AfterValidator(_check_host_pattern)], ...],
    BeforeValidator(_split, json_schema_input_type=str | list[str]),
]
"""Host names, as a list or separated by commas; `*.example.com` is every name below `example.com`."""
HexBytes = Annotated[bytes, BeforeValidator(_to_bytes, json_schema_input_type=_HexText)]
ServerIds = Annotated[tuple[HexBytes, ...], BeforeValidator(_to_list)]
"""One server ID in hexadecimal, or a list of them."""
ConfigIds = BeforeValidator(_check_config_ids)
"""Marks tables whose keys are config IDs."""
