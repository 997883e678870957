"""The program that steers datagrams to workers, run by the kernel on loopback."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from quiclb import CidEncoder, QuicLbConfig
from tests.unit.voicelink.quic.harness import seeded
from voice_gateway.errors import BindError, ConfigurationError
from voice_gateway.settings.worker_sections import MOST_WORKERS
from voice_gateway.supervisor.plan import server_id
from voice_gateway.supervisor.steering.group import SteeredSockets
from voice_gateway.supervisor.steering.program import Route, Steering, steering_layout, steering_program

SLOTS = 4
LAYOUT = steering_layout()
ALL = Steering(tuple(Route(server_id(slot), slot) for slot in range(SLOTS)), (0, 1, 3))
RNG = seeded(7)


@pytest.fixture(params=["127.0.0.1", "::1", "0.0.0.0"])
def group(request: pytest.FixtureRequest) -> Iterator[SteeredSockets]:
    group = SteeredSockets.bind("worker.listen", (request.param, 0), SLOTS, LAYOUT)
    group.steer(ALL)
    yield group
    group.close()


@pytest.fixture
def sender(group: SteeredSockets) -> Iterator[socket.socket]:
    host, port = group.address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1" if host == "0.0.0.0" else host, port))
        yield sock


def cid(slot: int) -> bytes:
    return CidEncoder(LAYOUT, server_id(slot), rng=RNG).encode()


def short(dcid: bytes) -> bytes:
    return b"\x40" + dcid + RNG(30)


def long(dcid: bytes) -> bytes:
    return b"\xc0\x00\x00\x00\x01" + bytes((len(dcid),)) + dcid + b"\x00" + RNG(1_180)


def received(group: SteeredSockets) -> list[int]:
    """The indexes of the sockets that datagrams have come to since the last time."""
    found = []
    for index, sock in enumerate(group.sockets):
        while True:
            try:
                sock.recv(2_048)
            except BlockingIOError:
                break
            found.append(index)
    return found


@pytest.mark.parametrize("packet", [short, long])
def test_the_server_id_names_the_socket(group, sender, packet):
    for slot in range(SLOTS):
        sender.send(packet(cid(slot)))
        assert received(group) == [slot]


def test_a_changed_address_changes_nothing(group, sender):
    for _ in range(8):
        with socket.socket(sender.family, socket.SOCK_DGRAM) as other:
            other.connect(sender.getpeername())
            other.send(short(cid(2)))
        assert received(group) == [2]


def test_new_clients_go_to_the_accepting_sockets_alone(group, sender):
    counts = Counter[int]()
    for _ in range(300):
        sender.send(long(RNG(8)))
        counts.update(received(group))
    assert counts.keys() == {0, 1, 3}
    assert min(counts.values()) > 60


def test_all_packets_of_a_first_flight_meet_from_any_address(group, sender):
    for length in (8, 17, 20):
        dcid = RNG(length)
        sender.send(long(dcid))
        with socket.socket(sender.family, socket.SOCK_DGRAM) as other:
            other.connect(sender.getpeername())
            other.send(long(dcid))
        first, second = received(group)
        assert first == second


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x40",
        b"\xc0\x00\x00\x00\x01\xff",
        b"\xc0" + bytes(10),
        short(bytes(16)),
        short(b"\xff" * 17),
        long(b""),
        long(cid(2)[:16]),
        long(b"\xf0" + cid(2)[1:]),
        short(b"\x30" + cid(2)[1:]),
    ],
)
def test_what_names_no_server_goes_to_an_accepting_socket(group, sender, datagram):
    sender.send(datagram)
    [index] = received(group)
    assert index in ALL.accepting


def test_steering_anew_takes_effect_at_once(group, sender):
    moved = tuple(Route(server_id(slot), 0 if slot == 2 else slot) for slot in range(SLOTS))
    group.steer(Steering(moved, (0,)))
    for packet in (short(cid(2)), long(cid(2)), long(RNG(8))):
        sender.send(packet)
        assert received(group) == [0]


def test_discard_empties_one_queue(group, sender):
    for _ in range(3):
        sender.send(short(cid(2)))
    sender.send(short(cid(1)))
    assert group.discard(2) == 3
    assert received(group) == [1]


def test_a_closed_socket_moves_another_into_its_place(group, sender):
    """Why the supervisor keeps all of them open."""
    group.sockets[1].close()
    sender.send(short(cid(1)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        received(group)
    assert group.sockets[3].recv(2_048)


def test_an_address_in_use_is_refused_even_where_it_could_be_shared():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(BindError, match=r"worker\.listen: UDP 127.0.0.1:\d+ cannot be opened: .* in use"):
            SteeredSockets.bind("worker.listen", taken.getsockname(), 2, LAYOUT)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (QuicLbConfig(0, 4, 12, bytes(16)), "must have no key"),
        (QuicLbConfig(0, 2, 12), "must have 4 bytes"),
        (QuicLbConfig(0, 4, 12, None, False), "the first byte the length"),
    ],
)
def test_a_layout_that_the_kernel_cannot_read_is_refused(layout, message):
    with pytest.raises(ConfigurationError, match=message):
        steering_program(layout, ALL)


def test_as_many_workers_as_there_may_be_fit_into_a_program():
    routes = tuple(Route(server_id(slot), slot) for slot in range(MOST_WORKERS + 1))
    program = steering_program(LAYOUT, Steering(routes, tuple(range(MOST_WORKERS + 1))))
    assert len(program) < 4_096  # BPF_MAXINSNS
    assert all(0 <= each.jump_true <= 255 and 0 <= each.jump_false <= 255 for each in program)
