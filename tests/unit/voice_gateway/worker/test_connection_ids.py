from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.voicelink.quic.harness import seeded
from voice_gateway.endpoint.cids.issuers import ServerCidSource
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.settings.worker_sections import SessionSection
from voice_gateway.worker.connection_ids import ConnectionIds
from voice_gateway.worker.shared_keys import SharedKeys, StoreKeys

ZERO = {"id": 0, "server_id_length": 4, "nonce_length": 12, "key": "00" * 16}
ONE = {**ZERO, "id": 1, "key": "11" * 16}


def settings(
    *config: dict[str, Any], quic: dict[str, Any] | None = None, server_id: str = "00000001", **worker: Any
) -> GatewaySettings:
    section = {"server_id": server_id, "inner": "127.0.0.1:0", "trusted_proxies": ("127.0.0.1",), **worker}
    tls = {"certificate": "leaf.pem", "key": "leaf.key"}
    return GatewaySettings.model_validate(
        {"worker": section, "tls": tls, "config": list(config), "quic": {"config_id": 0, **(quic or {})}}
    )


def connection_ids(first: GatewaySettings) -> tuple[ConnectionIds, list[ServerCidSource]]:
    made = ConnectionIds(first, seeded(1))
    followed: list[ServerCidSource] = []
    made.follow(followed.append)
    return made, followed


def test_another_config_is_followed_and_the_same_again_is_not() -> None:
    made, followed = connection_ids(settings(ZERO))
    made.reload(settings(ZERO, ONE))
    assert followed == []
    made.reload(settings(ZERO, ONE, quic={"config_id": 1}))
    made.reload(settings(ONE, quic={"config_id": 1}))
    assert followed == [made.source]
    assert made.source.issue()[0] >> 5 == 1


def test_without_a_key_spare_connection_ids_are_given_only_where_the_settings_say_so() -> None:
    plaintext = {key: value for key, value in ZERO.items() if key != "key"}
    limits = [
        connection_ids(settings(plaintext, quic={"plaintext_clients_may_migrate": may}))[0].source.active_limit
        for may in (False, True)
    ]
    assert limits == [1, 4]


def test_a_rotation_taken_back_goes_on_with_the_nonces_where_they_were() -> None:
    made, _ = connection_ids(settings(ZERO, ONE))
    first = made.source
    made.reload(settings(ZERO, ONE, quic={"config_id": 1}))
    made.reload(settings(ZERO, ONE))
    assert made.source is first


def test_a_config_may_be_lost_and_found_again() -> None:
    made, followed = connection_ids(settings(ZERO))
    made.reload(settings(ZERO, quic={"routable_cids": False}))
    assert made.source.is_migration_disabled
    made.reload(settings(ZERO))
    assert [source.issue()[0] >> 5 for source in followed] == [7, 0]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (settings({**ZERO, "key": "22" * 16}), "config 0 and its server ID cannot change"),
        (settings(ZERO, server_id="00000002"), "config 0 and its server ID cannot change"),
        (settings({**ONE, "nonce_length": 8}, quic={"config_id": 1}), "have 17 bytes .* makes 13"),
    ],
    ids=["key", "server ID", "length"],
)
def test_what_calls_would_notice_is_refused(changed: GatewaySettings, fault: str) -> None:
    made, followed = connection_ids(settings(ZERO))
    before = made.source
    with pytest.raises(ConfigurationError, match=fault):
        made.reload(changed)
    assert (made.source, followed) == (before, [])


@pytest.mark.parametrize(
    ("worker", "quic", "is_disabled", "active_limit"),
    [
        ({}, {}, False, 4),
        ({}, {"routable_cids": False}, True, 1),
        ({}, {"routable_cids": False, "unroutable_clients_may_migrate": True}, False, 4),
        ({"listen": "127.0.0.1:4433", "preferred": "127.0.0.1:4433"}, {"routable_cids": False}, True, 4),
    ],
    ids=["routable", "unroutable", "unroutable, allowed", "unroutable, with a preferred address"],
)
def test_migration_is_forbidden_where_nobody_could_route_it(
    worker: dict[str, Any], quic: dict[str, Any], is_disabled: bool, active_limit: int
) -> None:
    source = ConnectionIds(settings(ZERO, quic=quic, **worker), seeded(1)).source
    assert (source.is_migration_disabled, source.active_limit) == (is_disabled, active_limit)


def test_without_a_load_balancer_nobody_needs_to_route() -> None:
    alone: dict[str, Any] = {"listen": "127.0.0.1:4433", "inner": None, "trusted_proxies": ()}
    source = ConnectionIds(settings(quic={"config_id": None}, **alone), seeded(1)).source
    assert (source.is_migration_disabled, source.active_limit) == (False, 4)


def test_shared_keys_are_read_again_from_their_files(tmp_path: Path) -> None:
    file = tmp_path / "ticket.key"
    file.write_text("aa" * 32)
    there = settings(ZERO, quic={"ticket_key_file": file})
    adopted: list[Any] = []
    keys = SharedKeys(adopted.append)
    assert list(keys.files(there)) == [file]
    file.write_text(f"{'bb' * 32}\n{'aa' * 32}\n")
    keys.reload(there)
    assert adopted[0].ticket == (b"\xbb" * 32, b"\xaa" * 32)
    file.write_text("bb")
    with pytest.raises(ConfigurationError, match=r"quic\.ticket_key: must be 16 to 64 bytes"):
        keys.reload(there)


def test_keys_of_the_session_store_are_read_again_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "store.key"
    file.write_text("aa" * 32)
    there = settings(ZERO).model_copy(update={"session": SessionSection(store_key_file=file)})
    adopted: list[Any] = []
    keys = StoreKeys(adopted.append)
    assert list(keys.files(there)) == [file]
    file.write_text(f"{'bb' * 32}\n{'aa' * 32}\n")
    keys.reload(there)
    assert adopted == [(b"\xbb" * 32, b"\xaa" * 32)]
