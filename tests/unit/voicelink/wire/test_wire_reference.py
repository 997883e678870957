"""The wire read and written by MessagePack's reference package: a client of another library meets the same bytes."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import msgspec
import pytest

from tests.unit.voicelink.wire.test_wire import CLIENT_MESSAGES, SERVER_MESSAGES
from tests.vectors import voice_wire
from voicelink import wire

VECTORS = json.loads(voice_wire.PATH.read_text())
MESSAGES = [*CLIENT_MESSAGES, *SERVER_MESSAGES, *voice_wire.CLIENT_MESSAGES, *voice_wire.SERVER_MESSAGES]
SHARED = [*VECTORS["client_messages"], *VECTORS["server_messages"]]


def whole(message: wire.ClientMessage | wire.ServerMessage) -> dict[str, Any]:
    """Every key of a message, those at their default too."""
    return {"type": message.__struct_config__.tag} | dict(
        zip(message.__struct_encode_fields__, msgspec.structs.astuple(message), strict=True)
    )


def defaults(message: wire.ClientMessage | wire.ServerMessage) -> dict[str, Any]:
    return {field.encode_name: field.default for field in msgspec.structs.fields(type(message)) if not field.required}


def decoded(body: bytes) -> object:
    """Read a message of either side; `bye` is both sides'."""
    message = wire.decode_client_message(body)
    return message if message is not None else wire.decode_server_message(body)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_the_reference_package_writes_the_bytes_that_we_write(message: wire.ClientMessage | wire.ServerMessage) -> None:
    left_out = defaults(message)
    fields = {key: value for key, value in whole(message).items() if key not in left_out or value != left_out[key]}
    assert msgpack.packb(fields) == wire.encode_message(message)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_the_reference_package_writes_with_every_key_is_the_message(
    message: wire.ClientMessage | wire.ServerMessage,
) -> None:
    assert decoded(msgpack.packb(whole(message))) == message


@pytest.mark.parametrize("vector", SHARED, ids=lambda vector: vector["bytes"][:48])
def test_the_reference_package_reads_and_writes_every_shared_message(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["bytes"])
    read = msgpack.unpackb(body)
    assert msgpack.packb(read) == body
    assert read.items() <= vector["message"].items()
    message = decoded(body)
    assert message is not None
    assert not isinstance(message, wire.Malformed)
    # a duration may be an integer: the value is the same, its bytes need not be
    assert msgpack.unpackb(wire.encode_message(message)) == read  # type: ignore[arg-type]  # of one of the sides


@pytest.mark.parametrize("data", VECTORS["skipped"])
def test_the_reference_package_reads_and_writes_what_is_skipped(data: str) -> None:
    assert msgpack.packb(msgpack.unpackb(bytes.fromhex(data))) == bytes.fromhex(data)
    assert wire.decode_server_message(bytes.fromhex(data)) is None


@pytest.mark.parametrize("data", VECTORS["malformed"])
def test_what_is_malformed_is_no_message_to_the_reference_package_either(data: str) -> None:
    """It is no MessagePack, or no map with a type, or its reading written again is as malformed."""
    try:
        read = msgpack.unpackb(bytes.fromhex(data))
    except (ValueError, msgpack.exceptions.UnpackException):
        return
    assert isinstance(wire.decode_server_message(msgpack.packb(read)), wire.Malformed)


class TestNumbers:
    """PROTOCOL section 4: which floats stand for integers."""

    @pytest.mark.parametrize(("sent", "read"), [(1240.0, 1240), (1240.4, 1240), (1239.6, 1240), (0.2, 0), (-0.0, 0)])
    def test_a_position_may_be_a_float_and_is_rounded(self, sent: float, read: int) -> None:
        body = msgpack.packb({"type": "played", "generation": 3, "position_ms": sent})
        assert wire.decode_client_message(body) == wire.Played(utterance_id=3, position_ms=read)
        body = msgpack.packb({"type": "resume", "session": "s", "token": "t", "position_ms": sent})
        assert wire.decode_client_message(body) == wire.Resume(session="s", token="t", position_ms=read)

    def test_an_integer_may_be_given_as_a_float_that_equals_it(self) -> None:
        body = msgpack.packb({"type": "start", "version": 1.0, "accept": [3.0, 1.0]})
        assert wire.decode_client_message(body) == wire.Start(accept=(3, 1))
        assert wire.decode_client_message(msgpack.packb({"type": "bye", "frames": 12.0})) == wire.Bye(frames=12)

    def test_a_duration_may_be_an_integer(self) -> None:
        body = msgpack.packb({"type": "measured", "turn": 1, "response_ms": 812})
        assert wire.decode_client_message(body) == wire.Measured(turn=1, response_ms=812.0)

    @pytest.mark.parametrize(
        "fields",
        [
            {"type": "bye", "frames": 12.5},
            {"type": "ping", "id": 0.1},
            {"type": "played", "generation": 1.5, "position_ms": 1},
            {"type": "played", "generation": 1, "position_ms": -1.2},
            {"type": "played", "generation": 1, "position_ms": float("nan")},
            {"type": "played", "generation": 1, "position_ms": float("inf")},
            {"type": "played", "generation": 1, "position_ms": 1e300},
            {"type": "played", "generation": 1, "position_ms": "1240"},
            {"type": "played", "generation": 1, "position_ms": True},
            {"type": "played", "generation": 1, "position_ms": [1.0]},
        ],
    )
    def test_what_is_no_integer_is_malformed(self, fields: dict[str, Any]) -> None:
        assert isinstance(wire.decode_client_message(msgpack.packb(fields)), wire.Malformed)

    def test_numbers_of_the_agent_s_state_are_kept(self) -> None:
        body = msgpack.packb({"type": "state", "revision": 2.0, "state": {"total": 5.0, "share": 0.5}})
        state = wire.decode_server_message(body)
        assert isinstance(state, wire.State)
        assert (state.revision, state.state) == (2, {"total": 5.0, "share": 0.5})
        assert isinstance(state.state["total"], float)
