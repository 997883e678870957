from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from tests.unit.quiclb.settings.test_settings import GOOD


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text(GOOD)
    return str(path)


def test_encode_and_decode_are_inverse(quiclb, config):
    status, out, _ = quiclb("encode", "ed793a", "--nonce", "ee080dbf", "--config", config)
    assert (status, out) == (0, "0720b1d07b359d3c\n")
    status, out, err = quiclb("decode", "0720b1d07b359d3c", "--config", config, "--json")
    expected = {"reason": "ok", "config_id": 0, "server_id": "ed793a", "nonce": "ee080dbf", "backend": "a"}
    assert (status, json.loads(out), err) == (0, expected, "")


def test_encode_and_decode_without_a_file(quiclb, tmp_path):
    key_file = tmp_path / "lb.key"
    key_file.write_text("8f95f09245765f80256934e50c66207f\n")
    _, out, _ = quiclb("encode", "ed793a", "--nonce-length", "4", "--key-file", str(key_file), "--json")
    document = json.loads(out)
    assert document.keys() == {"cid", "config_id", "server_id"}
    layout = ("--server-id-length", "3", "--nonce-length", "4", "--key-file", str(key_file))
    _, out, _ = quiclb("decode", document["cid"], *layout)
    assert "server_id ed793a" in out


def test_route_answers_each_line(quiclb, config):
    datagrams = ["400720b1d07b359d3c", "40e7" + "00" * 7, "c0"]
    stdin = "".join(json.dumps({"client": "198.51.100.7:40001", "datagram": d}) + "\n" for d in datagrams)
    status, out, err = quiclb("route", "--config", config, "--json", stdin=stdin)
    fallback = {"decision": "fallback", "reason": "reserved-0b111", "config_id": 7, "server_id": None, "backend": "a"}
    assert (status, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"decision": "routable", "reason": "ok", "config_id": 0, "server_id": "ed793a", "backend": "a"},
        fallback,
        {
            "decision": "drop",
            "reason": "truncated-long-header",
            "config_id": None,
            "server_id": None,
            "backend": None,
        },
    ]


def test_route_takes_one_datagram_from_flags(quiclb, config):
    flags = ("--client", "198.51.100.7:40001", "--datagram", "400720b1d07b359d3c")
    status, out, _ = quiclb("route", "--config", config, *flags, "--json")
    assert (status, json.loads(out)["backend"]) == (0, "a")


def test_check_warns_of_key_files_open_to_all_users(quiclb, config):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder, "lb.toml")
        copy.write_text(Path(config).read_text())
        for mode, count in ((0o644, 1), (0o640, 0)):
            copy.chmod(mode)
            status, out, _ = quiclb("check", "--config", str(copy), "--json")
            assert (status, len(json.loads(out)["warnings"])) == (0, count)
            _, out, _ = quiclb("check", "--config", str(copy))
            assert out.count(f"warning: {copy} has mode 0644") == count


def test_check_shows_the_layout_and_no_key(quiclb, config):
    status, out, _ = quiclb("check", "--config", config, "--json")
    assert status == 0
    assert [entry["algorithm"] for entry in json.loads(out)["configs"]] == ["four-pass", "plaintext"]
    _, text, _ = quiclb("check", "--config", config)
    assert "ed793a" in text
    assert "8f95" not in text + out


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("serve", "--config", "/nonexistent.toml"), "", "/nonexistent.toml: no such file or directory"),
        (("encode", "ed793a", "--nonce-length", "4", "--key", "abc"), "", "key must be 32 hexadecimal digits"),
        (("encode", "ed79", "--config", "CONFIG"), "", "server ID is 2 bytes, config 0 expects 3"),
        (("encode", "ed79", "--config", "CONFIG", "--config-id", "5"), "", "config 5 does not exist in the file"),
        (("encode", "ed793a"), "", "nonce must be at least 4 bytes long, got 0"),
        (("decode", "xyz", "--config", "CONFIG"), "", "connection ID must be hexadecimal digits"),
        (("route", "--config", "CONFIG"), "nonsense\n", "line 1 of standard input: Expecting value"),
        (("route", "--config", "CONFIG"), "[]\n", "line 1 of standard input"),
        (("route", "--config", "CONFIG"), '{"client": "1.2.3.4:5"}\n', "line 1 of standard input: misses 'datagram'"),
        (("route", "--config", "CONFIG"), '{"client": 5, "datagram": ""}\n', "line 1 of standard input"),
        (("route", "--config", "CONFIG", "--client", "1.2.3.4:5"), "", "--client and --datagram go together"),
    ],
)
def test_mistakes_are_one_sentence_and_a_status(quiclb, config, arguments, stdin, message):
    status, out, err = quiclb(*(config if part == "CONFIG" else part for part in arguments), stdin=stdin)
    assert status == 1
    assert out == ""
    assert err.startswith("quiclb: ")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["serve", "check", "encode", "decode", "route"])
def test_every_command_has_help(quiclb, command):
    status, out, _ = quiclb(command, "--help")
    assert status == 0
    assert "Usage" in out
