"""What `voice-gateway up` makes of a settings file, or of none."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_gateway.errors import ConfigurationError
from voice_gateway.supervisor.machine import Machine
from voice_gateway.supervisor.plan import BoxPlan, default_state, make_plan, server_id, worker_name

MACHINE = Machine((0, 1), 64 << 30)


def plan(folder: Path, text: str | None = None, **options: object) -> BoxPlan:
    config = None
    if text is not None:
        config = folder / "up.toml"
        config.write_text(text)
    flags = {"agent.name": "echo", "worker.listen": None} | options.pop("flags", {})  # type: ignore[operator]
    return make_plan(config, {}, flags, MACHINE, state=folder / "state", **options)  # type: ignore[arg-type]


def fault(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        plan(folder, text).load({})
    return str(refusal.value).splitlines()


def test_without_a_file_it_serves_this_machine_alone(tmp_path):
    settings = plan(tmp_path).load({})
    assert settings.worker.listen == ("127.0.0.1", 4433)
    assert settings.page is not None
    assert (settings.page.listen, settings.page.development, settings.page.tls) == (("127.0.0.1", 8080), True, False)
    assert settings.admin is not None
    assert settings.tls.certificate == tmp_path / "state" / "certificate" / "leaf.pem"
    assert settings.session.store == f"sqlite:///{tmp_path}/state/sessions.db"
    assert settings.session.max_sessions == 500
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "secret").stat().st_mode & 0o777 == 0o600


def test_the_development_certificate_is_renewed_and_one_of_the_operator_s_is_not(tmp_path):
    made = plan(tmp_path)
    settings = made.load({})
    settings.tls.certificate.unlink()
    made.renew_certificate(settings)
    assert settings.tls.certificate.exists()
    files = {"certificate": tmp_path / "own.pem", "key": tmp_path / "own.key"}
    made.renew_certificate(settings.model_copy(update={"tls": settings.tls.model_copy(update=files)}))
    assert not (tmp_path / "own.pem").exists()


def test_a_file_says_which_listeners_there_are(tmp_path):
    settings = plan(tmp_path, '[worker]\nlisten = "127.0.0.1:5000"\n[session]\nmax_sessions = 7\n').load({})
    assert settings.worker.listen == ("127.0.0.1", 5000)
    assert settings.page is None
    assert settings.admin is None
    assert settings.session.max_sessions == 7


def test_workers_differ_in_name_and_server_id_alone(tmp_path):
    first, second = (plan(tmp_path).load_worker({}, slot) for slot in (0, 1))
    assert (first.worker.name, second.worker.name) == ("worker-1", "worker-2")
    assert (first.worker.server_id, second.worker.server_id) == (server_id(0), server_id(1))
    changes = {"name": "", "server_id": None}
    assert first.worker.model_copy(update=changes) == second.worker.model_copy(update=changes)
    assert first.model_copy(update={"worker": None}) == second.model_copy(update={"worker": None})


def test_keys_are_shared_and_the_same_after_a_restart(tmp_path):
    first, second = plan(tmp_path).load({}), plan(tmp_path).load({})
    keys = {first.quic.read_reset_key(), *first.quic.read_secrets().retry, *first.quic.read_secrets().ticket}
    assert len(keys) == 3
    assert first.quic == second.quic


def test_a_key_of_the_operator_s_is_left_as_it_is(tmp_path):
    (tmp_path / "reset.key").write_text("ab" * 32)
    settings = plan(tmp_path, '[quic]\nreset_key_file = "reset.key"\n').load({})
    assert settings.quic.read_reset_key() == bytes.fromhex("ab" * 32)


def test_clients_may_migrate_and_connection_ids_are_in_clear(tmp_path):
    settings = plan(tmp_path).load({})
    assert settings.quic.plaintext_clients_may_migrate
    assert settings.issuing_config().key is None


def test_number_of_workers_by_machine_settings_and_flag(tmp_path):
    assert plan(tmp_path).workers == 2
    assert plan(tmp_path, "[up]\nworkers = 3\n").workers == 3
    assert plan(tmp_path, "[up]\nworkers = 3\n", workers=4).workers == 4
    with pytest.raises(ConfigurationError, match=r"up\.workers: "):
        plan(tmp_path, "[up]\nworkers = 100\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[worker]\nserver_id = "01"\n', "worker.server_id: leave it out with `up`"),
        ('[worker]\ninner = "127.0.0.1:1"\n', "worker.inner: leave it out with `up`"),
        ("[quic]\nroutable_cids = true\n", "quic.routable_cids: leave it out"),
        ('[session]\nstore = "memory://"\n', "session.store: memory:// is lost with its worker"),
        (
            '[[config]]\nid = 0\nserver_id_length = 4\nnonce_length = 12\nkey_file = "k"\n',
            "the kernel steers by connection IDs in clear, and cannot decrypt others; run quiclb",
        ),
    ],
)
def test_what_is_not_for_one_machine_is_refused_with_the_reason(tmp_path, text, message):
    [said] = fault(tmp_path, text)
    assert message in said


def test_all_of_that_is_said_at_once(tmp_path):
    said = fault(tmp_path, '[worker]\nserver_id = "01"\npreferred = "192.0.2.1:1"\n[session]\nstore = "memory://"\n')
    assert len(said) == 3


def test_a_damaged_secret_is_named(tmp_path):
    plan(tmp_path).load({})
    (tmp_path / "state" / "secret").write_text("no")
    with pytest.raises(ConfigurationError, match=r"up\.state: .*secret: must be 32 bytes in hexadecimal"):
        plan(tmp_path).load({})


def test_the_state_is_where_the_service_manager_or_the_home_says():
    environ = {"HOME": "/home/me", "XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/voice:/var/lib/b"}
    assert default_state(environ) == Path("/var/lib/voice")
    del environ["STATE_DIRECTORY"]
    assert default_state(environ) == Path("/x/voice-gateway")
    assert default_state({"HOME": "/home/me"}) == Path("/home/me/.local/state/voice-gateway")
    with pytest.raises(ConfigurationError, match=r"up\.state: is required"):
        default_state({})


def test_the_ports_behind_that_of_the_supervisor_must_exist(tmp_path):
    assert plan(tmp_path, flags={"admin.listen": "127.0.0.1:65532"}).load({}).admin is not None
    with pytest.raises(ConfigurationError, match=r"admin\.listen: .* give a port up to 65532, got 65533"):
        plan(tmp_path, flags={"admin.listen": "127.0.0.1:65533"}).load({})


def test_a_password_in_a_flag_is_not_shown(tmp_path):
    given = plan(tmp_path, flags={"session.store": "redis://:sesame@localhost:6379/0"})
    assert "sesame" in given.load({}).session.store
    assert "sesame" not in repr(given)


def test_names_of_workers_fit_the_limit():
    assert worker_name("w" * 64, 11) == "w" * 61 + "-12"


@pytest.mark.parametrize("listen", ["5", '"localhost"', '"127.0.0.1"', '"127.0.0.1:x"'])
def test_an_address_that_is_none_is_named_by_its_key(tmp_path, listen):
    [said] = fault(tmp_path, f"[worker]\nlisten = {listen}\n")
    assert "worker.listen: " in said
