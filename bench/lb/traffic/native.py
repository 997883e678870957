"""Compiles the C parts of the benchmark: the reference load balancer, the clients and the backends."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
PROGRAMS = ("reference", "load", "echo")
_FLAGS = ("-O2", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")


class CompilerMissingError(Exception):
    """There is no C compiler."""


def build(
    folder: Path, names: Sequence[str] = PROGRAMS, *, sources: Path = SOURCES, is_portable: bool = False
) -> dict[str, Path]:
    """Compile programs, each a file of `sources`, into `folder` and return their paths by name.

    They are made for this very machine, with its AES instructions, unless `is_portable`. Raises `CompilerMissingError`.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CompilerMissingError("the benchmark needs a C compiler; on Debian: apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    machine = () if is_portable else ("-march=native",)
    for name in names:
        command = [compiler, *_FLAGS, *machine, "-o", str(folder / name), str(sources / f"{name}.c"), "-lm"]
        subprocess.run(command, check=True)
    return {name: folder / name for name in names}
