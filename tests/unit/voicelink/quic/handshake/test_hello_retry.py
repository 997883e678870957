"""HelloRetryRequest (RFC 8446 sections 4.1.2 to 4.1.4, 4.2.8, 4.4.1), asked of a client that is written here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic.packet import QuicErrorCode

from tests.unit.voicelink.quic.harness import (
    SERVER_ADDRESS,
    Pair,
    client_configuration,
    of,
    seeded,
    server_configuration,
)
from voice_gateway.endpoint.credentials import Credentials
from voice_gateway.endpoint.settings import SharedSecrets
from voicelink.quic import Connection, FirstInitial, PeerClosed, ResumptionCallbacks
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import HandshakeCompleted, ProtocolNegotiated, StreamDataReceived

MLKEM = 0x11EC
"""X25519MLKEM768, which aioquic does not know."""
# SHA-256 of "HelloRetryRequest", RFC 8446 section 4.1.3
RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()

Change = Callable[[tls.ClientHello], tls.ClientHello]


def same(hello: tls.ClientHello) -> tls.ClientHello:
    return hello


class RetriedClient(Connection):
    """Shows a key of an unknown group first, and answers a HelloRetryRequest."""

    groups = (MLKEM, tls.Group.X25519)
    change_second: Change = staticmethod(same)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        context: Any = self.tls
        self.asked: list[int] = []
        self._send_hello = context._client_send_hello
        self._handle_hello = context._client_handle_hello
        context._client_send_hello = self._send_first_hello
        context._client_handle_hello = self._answer

    def _send_first_hello(self, output: Buffer) -> None:
        scratch = Buffer(capacity=4096)
        self._send_hello(scratch)
        scratch.seek(0)
        first = tls.pull_client_hello(Buffer(data=scratch.data_slice(0, 4096)[: _length(scratch)]))
        shares = dict(first.key_share or [])
        self._share = (tls.Group.X25519, shares[tls.Group.X25519])
        self._hello = replace(first, supported_groups=list(self.groups), key_share=[(MLKEM, bytes(1184))])
        self._first = self._encode(self._hello, b"")
        output.push_bytes(self._first)

    def _answer(self, message: Buffer, output: Buffer) -> None:
        data = message.data_slice(0, message.capacity)
        if data[6:38] != RETRY_RANDOM:
            self._handle_hello(message, output)
            return
        message.seek(message.capacity)
        cipher_suite = int.from_bytes(data[39:41], "big")
        extensions = dict(_extensions(data[44:]))
        assert extensions[tls.ExtensionType.SUPPORTED_VERSIONS] == b"\x03\x04"
        self.asked.append(int.from_bytes(extensions[tls.ExtensionType.KEY_SHARE], "big"))
        schedule: Any = tls.KeySchedule(tls.CipherSuite(cipher_suite))
        schedule.extract(None)
        digest = hashlib.new(schedule.algorithm.name, self._first).digest()
        before = b"\xfe\0\0" + bytes((len(digest),)) + digest + data
        second = replace(self._hello, key_share=[self._share], early_data=False)
        encoded = self._encode(self.change_second(second), before)
        schedule.update_hash(before + encoded)
        context: Any = self.tls
        if context._key_schedule_psk is not None:
            context._key_schedule_psk = self._psk
        context._key_schedule_proxy = type("Proxy", (), {"select": lambda _, suite: schedule})()
        output.push_bytes(encoded)

    def _encode(self, hello: tls.ClientHello, before: bytes) -> bytes:
        """The message, with the binder of a PSK if there is one (RFC 8446 section 4.2.11.2)."""
        output = Buffer(capacity=4096)
        tls.push_client_hello(output, hello)
        if hello.pre_shared_key is None or self.tls.session_ticket is None:
            return output.data
        self._psk = tls.KeySchedule(self.tls.session_ticket.cipher_suite)
        self._psk.extract(self.tls.session_ticket.resumption_secret)
        key = self._psk.derive_secret(b"res binder")
        start = output.tell() - self._psk.algorithm.digest_size - 3
        self._psk.update_hash(before + output.data_slice(0, start))
        binder = self._psk.finished_verify_data(key)
        output.seek(start + 3)
        output.push_bytes(binder)
        self._psk.update_hash(output.data_slice(start, output.tell()))
        return output.data


def _length(hello: Buffer) -> int:
    return 4 + int.from_bytes(hello.data_slice(1, 4), "big")


def _extensions(block: bytes) -> list[tuple[int, bytes]]:
    found, rest = [], block
    while rest:
        kind, length = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
        found.append((kind, rest[4 : 4 + length]))
        rest = rest[4 + length :]
    return found


def dial(kind: type[Connection] = RetriedClient, secrets: Credentials | None = None, **configuration: Any) -> Pair:
    tickets: list[tls.SessionTicket] = []
    client = kind(
        configuration=client_configuration(**configuration),
        cids=RandomCids(8, seeded(1)),
        resumption=ResumptionCallbacks(ticket_received=tickets.append),
    )
    server = Connection(
        configuration=server_configuration(),
        cids=RandomCids(8, seeded(2)),
        first_initial=FirstInitial(client.original_destination_connection_id),
        resumption=ResumptionCallbacks(open_session=secrets.open_session, seal_session=secrets.seal_session)
        if secrets
        else None,
    )
    client.connect(SERVER_ADDRESS, 10.0)
    pair = Pair(client, server)
    pair.exchange()
    pair.client_tickets = tickets  # type: ignore[attr-defined]
    return pair


def closed(pair: Pair) -> tuple[int, str] | None:
    events = of(PeerClosed, pair.client_events)
    return (events[0].error_code, events[0].reason) if events else None


def changed(change: Change) -> type[Connection]:
    return type("Changed", (RetriedClient,), {"change_second": staticmethod(change)})


def test_a_client_whose_first_key_share_is_unknown_is_asked_for_another_and_gets_in() -> None:
    pair = dial()
    assert isinstance(pair.client, RetriedClient)
    assert pair.client.asked == [tls.Group.X25519]
    assert of(HandshakeCompleted, pair.server_events)
    assert len(of(ProtocolNegotiated, pair.server_events)) == 1
    pair.client.send_stream_data(0, b"here I am")
    pair.exchange()
    assert of(StreamDataReceived, pair.server_events)[-1].data == b"here I am"


@pytest.mark.parametrize("suite", list(tls.CipherSuite)[:3])
def test_the_transcript_of_a_retried_handshake_is_right_for_every_hash(suite: tls.CipherSuite) -> None:
    pair = dial(cipher_suites=[suite])
    assert of(HandshakeCompleted, pair.client_events)
    assert pair.server.tls.key_schedule is not None
    assert pair.server.tls.key_schedule.cipher_suite == suite


def test_the_server_asks_for_its_own_first_choice() -> None:
    kind = type("Three", (RetriedClient,), {"groups": (MLKEM, tls.Group.X25519, tls.Group.SECP256R1)})
    pair = dial(kind)
    assert pair.client.asked == [tls.Group.SECP256R1]  # type: ignore[attr-defined]
    # and the client's share of X25519 is then wrong
    assert closed(pair) == (
        QuicErrorCode.CRYPTO_ERROR + tls.AlertDescription.illegal_parameter,
        "The second ClientHello needs one key share, of group 0x17",
    )


def test_a_session_is_resumed_over_a_hello_retry_and_its_early_data_refused() -> None:
    secrets = Credentials(SharedSecrets(retry=(b"r" * 32,), ticket=(b"t" * 32,)), b"context1", time.time, seeded(1))
    ticket = dial(secrets=secrets).client_tickets[0]  # type: ignore[attr-defined]
    pair = dial(secrets=secrets, session_ticket=ticket)
    completed = of(HandshakeCompleted, pair.server_events)[0]
    assert (completed.session_resumed, completed.early_data_accepted) == (True, False)
    assert of(HandshakeCompleted, pair.client_events)[0].session_resumed


def test_no_group_in_common_is_a_handshake_failure() -> None:
    pair = dial(type("Foreign", (RetriedClient,), {"groups": (MLKEM,)}))
    assert closed(pair) == (
        QuicErrorCode.CRYPTO_ERROR + tls.AlertDescription.handshake_failure,
        "No supported key share",
    )


def test_a_second_hello_may_bring_a_cookie_and_padding() -> None:
    def add(hello: tls.ClientHello) -> tls.ClientHello:
        return replace(hello, other_extensions=[*hello.other_extensions, (21, bytes(100))])

    assert of(HandshakeCompleted, dial(changed(add)).server_events)


@pytest.mark.parametrize(
    "change",
    [
        lambda hello: replace(hello, random=bytes(32)),
        lambda hello: replace(hello, cipher_suites=hello.cipher_suites[:1]),
        lambda hello: replace(hello, alpn_protocols=["h3", "h4"]),
        lambda hello: replace(hello, supported_groups=[tls.Group.X25519]),
        lambda hello: replace(hello, server_name="elsewhere"),
        lambda hello: replace(hello, signature_algorithms=hello.signature_algorithms[:3]),
        lambda hello: replace(hello, other_extensions=[(0x39, hello.other_extensions[0][1] + b"\x3f\0")]),
        lambda hello: replace(hello, early_data=True),
        lambda hello: replace(hello, key_share=[*hello.key_share, (MLKEM, bytes(10))]),
        lambda hello: replace(hello, key_share=[(MLKEM, bytes(10))]),
        lambda hello: replace(hello, key_share=[]),
    ],
    ids=[
        "random",
        "cipher suites",
        "ALPN",
        "groups",
        "server name",
        "signatures",
        "transport parameters",
        "early data",
        "two key shares",
        "the first key share again",
        "no key share",
    ],
)
def test_a_second_hello_that_the_first_does_not_allow_is_an_illegal_parameter(change: Change) -> None:
    pair = dial(changed(change))
    code = closed(pair)
    assert code is not None
    assert code[0] == QuicErrorCode.CRYPTO_ERROR + tls.AlertDescription.illegal_parameter
    assert not of(ProtocolNegotiated, pair.server_events)


def test_a_hello_that_can_be_answered_is_not_retried() -> None:
    pair = dial(Connection)
    assert of(HandshakeCompleted, pair.server_events)
    assert len(pair.server._crypto_streams[tls.Epoch.INITIAL].sender._buffer) == 0
