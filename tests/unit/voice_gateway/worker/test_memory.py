"""When freed memory is given back, by a C library that only counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from voice_gateway.worker.memory import TRIM_BYTES, Glibc, MemoryTrimmer


class Library:
    """As glibc: what was given back still counts as free."""

    def __init__(self) -> None:
        self.options: dict[int, int] = {}
        self.free = 0
        self.trims = 0
        self.mallinfo2 = Function(lambda: SimpleNamespace(fordblks=self.free))
        self.mallopt = self.options.__setitem__

    def malloc_trim(self, pad: int) -> int:
        self.trims += 1
        return 1


class Function:
    restype: object = None

    def __init__(self, call: object) -> None:
        self.__call = call

    def __call__(self) -> object:
        return self.__call()  # type: ignore[operator]  # a lambda


@pytest.fixture
def library() -> Library:
    return Library()


def test_the_mmap_threshold_is_fixed_so_that_large_blocks_go_back_to_the_system(library: Library) -> None:
    """mallopt(3): to set M_MMAP_THRESHOLD, -3 in malloc.h, ends its dynamic adjustment."""
    Glibc(library).return_large_blocks()
    assert library.options == {-3: 131_072}


def test_memory_is_given_back_once_4_mib_were_freed(library: Library) -> None:
    trimmer = MemoryTrimmer(Glibc(library))
    library.free = TRIM_BYTES - 1
    assert not trimmer.check()
    library.free = TRIM_BYTES
    assert trimmer.check()
    assert library.trims == 1


def test_what_was_given_back_is_not_given_back_again(library: Library) -> None:
    trimmer = MemoryTrimmer(Glibc(library))
    library.free = 10 * TRIM_BYTES
    assert [trimmer.check() for _ in range(3)] == [True, False, False]


def test_memory_that_was_used_again_and_freed_is_given_back(library: Library) -> None:
    trimmer = MemoryTrimmer(Glibc(library))
    library.free = 10 * TRIM_BYTES
    trimmer.check()
    library.free = 2 * TRIM_BYTES
    assert not trimmer.check()
    library.free = 3 * TRIM_BYTES
    assert trimmer.check()
    assert library.trims == 2


def test_a_c_library_without_mallinfo2_is_left_alone() -> None:
    with pytest.raises(AttributeError):
        Glibc(SimpleNamespace(mallopt=None, malloc_trim=None))


def test_free_memory_of_this_process_can_be_read_where_there_is_glibc() -> None:
    libc = Glibc.of_process()
    assert libc is None or libc.free_bytes() > 0
