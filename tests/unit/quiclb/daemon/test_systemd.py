from __future__ import annotations

import os
import socket

import pytest

from quiclb import StartError
from quiclb.daemon.systemd import FIRST_FD, inherited_sockets, notify
from quiclb.datapath.base import Side
from quiclb.datapath.linux.sockets import open_socket
from quiclb.net.address import normalise

ANY = ("127.0.0.1", 0)


def test_without_socket_activation_there_is_nothing_to_take_over():
    assert inherited_sockets({}, ANY, ANY, 2) == []
    assert inherited_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "vip:inner"}, ANY, ANY, 1) == []


@pytest.mark.parametrize("number", ["", "0", None])
def test_socket_activation_without_sockets_is_none_as_in_sd_listen_fds(number):
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "vip:inner"}
    assert inherited_sockets(environ | ({} if number is None else {"LISTEN_FDS": number}), ANY, ANY, 1) == []


@pytest.mark.parametrize("number", ["x", "-1", "3", "1", "2 ", "9" * 5000])
def test_a_number_of_sockets_that_is_not_that_of_their_names_is_a_start_error(number):
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": number, "LISTEN_FDNAMES": "vip:inner"}
    with pytest.raises(StartError, match="LISTEN_FDS must be the number of names in LISTEN_FDNAMES, 2 here"):
        inherited_sockets(environ, ANY, ANY, 1)


@pytest.fixture
def activated(monkeypatch):
    """Pass sockets as systemd does; they are copies at the numbers that `FIRST_FD` is made to start at."""
    passed: list[socket.socket] = []

    def activate(*named: tuple[str, socket.socket]) -> dict[str, str]:
        passed.extend(sock for _, sock in named)
        first = os.dup2(passed[0].fileno(), 500)
        for offset, (_, sock) in enumerate(named):
            os.dup2(sock.fileno(), first + offset)
        monkeypatch.setattr("quiclb.daemon.systemd.FIRST_FD", first)
        names = ":".join(name for name, _ in named)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": names}

    yield activate
    for sock in passed:
        sock.close()
    for fd in range(500, 508):
        try:
            os.close(fd)
        except OSError:
            break


def pairs(count: int) -> list[tuple[str, socket.socket]]:
    named = []
    for side in Side:
        address = ANY
        for _ in range(count):
            sock = open_socket(address, side, is_shared=True)
            address = normalise(sock.getsockname())
            named.append((side.value, sock))
    return named


def test_systemd_numbers_them_from_3():
    assert FIRST_FD == 3


@pytest.mark.parametrize("count", [1, 2])
def test_sockets_are_taken_over_in_pairs(activated, count):
    named = pairs(count)
    taken = inherited_sockets(activated(*named), ANY, ANY, count)
    assert [pair.vip.getsockname() for pair in taken] == [sock.getsockname() for _, sock in named[:count]]
    assert [pair.inner.getsockname() for pair in taken] == [sock.getsockname() for _, sock in named[count:]]
    for pair in taken:
        assert not pair.vip.getblocking()
        pair.vip.detach()
        pair.inner.detach()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("names", "listen", "count", "message"),
    [
        (("vip", "metrics"), ANY, 1, "name must be vip or inner"),
        (("vip", "vip"), ANY, 1, "passes 2 vip sockets, processes = 1 needs 1"),
        (("vip", "inner"), ANY, 2, "passes 1 vip sockets, processes = 2 needs 2"),
        (("vip", "inner"), ("192.0.2.1", 443), 1, r"passes 127\.0\.0\.1:\d+ as vip, the settings say 192\.0\.2\.1:443"),
    ],
)
def test_sockets_that_do_not_fit_are_a_start_error(activated, names, listen, count, message):
    named = [(name, open_socket(ANY, Side.VIP)) for name in names]
    with pytest.raises(StartError, match=message):
        inherited_sockets(activated(*named), listen, ANY, count)


@pytest.mark.parametrize("is_abstract", [True, False])
def test_the_service_manager_hears_that_all_is_ready(tmp_path, is_abstract):
    address = f"\0quiclb-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        notify({"NOTIFY_SOCKET": address.replace("\0", "@")}, "READY=1")
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_no_notification_is_sent():
    notify({}, "READY=1")
