"""The page and the schema that are made of the settings' models."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.unit.voice_gateway.settings.test_gateway_settings import FULL
from voice_gateway.cli import main as cli
from voice_gateway.settings.gateway_settings import SECTIONS
from voice_gateway.settings.reference import reference_page, sections, settings_schema, unit_of

PAGE = Path(__file__).parents[4] / "gateway" / "docs" / "configuration.md"


def numbers(part: dict[str, Any]) -> bool:
    return any(each.get("type") in ("integer", "number") for each in part.get("anyOf", (part,)))


def test_the_page_in_the_tree_is_current() -> None:
    """Write it with: voice-gateway config reference --out gateway/docs/configuration.md"""
    assert PAGE.read_text() == reference_page()


def test_every_setting_of_every_section_is_on_the_page() -> None:
    page = reference_page()
    for name, section in SECTIONS.items():
        assert f"## `[{name}]`" in page
        text = page.partition(f"## `[{name}]`")[2].partition("\n## ")[0]
        for key in section.model_fields:
            assert f"| `{key}` |" in text, f"{name}.{key}"
    assert "## `[[config]]`" in page
    assert "## `[agent.hosts]`" in page


def test_every_setting_is_described() -> None:
    for name, section, _ in sections(settings_schema()):
        for key, part in section["properties"].items():
            assert len(part.get("description", "")) > 20 or key == "apology_text", f"{name}.{key}"
            assert part["description"].endswith("."), f"{name}.{key}"


def test_every_number_has_a_unit() -> None:
    """One that counts or measures nothing says so by the unit `None`."""
    for name, section, _ in sections(settings_schema()):
        for key, part in section["properties"].items():
            if numbers(part) and (name, key) not in {("config", "id"), ("quic", "config_id")}:
                assert unit_of(key, part) is not None or "x-unit" in part, f"{name}.{key}"


def test_the_page_shows_default_range_and_unit() -> None:
    page = reference_page()
    for row in (
        "| `idle_timeout_s` | 30 | more than 0, up to 86,400 | s | A connection",
        "| `max_sessions` | 500 | 1 or more | sessions | How many",
        "| `key` | required | path |  | The private key",
        "| `workers` | see text | 1 to 64 | workers | How many",
        "| `opus_complexity` | 1 | 0 to 10 |  | How hard",
        "| `listen` | none | address |  | Where clients",
        "| `server_id` | none | hexadecimal |  | This worker's",
    ):
        assert row in page


def test_the_command_writes_page_and_schema(tmp_path: Path) -> None:
    for command, suffix in (("reference", "md"), ("schema", "json")):
        file = tmp_path / f"out.{suffix}"
        assert CliRunner().invoke(cli.app, ["config", command, "--out", str(file)]).exit_code == 0
        assert CliRunner().invoke(cli.app, ["config", command]).output == file.read_text()
    assert json.loads((tmp_path / "out.json").read_text()) == settings_schema()


def test_the_schema_knows_each_key_of_a_full_file_and_no_other() -> None:
    """What an editor would mark; the schema allows no further keys."""
    schema = settings_schema()
    known = {name: section["properties"].keys() for name, section, _ in sections(schema)}
    for name, given in tomllib.loads(FULL).items():
        for each in given if isinstance(given, list) else [given]:
            assert each.keys() <= known[name]
    assert all(section["additionalProperties"] is False for _, section, _ in sections(schema))
    assert schema["additionalProperties"] is False
    assert "required" not in schema


def test_the_schema_takes_what_files_hold() -> None:
    properties = {name: section["properties"] for name, section, _ in sections(settings_schema())}
    listen = [each["type"] for each in properties["worker"]["listen"]["anyOf"]]
    assert listen == ["string", "null"]
    hosts = {each.get("type") for each in properties["agent"]["hosts"]["anyOf"]}
    assert {"string", "array"} <= hosts
    assert properties["agent"]["settings"]["type"] == "object"
