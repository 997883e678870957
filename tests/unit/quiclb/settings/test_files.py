from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from quiclb import ConfigError
from quiclb.settings.files import SettingsFile, exposed_files, files_signature, secret_files
from tests.unit.quiclb.settings.test_settings import GOOD

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


@pytest.fixture
def public_folder():
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("mode", "is_exposed"),
    [(0o600, False), (0o400, False), (0o640, False), (0o440, False), (0o644, True), (0o604, True), (0o602, True)],
)
def test_files_that_all_users_can_read_or_write_are_exposed(public_folder, mode, is_exposed):
    (public_folder / "lb key").write_text("")
    (public_folder / "lb key").chmod(mode)
    (public_folder / "link").symlink_to("lb key")
    found = exposed_files([public_folder / "lb key", public_folder / "link", public_folder / "none"])
    assert [file.path.name for file in found] == (["lb key", "link"] if is_exposed else [])
    if is_exposed:
        assert f"mode {mode:04o}" in str(found[0])
        assert found[0].remedy == f"chmod 600 '{public_folder / 'lb key'}'"


def test_files_in_a_folder_that_others_cannot_enter_are_not_exposed(public_folder):
    (public_folder / "lb.key").write_text("")
    (public_folder / "lb.key").chmod(0o644)
    public_folder.chmod(0o750)
    assert exposed_files([public_folder / "lb.key"]) == ()


def test_key_files_and_a_settings_file_with_keys_hold_secrets(path):
    assert secret_files(SettingsFile(path).load(), path) == [path.with_name("lb.key")]
    path.write_text(GOOD)
    assert secret_files(SettingsFile(path).load(), path) == [path]


def test_a_key_file_open_to_all_is_logged_when_it_is_found_and_not_again(public_folder):
    (public_folder / "lb.key").write_text("8f95f09245765f80256934e50c66207f\n")
    (public_folder / "lb.key").chmod(0o644)
    (public_folder / "lb.toml").write_text(WITH_KEY_FILE)
    settings = SettingsFile(public_folder / "lb.toml")
    with capture_logs() as logs:
        settings.load()
        settings.load()
    [line] = logs
    assert (line["event"], line["mode"]) == ("key file open to all users", "0644")
    assert line["remedy"] == f"chmod 600 {line['file']}"
