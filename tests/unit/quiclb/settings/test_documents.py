from __future__ import annotations

import pytest

from quiclb import ConfigError, load_settings
from quiclb.settings.documents import MAX_FILE_BYTES, read_document, read_text
from quiclb.settings.files import SettingsFile
from quiclb.settings.loader import load_backends
from tests.unit.quiclb.settings.test_settings import GOOD

BOM = b"\xef\xbb\xbf"
KEY = "8f95f09245765f80256934e50c66207f"


def test_a_byte_order_mark_is_no_part_of_settings_keys_or_lists_of_backends(tmp_path):
    text = GOOD.replace(f'key = "{KEY}"', 'key_file = "lb.key"')
    (tmp_path / "lb.key").write_bytes(BOM + KEY.encode() + b"\r\n")
    path = tmp_path / "lb.toml"
    path.write_bytes(BOM + text.encode())
    assert load_settings(path).config[0].build().key == bytes.fromhex(KEY)
    assert tmp_path / "lb.key" in SettingsFile(path)._key_files()
    for name, content in (
        ("backends.toml", '[[backend]]\nname = "a"\naddress = "10.0.0.1:1"\n'),
        ("backends.json", '{"backend": [{"name": "a", "address": "10.0.0.1:1"}]}'),
    ):
        (tmp_path / name).write_bytes(BOM + content.encode())
        assert [backend.name for backend in load_backends(tmp_path / name)] == ["a"]


def test_utf_16_is_named_with_the_remedy(tmp_path):
    (tmp_path / "lb.toml").write_text(GOOD, encoding="utf-16")
    with pytest.raises(ConfigError, match=r"lb\.toml: is UTF-16; save it as UTF-8$"):
        read_document(tmp_path / "lb.toml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"a = '\xfc'", "is not UTF-8 text: byte 6 is 0xfc"),
        ("a.toml", b"a = " + b"[" * 100_000, "not valid TOML: nested too deeply"),
        ("a.json", b"[" * 100_000, "not valid JSON: nested too deeply"),
        ("a.toml", b"a = " + b"9" * 5000, "not valid TOML: Exceeds the limit"),
        ("a.json", b"[]", "not a JSON object"),
        ("a.toml", b"#" * (MAX_FILE_BYTES + 1), "must be at most 16 MiB long"),
    ],
    ids=["latin-1", "deep-toml", "deep-json", "huge-number", "list", "huge-file"],
)
def test_what_is_no_document_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_document(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_name_with_a_null_character_are_no_files(tmp_path):
    with pytest.raises(ConfigError, match=r"^is a directory$"):
        read_text(tmp_path)
    with pytest.raises(ConfigError, match="null character"):
        read_text(tmp_path / "a\0b")
