"""`make setup` installs what `locks/*.lock` has the hashes of, and nothing else."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from locks.renew import BESIDE, LOCKS, WHOLE, documents, requirements

ROOT = Path(__file__).parents[1]
HASHES = r"(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
ENTRY = re.compile(rf"^(?P<pin>[a-z0-9][^\\\n]*?) \\\n(?P<hashes>{HASHES})", re.MULTILINE)
COMPILED = ("cffi", "cryptography", "msgspec", "numpy", "pydantic-core", "uvloop", "websockets")
"""Packages of compiled code, a wheel for each platform."""


def entries(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """The pins of a lock with their hashes; every line must belong to one."""
    text = (ROOT / f"locks/{name}.lock").read_text()
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for entry in ENTRY.finditer(text):
        pin = Requirement(entry["pin"])
        found[canonicalize_name(pin.name)] = pin, re.findall(r"sha256:([0-9a-f]{64})", entry["hashes"])
    rest = ENTRY.sub("", text).splitlines()
    assert [line for line in rest if line.strip() and not line.startswith("#")] == []
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_one_version_with_hashes(name: str) -> None:
    for pin, hashes in entries(name).values():
        assert re.fullmatch(r"==[\w.!]+", str(pin.specifier)), pin
        assert pin.url is None
        assert hashes


def test_packages_of_compiled_code_have_hashes_for_other_platforms_too() -> None:
    locked = entries("setup")
    assert {name: len(locked[name][1]) for name in COMPILED if len(locked[name][1]) < 20} == {}


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_a_registry(name: str) -> None:
    text = (ROOT / f"locks/{name}.lock").read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_covers_what_pyproject_asks_for(name: str) -> None:
    locked = entries("setup") | entries(name)
    for each in map(Requirement, requirements(name)):
        pin, _ = locked[canonicalize_name(each.name)]
        (version,) = pin.specifier
        assert each.specifier.contains(version.version), f"{each}: run make lock"


def test_every_extra_is_in_a_lock() -> None:
    extras = {extra for each in documents() for extra in each["project"].get("optional-dependencies", ())}
    assert {extra for lock in LOCKS.values() for extra in lock} == extras


def test_locks_of_one_environment_agree_on_versions() -> None:
    for name in LOCKS.keys() - set(WHOLE):
        setup = entries(BESIDE.get(name, "setup"))
        for package, (pin, hashes) in entries(name).items():
            assert setup.get(package, (pin, hashes)) == (pin, hashes)


def test_what_is_installed_is_what_the_lock_says() -> None:
    applying = {name: pin for name, (pin, _) in entries("setup").items() if pin.marker is None or pin.marker.evaluate()}
    installed = {name: importlib.metadata.version(name) for name in applying}
    assert {name: f"=={version}" for name, version in installed.items()} == {
        name: str(pin.specifier) for name, pin in applying.items()
    }


def test_the_makefile_installs_nothing_without_a_hash() -> None:
    commands = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if re.search(r"/pip (install|wheel)", line)
    ]
    assert len(commands) >= 3
    for command in commands:
        assert "--require-hashes" in command or {"--no-deps", "--no-build-isolation"} <= set(command.split()), command
