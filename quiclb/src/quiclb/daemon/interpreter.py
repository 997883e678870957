"""Settings of the Python interpreter for a process that forwards."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0005
"""How long other Python code may keep datagrams waiting; the interpreter's default is ten times as long."""


def settle() -> None:
    """Call when all that stays is made: the garbage collector then leaves it alone, and forwarding waits less."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
