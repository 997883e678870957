"""Puts nginx where the benchmark finds it, without installing a service: `python -m bench.lb.install`.

An nginx on PATH with the stream module is used as it is. Otherwise Debian's packages are downloaded and unpacked into a
folder of the virtual environment; nothing outside it changes, and no root is needed if apt's lists are there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("nginx", "libnginx-mod-stream")
FOLDER = Path(sys.prefix) / "nginx"


@dataclass(frozen=True, slots=True)
class Nginx:
    """An nginx that can load the stream module; `module` is `None` if it is built in."""

    program: Path
    module: Path | None
    version: str


def find_nginx() -> Nginx | None:
    """The unpacked nginx, or the machine's own."""
    for program in (FOLDER / "usr/sbin/nginx", Path(shutil.which("nginx") or "/usr/sbin/nginx")):
        if program.is_file():
            said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
            version = re.search(r"nginx/(\S+)", said)
            root = FOLDER if program.is_relative_to(FOLDER) else Path("/")
            module = root / "usr/lib/nginx/modules/ngx_stream_module.so"
            is_built_in = re.search(r"--with-stream(\s|$)", said) is not None
            if version and (module.is_file() or is_built_in):
                return Nginx(program, module if module.is_file() else None, version[1])
    return None


def unpack_nginx() -> str | None:
    """Download and unpack Debian's packages; returns what stands in the way, or `None`."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "nginx is missing and this is no Debian: install nginx with its stream module"
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    if os.geteuid() == 0:
        subprocess.run(["apt-get", "-qq", "update"], check=False)
    download = subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *PACKAGES],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    if download.returncode:
        return f"apt cannot download {' and '.join(PACKAGES)}: {download.stderr.strip()}"
    for package in FOLDER.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, FOLDER], check=True)
        package.unlink()
    return None if find_nginx() else "the unpacked nginx does not start: a library is missing"


def main() -> None:
    """Provide nginx, or say why the benchmark goes without it."""
    nginx = find_nginx()
    obstacle = None if nginx else unpack_nginx()
    nginx = nginx or find_nginx()
    print(f"nginx {nginx.version}: {nginx.program}" if nginx else f"the benchmark goes without nginx: {obstacle}")


if __name__ == "__main__":
    main()
