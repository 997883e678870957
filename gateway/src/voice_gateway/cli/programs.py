"""How a user's shell calls the programs that are installed beside this one."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def shell_command(program: str, *, folder: Path = Path()) -> str:
    """Return what a shell in `folder` runs `program` of this environment by.

    That is its name, unless the search path leads elsewhere or nowhere, as before `activate`: then it is its path. A
    program that this environment does not have keeps its name.
    """
    installed = Path(sys.executable).with_name(program)
    found = shutil.which(program)
    if not installed.exists() or (found is not None and Path(found).absolute() == installed):
        return program
    is_near = all(each.is_relative_to(Path.cwd()) for each in (installed, folder.absolute()))
    return shlex.quote(os.path.relpath(installed, folder) if is_near else str(installed))
