"""The vectors that clients in other languages are tested with."""

import pytest

from tests.vectors import voice_wire
from voicelink import wire
from voicelink.wire import Malformed


def test_the_file_of_vectors_is_current() -> None:
    assert voice_wire.PATH.read_text() == voice_wire.text()


def test_every_message_has_a_vector() -> None:
    assert {type(each) for each in voice_wire.CLIENT_MESSAGES} == set(wire.ClientMessage.__args__)
    assert {type(each) for each in voice_wire.SERVER_MESSAGES} == set(wire.ServerMessage.__args__)


@pytest.mark.parametrize("data", voice_wire.MALFORMED, ids=bytes.hex)
def test_what_is_malformed_there_is_malformed_here(data: bytes) -> None:
    assert isinstance(wire.decode_server_message(data), Malformed)
