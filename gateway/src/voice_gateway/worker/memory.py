"""Give memory that was freed back to the system, where the C library is glibc."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, Final

M_MMAP_THRESHOLD: Final = -3
"""mallopt(3)."""
LARGE_BLOCK_BYTES: Final = 128 * 1024
"""glibc begins with this threshold, and raises it to the size of any larger block that is freed: the buffers of TLS
connections (256 KiB each) then lie among small blocks, and their memory stays with the process once they are closed."""
TRIM_PERIOD_S: Final = 2.0
TRIM_BYTES: Final = 4 << 20
"""So much must have been freed: to give back four MiB takes about four milliseconds."""


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` (mallinfo(3), glibc 2.33)."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")] + [
        (name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


class Glibc:
    """What of glibc is used here; `of_process` is `None` where the C library is another one, or an old one."""

    def __init__(self, library: Any) -> None:
        self._mallopt, self._malloc_trim, self._mallinfo2 = library.mallopt, library.malloc_trim, library.mallinfo2
        self._mallinfo2.restype = _MallocInfo

    @classmethod
    def of_process(cls) -> Glibc | None:
        try:
            return cls(ctypes.CDLL(None))
        except (AttributeError, OSError):
            return None

    def free_bytes(self) -> int:
        """How much of the heap is not in use; what was given back already counts, too."""
        return int(self._mallinfo2().fordblks)

    def trim(self) -> None:
        """Give back every free page (malloc_trim(3))."""
        self._malloc_trim(0)

    def return_large_blocks(self) -> None:
        """Have each block of `LARGE_BLOCK_BYTES` and more go back when it is freed.

        A read from a TLS connection takes ten microseconds more, as uvloop reserves 256 KiB for it.
        """
        self._mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


class MemoryTrimmer:
    """Gives freed memory back every `TRIM_PERIOD_S`, if there is enough of it; `start` and `stop` it.

    After a flood the heap is full of holes, and glibc gives back its end alone.
    """

    def __init__(self, libc: Glibc) -> None:
        self._libc = libc
        self._least_free = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._libc.return_large_blocks()
        self._least_free = self._libc.free_bytes()
        self._set()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> bool:
        """Trim if `TRIM_BYTES` more are free than there were at least since the last time; return whether it did."""
        free = self._libc.free_bytes()
        if is_due := free >= self._least_free + TRIM_BYTES:
            self._libc.trim()
            free = self._libc.free_bytes()
            self._least_free = free
        self._least_free = min(self._least_free, free)
        return is_due

    def _set(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TRIM_PERIOD_S, self._run)

    def _run(self) -> None:
        self.check()
        self._set()
