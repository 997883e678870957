"""The settings as a JSON schema for editors and as a page for readers, both made of the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from voice_gateway.settings.gateway_settings import ENVIRONMENT_PREFIX, GatewaySettings
from voice_gateway.settings.worker_sections import former_names

Schema = Mapping[str, Any]

UNITS: Final = {"_bytes_per_s": "bytes/s", "_per_s": "1/s", "_bytes": "bytes", "_length": "bytes", "_s": "s"}
"""Units of numbers by the end of their names; the first that fits counts."""
_PAGE_HEAD: Final = f"""# Settings of a worker

Written by `voice-gateway config reference` from the models in `voice_gateway/settings`.
`voice-gateway config schema` writes a JSON schema for editors. `voice-gateway check --config FILE` opens all that
`serve` opens and says all that is wrong.

Defaults < file (TOML) < environment < flags of `serve` and `up`. The variable of a setting is
`{ENVIRONMENT_PREFIX}SECTION_KEY`, as `{ENVIRONMENT_PREFIX}SESSION_MAX_SESSIONS`; lists are separated by commas there.
Relative paths in the file are looked up beside it. Unknown keys are refused. An *address* is IP:port, as
`192.0.2.1:4433` or `[2001:db8::1]:4433`; port 0 takes a free one.

Secrets come by a file of their own (`..._file`), which other users cannot read, or by the environment: one that stands
in the settings file is refused. So is, at a public address (one of the Internet, or `0.0.0.0` and `[::]`), to serve
with a development certificate, open to all callers, or as root. `--insecure-development` insists, and `--allow-root`
for root alone.
"""


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of the settings file; sections that `voice-gateway up` fills by itself are optional."""
    schema = GatewaySettings.model_json_schema(mode="validation")
    schema.pop("required", None)
    for each in (schema, *schema["$defs"].values()):
        for part in (each, *each.get("properties", {}).values()):
            if "description" in part:
                part["description"] = " ".join(part["description"].split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "voice-gateway settings"}


def reference_page() -> str:
    """Return the page in Markdown: every setting with default, range, unit, and when to change it."""
    schema = settings_schema()
    parts = [_PAGE_HEAD]
    for name, section, required in sections(schema):
        parts.append(_section(name, section, required))
    return "\n".join(parts)


def sections(schema: Schema) -> Iterator[tuple[str, Schema, frozenset[str]]]:
    """Each section with its name and the keys that it requires; a section within another comes behind it."""
    names = dict(schema["properties"])
    for name, part in names.items():
        section = _resolved(part, schema)
        yield name, section, frozenset(section.get("required", ()))
        for key, inner in section["properties"].items():
            found = _resolved(inner, schema)
            if "properties" in found:
                yield f"{name}.{key}", found, frozenset(found.get("required", ()))


def unit_of(key: str, schema: Schema) -> str | None:
    """Return what a number counts: what its model says, or the end of its name."""
    if "x-unit" in schema:
        unit: str | None = schema["x-unit"]
        return unit
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), None)


def _section(name: str, section: Schema, required: frozenset[str]) -> str:
    head = f"[[{name}]]" if name == "config" else f"[{name}]"
    first, _, rest = section["description"].partition(": ")
    text = rest if first == f"`{head}`" else section["description"]
    lines = [f"## `{head}`", "", text[:1].upper() + text[1:], ""]
    lines += ["| Setting | Default | Range | Unit | What it is, and when to change it |", "|---|---|---|---|---|"]
    for key, part in section["properties"].items():
        default = "required" if key in required else _default(part)
        former = [old for old, new in former_names(name).items() if new == key]
        note = f" Deprecated name: `{former[0]}`." if former else ""
        is_number = {each.get("type") for each in _options(part)} & {"integer", "number"}
        unit = unit_of(key, part) if is_number else None
        cells = (f"`{key}`", default, _range(part), unit or "", part["description"] + note)
        lines.append("| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |")
    return "\n".join((*lines, ""))


def _resolved(part: Schema, schema: Schema) -> Schema:
    """Follow the reference to a section, if `part` is one, an array of such, or may be `null` instead."""
    for option in (part, part.get("items", {}), *part.get("anyOf", ())):
        if "$ref" in option:
            found: Schema = schema["$defs"][option["$ref"].rpartition("/")[2]]
            return found
    return part


def _default(part: Schema) -> str:
    value = part.get("default")
    if value is None and "; default " in part["description"] and "; default none" not in part["description"]:
        return "see text"
    if value is None or isinstance(value, list | dict):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return _number(value) if isinstance(value, int | float) else f"`{value}`"


def _range(part: Schema) -> str:
    """Return which values are legal, in a few words."""
    options = _options(part)
    option = options[0]
    kind = option.get("type")
    if kind == "boolean":
        return "true, false"
    if kind in ("integer", "number"):
        return _number_range(option)
    if any(each.get("type") == "array" for each in options):
        return "list"
    if option.get("writeOnly"):
        return "secret"
    if option.get("format") == "path":
        return "path"
    if kind == "object" or "$ref" in option:
        return "table"
    if "maxLength" in option:
        return f"{option.get('minLength', 0)} to {option['maxLength']} characters"
    return {"ip-port": "address", "hex": "hexadecimal"}.get(option.get("format", ""), "text")


def _options(part: Schema) -> list[Schema]:
    """The kinds of values that a setting takes, besides none."""
    return [each for each in part.get("anyOf", (part,)) if each.get("type") != "null"] or [part]


def _number_range(option: Schema) -> str:
    least, most = option.get("minimum"), option.get("maximum")
    if least is not None and most is not None:
        return f"{_number(least)} to {_number(most)}"
    if least is not None:
        return f"{_number(least)} or more"
    if "exclusiveMinimum" not in option:
        return "number"
    above = f"more than {_number(option['exclusiveMinimum'])}"
    return above if most is None else f"{above}, up to {_number(most)}"


def _number(number: float) -> str:
    return f"{number:,}".removesuffix(".0")
