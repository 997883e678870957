from __future__ import annotations

import json
import shutil
import socket
import tempfile
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voice_gateway.cli import main as cli
from voicelink.audio.wav import wav_header

SETTINGS = """
[worker]
server_id = "00000001"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key_file = "quic-lb.key"
[agent]
name = "echo"
[access]
token_file = "token"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    assert CliRunner().invoke(cli.app, ["certificate", "--out", str(tmp_path)]).exit_code == 0
    (tmp_path / "quic-lb.key").write_text("8f95f09245765f80256934e50c66207f")
    (tmp_path / "token").write_text("sesame")
    (tmp_path / "worker.toml").write_text(SETTINGS)
    return tmp_path / "worker.toml"


def sentence(capsys, monkeypatch, *arguments: str) -> str:
    """Run a command that must fail, and return the one line it says."""
    [said] = sentences(capsys, monkeypatch, *arguments)
    return said


def sentences(capsys, monkeypatch, *arguments: str) -> list[str]:
    """Run a command that must fail, and return the lines it says."""
    monkeypatch.setattr("sys.argv", ["voice-gateway", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("voice-gateway: ")
    return captured.err.splitlines()


@pytest.mark.parametrize(
    "command", [(), ("serve",), ("check",), ("certificate",), ("sessions",), ("top",), ("qlog",), ("simulate-twilio",)]
)
def test_help_shows_every_command_and_its_options(command):
    result = CliRunner().invoke(cli.app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


class TestCheck:
    def test_shows_what_the_settings_mean_and_no_secret(self, config):
        result = CliRunner().invoke(cli.app, ["check", "--json", "--config", str(config)])
        facts = json.loads(result.output)
        assert (facts["server_id"], facts["connection_ids"], facts["cid_length"]) == ("00000001", "single-pass", 17)
        assert facts["access"] == "by token"
        assert facts["forwarders"] == facts["trusted_proxies"], "the deprecated key of the same"
        assert "sesame" not in result.output
        assert "8f95f092" not in result.output

    def test_is_readable_without_json(self, config):
        result = CliRunner().invoke(cli.app, ["check", "--config", str(config)])
        assert "worker.toml: good" in result.output.replace("\n", "")
        facts = json.loads(CliRunner().invoke(cli.app, ["check", "--json", "--config", str(config)]).output)
        assert f" {facts['certificate_sha256']}\n" in result.output, "to be copied, on a terminal of 80 columns, too"

    @pytest.mark.parametrize(
        ("was", "becomes", "message"),
        [
            ("leaf.pem", "none.pem", "none.pem cannot be read"),
            ("leaf.key", "leaf.pem", "private key cannot be read"),
            ('"echo"', '"parrot"', "no agent 'parrot'"),
            ('"echo"', '"shop.agent:Shop"', "'shop.agent:Shop' is in the module shop.agent, which is not installed"),
            ('"echo"', '"order"\nsettings.menu = "none.toml"', "agent.settings.menu: "),
            ('"echo"', '"order"\nmenu = "none.toml"', "agent.settings.menu: "),
            ('"echo"', '"order"\nmenu = "a.toml"\nsettings.menu = "b.toml"', "agent.menu is the former name"),
            ('"echo"', '"order"\nsettings.meno = "a.toml"', "agent.settings.meno: the agent 'order' has no such"),
            ('"echo"', '"echo"\nmenu = "worker.toml"', "agent.settings.menu: the agent 'echo' has no such setting"),
            ('"echo"', '"echo"\nsettings = 3', "agent.settings: "),
            ('"echo"', '"echo"\nnam = 3', "agent.nam: unknown key"),
            ("[access]", '[session]\nstore = "mongo://x"\n[access]', "memory://"),
            ("token_file =", "tokn_file =", "access.tokn_file: unknown key"),
            ("00000001", "01", "server_id is 1 bytes"),
        ],
    )
    def test_says_what_is_wrong_in_one_line(self, config, capsys, monkeypatch, was, becomes, message):
        config.write_text(SETTINGS.replace(was, becomes, 1))
        assert message in sentence(capsys, monkeypatch, "check", "--config", str(config))

    def test_refuses_secrets_that_all_users_can_read_unless_told_to_insist(self, config, capsys, monkeypatch):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            for file in config.parent.iterdir():
                shutil.copy(file, folder)
                Path(folder, file.name).chmod(0o640)
            copy = Path(folder, "worker.toml")
            copy.chmod(0o644)
            arguments = ["check", "--json", "--config", str(copy)]
            assert json.loads(CliRunner().invoke(cli.app, arguments).output)["warnings"] == []
            copy.with_name("leaf.key").chmod(0o604)
            said = sentence(capsys, monkeypatch, *arguments)
            assert (
                f"leaf.key has mode 0604: every user of this machine can read or write it; chmod 600 {folder}" in said
            )
            assert "--insecure-development" in said
            result = CliRunner().invoke(cli.app, [*arguments, "--insecure-development"])
            assert result.exit_code == 0
            assert "leaf.key has mode 0604" in json.loads(result.output)["warnings"][0]

    def test_says_all_that_is_wrong_at_once(self, config, capsys, monkeypatch):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            text = SETTINGS.replace("leaf.key", "none.key").replace('"echo"', '"parrot"')
            text = text.replace('token_file = "token"', 'token = "sesame"')
            store = '[session]\nstore = "sqlite:////dev/null/x.db"'
            admin = f'[admin]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"'
            config.write_text("\n".join((text, store, admin)))
            said = sentences(capsys, monkeypatch, "check", "--config", str(config))
            assert len(said) == 5
            expected = ("access.token: a secret", "none.key", "no agent 'parrot'", "session store", "admin.listen: ")
            for each, part in zip(said, expected, strict=True):
                assert part in each
            without_ports = sentences(capsys, monkeypatch, "check", "--no-ports", "--config", str(config))
            assert without_ports == said[:4]

    def test_refuses_a_menu_that_serve_would_refuse(self, config, capsys, monkeypatch):
        menu = resources.files("voice_gateway.agents.order").joinpath("menu.toml").read_text("utf-8")
        config.with_name("menu.toml").write_text(menu.replace('"taro tea"', '"taro xyzzyk"'))
        config.write_text(SETTINGS.replace('name = "echo"', 'name = "order"\n[agent.settings]\nmenu = "menu.toml"'))
        message = sentence(capsys, monkeypatch, "check", "--config", str(config))
        assert "pronunciations.xyzzyk is missing" in message


class TestCertificate:
    def test_json_names_the_files_and_the_fingerprint(self, tmp_path):
        arguments = ["certificate", "--json", "--out", str(tmp_path), "--host", "voice.example"]
        made = json.loads(CliRunner().invoke(cli.app, arguments).output)
        assert made["is_new"]
        assert "voice.example" in made["hosts"]
        assert made["sha256"] in (tmp_path / "fingerprint.txt").read_text()
        again = json.loads(CliRunner().invoke(cli.app, arguments).output)
        assert not again["is_new"]
        assert json.loads(CliRunner().invoke(cli.app, [*arguments, "--force"]).output)["is_new"]

    def test_a_folder_that_cannot_be_made_is_one_sentence(self, tmp_path, capsys, monkeypatch):
        (tmp_path / "file").write_text("")
        assert "file" in sentence(capsys, monkeypatch, "certificate", "--out", str(tmp_path / "file" / "x"))


class TestSessions:
    @pytest.mark.parametrize("admin", ["http://127.0.0.1:1", "127.0.0.1:1"])
    def test_no_worker_is_one_sentence(self, capsys, monkeypatch, admin):
        said = sentence(capsys, monkeypatch, "sessions", "--admin", admin)
        assert "no worker answers at http://127.0.0.1:1/workers: connection refused" in said

    def test_another_scheme_is_refused(self, capsys, monkeypatch):
        assert "http://" in sentence(capsys, monkeypatch, "sessions", "--admin", "file:///etc/passwd")


def test_serve_checks_the_log_level(config, capsys, monkeypatch):
    said = sentence(capsys, monkeypatch, "serve", "--config", str(config), "--log-level", "loud")
    assert "--log-level" in said


@pytest.mark.parametrize("url", ["http://a..b/twiml", "https://w:0/twiml"])
def test_simulate_twilio_names_a_url_that_leads_nowhere(capsys, monkeypatch, tmp_path, url):
    (tmp_path / "a.wav").write_bytes(wav_header(8_000, 160) + bytes(160))
    assert repr(url) in sentence(capsys, monkeypatch, "simulate-twilio", str(tmp_path / "a.wav"), url)


@pytest.mark.parametrize("admin", ["http://a..b:9090", "127.0.0.1:0", "http://127.0.0.1:x"])
def test_sessions_names_an_admin_address_that_leads_nowhere(capsys, monkeypatch, admin):
    assert "--admin: " in sentence(capsys, monkeypatch, "sessions", "--admin", admin)
