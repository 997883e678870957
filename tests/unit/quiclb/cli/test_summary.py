from __future__ import annotations

import json
import shutil
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from quiclb import load_settings
from quiclb.settings.sections import (
    BackendEntry,
    ConfigEntry,
    DnsDiscovery,
    FileDiscovery,
    ForwarderSection,
    HealthSection,
    OrdinalDiscovery,
)

EXAMPLES = Path(__file__).parents[4] / "deploy" / "quiclb"


@pytest.fixture
def example(tmp_path):
    """The commented example with a key beside it."""
    for name in ("lb.toml", "backends.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "quic-lb.key").write_text("8f95f09245765f80256934e50c66207f\n")
    return tmp_path / "lb.toml"


def test_the_example_means_what_its_comments_say(quiclb, example):
    status, out, err = quiclb("check", "--config", str(example), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert [config["algorithm"] for config in found["configs"]] == ["single-pass", "plaintext"]
    assert {each["name"]: each["state"] for each in found["backends"]} == {
        "a": "active",
        "b": "draining",
        "c": "active",
    }
    assert found["backends"][1]["server_ids"] == {"0": ["5f1d2c02", "5f1d2c03"]}
    assert [each["backends"] for each in found["discovery"]] == [None, 1, None]
    assert found["conflicts"] == []
    _, text, _ = quiclb("check", "--config", str(example))
    assert "workers.voice.svc.cluster.local: not looked up, see --resolve" in text
    assert "8f95" not in text + out


def test_the_commented_defaults_are_the_defaults(example):
    lines = example.read_text().splitlines()
    text = "\n".join(line[2:] if line.startswith("# ") and " = " in line else line for line in lines)
    printed = tomllib.loads(text)
    explicit = {"listen", "inner", "metrics", "metrics_hosts", "host", "port", "path", "kind", "server_ids", "count"}
    sections: list[tuple[type[BaseModel], dict[str, Any]]] = [
        (ForwarderSection, printed["forwarder"]),
        (HealthSection, printed["health"]),
        (DnsDiscovery, printed["discovery"][0]),
        (FileDiscovery, printed["discovery"][1]),
        (OrdinalDiscovery, printed["discovery"][2]),
    ]
    for model, values in sections:
        assert values.keys() == model.model_fields.keys()
        for name, value in values.items():
            if name not in explicit:
                assert value == model.model_fields[name].default, name
    assert printed["config"][0].keys() | {"key"} == ConfigEntry.model_fields.keys()


def test_the_minimal_example_is_complete(quiclb):
    status, _, err = quiclb("check", "--config", str(EXAMPLES / "minimal.toml"))
    assert (status, err) == (0, "")
    assert len(load_settings(EXAMPLES / "minimal.toml").table_spec().backends) == 1


def test_names_are_looked_up_when_asked_for(quiclb, example, monkeypatch):
    def getaddrinfo(host, port, *_, **__):
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (ip, port)) for ip in ("10.1.2.3", "95.29.44.1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    status, out, _ = quiclb("check", "--config", str(example), "--resolve", "--json")
    assert status == 0
    found = json.loads(out)
    by_name = {each["name"]: each["server_ids"] for each in found["backends"]}
    assert by_name["10.1.2.3:4433"] == {"0": ["0a010203"], "1": ["a20000000a010203"]}
    # 95.29.44.1 is 5f1d2c01, the server ID of `a`
    assert by_name["95.29.44.1:4433"] == {"1": ["a20000005f1d2c01"]}
    [conflict] = found["conflicts"]
    assert "is left out: it is that of 'a'" in conflict


def test_what_cannot_be_found_is_one_sentence(quiclb, example):
    (example.parent / "backends.toml").unlink()
    status, out, err = quiclb("check", "--config", str(example))
    assert (status, out) == (1, "")
    assert err.endswith("backends.toml: no such file or directory\n")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "section", [ForwarderSection, ConfigEntry, BackendEntry, HealthSection, DnsDiscovery, FileDiscovery]
)
def test_every_setting_says_what_it_is(section):
    for name, field in section.model_fields.items():
        if name == "kind":
            continue
        assert field.description, name
        assert "required" in field.description if field.is_required() else "efault" in field.description, name
