from __future__ import annotations

import os

import pytest

from quiclb import ConfigError
from quiclb.files import SettingsFile, files_signature
from tests.unit.quiclb.test_settings import GOOD

WITH_KEY_FILE = GOOD.replace('key = "8f95f09245765f80256934e50c66207f"', 'key_file = "lb.key"')


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text(WITH_KEY_FILE)
    (tmp_path / "lb.key").write_text("8f95f09245765f80256934e50c66207f\n")
    return path


def write(path):
    path.write_text(path.read_text() + "\n")


def replace_whole(path):
    other = path.with_suffix(".new")
    other.write_text(path.read_text())
    os.utime(other, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def relink(path):
    target = path.with_suffix(".2")
    path.rename(target)
    path.symlink_to(target)
    replace_whole(target)


@pytest.mark.parametrize("change", [write, replace_whole, relink, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["lb.toml", "lb.key"])
def test_every_kind_of_change_shows(path, change, name):
    file = SettingsFile(path)
    before = file.signature()
    assert file.signature() == before
    change(path.with_name(name))
    assert file.signature() != before


def test_key_files_are_watched_while_the_settings_are_bad(path):
    key = path.with_name("lb.key")
    key.write_text("short")
    file = SettingsFile(path)
    before = file.signature()
    with pytest.raises(ConfigError):
        file.load()
    key.write_text("8f95f09245765f80256934e50c66207f")
    assert file.signature() != before
    assert file.load().config[0].build().key is not None


@pytest.mark.parametrize("text", ["config = 5", "config = [1]", "[[config]]\nkey_file = 3", "nonsense", "[config]"])
def test_watching_bears_any_content(path, text):
    path.write_text(text)
    assert len(SettingsFile(path).signature()) == 1


def test_a_missing_file_has_a_signature_of_its_own(path):
    present = files_signature([path])
    path.unlink()
    assert files_signature([path]) != present
    assert files_signature([path]) == ((str(path), None),)
