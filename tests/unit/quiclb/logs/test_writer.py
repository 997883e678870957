from __future__ import annotations

import errno
import json
import os
import threading

import pytest

from quiclb.logs.writer import LogWriter, StandardError, json_loss

TIMEOUT_S = 10.0


class Descriptor:
    """A file descriptor that takes bytes, fails or blocks, as the test wants."""

    def __init__(self) -> None:
        self.taken = b""
        self.fault: int | None = None
        self.most: int | None = None
        self.tried = threading.Semaphore(0)
        self.is_open = threading.Event()
        self.is_open.set()

    def write(self, fd: int, data: memoryview) -> int:
        self.tried.release()
        self.is_open.wait(TIMEOUT_S)
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))
        taken = bytes(data[: self.most])
        self.taken += taken
        return len(taken)

    @property
    def lines(self) -> list[str]:
        return self.taken.decode().splitlines()


@pytest.fixture
def descriptor():
    made = Descriptor()
    yield made
    made.fault = None
    made.is_open.set()


def writer(descriptor: Descriptor, max_pending_bytes: int = 1000, **options) -> LogWriter:
    return LogWriter(
        -1, json_loss, write=descriptor.write, retry_s=0.001, max_pending_bytes=max_pending_bytes, **options
    )


def failed(descriptor: Descriptor, times: int = 2) -> None:
    for _ in range(times):
        assert descriptor.tried.acquire(timeout=TIMEOUT_S)


def test_lines_arrive_whole_and_in_order(descriptor):
    log = writer(descriptor)
    for number in range(20):
        log.write(f"line {number}\n")
    assert log.flush(TIMEOUT_S)
    assert descriptor.lines == [f"line {number}" for number in range(20)]


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF])
def test_a_descriptor_that_fails_is_tried_again_and_loses_nothing_that_fits(descriptor, fault):
    descriptor.fault = fault
    log = writer(descriptor)
    log.write("first\n")
    failed(descriptor)
    log.write("second\n")
    assert not log.flush(TIMEOUT_S)
    descriptor.fault = None
    failed(descriptor, 1)
    assert wait_written(log)
    assert descriptor.lines == ["first", "second"]
    assert log.lost == 0


def test_what_does_not_fit_is_counted_and_logged_where_it_is_missing(descriptor):
    descriptor.fault = errno.ENOSPC
    log = writer(descriptor, max_pending_bytes=100)
    for number in range(30):
        log.write(f"line {number:4}\n")
    assert log.lost == 20
    descriptor.fault = None
    assert wait_written(log)
    log.write("later\n")
    assert wait_written(log)
    loss = json.loads(descriptor.lines[10])
    assert (loss["event"], loss["count"], loss["level"]) == ("log_lines_lost", 20, "warning")
    assert descriptor.lines[:10] == [f"line {number:4}" for number in range(10)]
    assert descriptor.lines[11:] == ["later"]


def test_a_loss_is_logged_even_if_nothing_else_is(descriptor):
    descriptor.fault = errno.EPIPE
    log = writer(descriptor, max_pending_bytes=10)
    log.write("123456789\n")
    log.write("lost\n")
    descriptor.fault = None
    for _ in range(1000):
        if len(descriptor.lines) == 2:
            break
        descriptor.tried.acquire(timeout=0.01)
    assert json.loads(descriptor.lines[1])["count"] == 1


def test_a_descriptor_that_blocks_does_not_block_the_caller(descriptor):
    descriptor.is_open.clear()
    log = writer(descriptor, max_pending_bytes=100)
    for number in range(1000):
        log.write(f"line {number:4}\n")
    assert log.lost == 990
    assert not log.flush(0.01)
    descriptor.is_open.set()
    assert wait_written(log)


def test_partial_writes_are_completed(descriptor):
    descriptor.most = 3
    log = writer(descriptor)
    log.write("a line of some length\n")
    assert log.flush(TIMEOUT_S)
    assert descriptor.lines == ["a line of some length"]


def test_a_descriptor_that_does_not_block_is_waited_for():
    reader, fd = os.pipe()
    try:
        os.set_blocking(fd, False)
        filled = 0
        while True:
            try:
                filled += os.write(fd, bytes(4096))
            except BlockingIOError:
                break
        log = LogWriter(fd, json_loss, retry_s=TIMEOUT_S)
        log.write("after the rest\n")
        while filled:
            filled -= len(os.read(reader, filled))
        assert os.read(reader, 100) == b"after the rest\n"
    finally:
        os.close(reader)
        os.close(fd)


def test_what_an_encoding_lacks_is_escaped(descriptor):
    log = writer(descriptor, encoding="ascii")
    log.write("bücher \udc80\n")
    assert log.flush(TIMEOUT_S)
    assert descriptor.taken == b"b\\xfccher \\udc80\n"


def test_tracebacks_go_the_same_way(descriptor):
    log = writer(descriptor)
    print("Traceback", file=StandardError(log, 2, is_terminal=False))
    assert log.flush(TIMEOUT_S)
    assert descriptor.lines == ["Traceback"]


def wait_written(log: LogWriter) -> bool:
    """`flush` returns early while the descriptor fails: ask until it has been tried again."""
    return any(log.flush(TIMEOUT_S) or threading.Event().wait(0.001) for _ in range(5000))
