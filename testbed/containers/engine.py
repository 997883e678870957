"""Build images with buildah and run them with podman, where no engine's daemon and no registry of images is.

Images, containers and configuration are in one folder. The base image is a Debian made by debootstrap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".containers"
BASE: Final = "localhost/base:bookworm"
TARGETS: Final = ("balancer", "worker")
_DOCKERFILE: Final = ROOT / "deploy" / "images" / "Dockerfile"
_CONTAINERS: Final = """
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
netns = "host"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class EngineError(Exception):
    """A program of the engine failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`build` the images, then `run` podman, all in `folder`."""

    folder: Path = FOLDER

    def run(self, *command: str | Path, timeout_s: float = 120.0) -> str:
        """Run a program of the engine and return its output; raises `EngineError`."""
        done = subprocess.run(
            [str(each) for each in command],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if done.returncode:
            raise EngineError(f"{' '.join(map(str, command[:3]))}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def image(self, target: str) -> str:
        """Return the name of an image of ours."""
        return f"localhost/{target}:test"

    def build(self) -> None:
        """Build the base image if there is none yet, and the images of `TARGETS`."""
        if BASE not in self.run("buildah", "images", "--format", "{{.Name}}:{{.Tag}}").split():
            self._build_base()
        for target in TARGETS:
            self.run(
                "buildah",
                "build",
                "--isolation=chroot",
                "--format=docker",
                "--layers",
                "--pull-never",
                f"--build-arg=BASE={BASE}",
                f"--ignorefile={_DOCKERFILE}.dockerignore",
                # how this machine reaches the package registry; nothing of it is in the image
                f"--volume={self._pip_configuration()}:/etc/pip.conf:ro",
                "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",
                f"--signature-policy={self.folder / 'policy.json'}",
                f"--file={_DOCKERFILE}",
                f"--target={target}",
                f"--tag={self.image(target)}",
                ROOT,
                timeout_s=1800,
            )

    def _build_base(self) -> None:
        root = self.folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        packages = "python3,python3-venv,ca-certificates"
        mirror = _debian_mirror()
        what = ("--variant=minbase", f"--include={packages}", "bookworm")
        self.run("debootstrap", *what, root, *mirror, timeout_s=900)
        container = self.run("buildah", "from", "scratch").strip()
        self.run("buildah", "add", "--quiet", container, root, "/", timeout_s=300)
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.run("buildah", "config", f"--env={path}", container)
        self.run("buildah", "commit", "--quiet", "--rm", container, BASE, timeout_s=300)
        shutil.rmtree(root)

    def _pip_configuration(self) -> Path:
        """Write pip's settings of this machine, of its files and environment, as one file."""
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
        ).stdout
        settings = {"cert": "/etc/ssl/certs/ca-certificates.crt"}
        for line in listed.splitlines():
            place, _, value = line.partition("=")
            name = place.rpartition(".")[2]
            if name in ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout"):
                settings[name] = value.strip("'")
        path = self.folder / "pip.conf"
        path.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        return path

    def environment(self) -> dict[str, str]:
        """Return the variables that lead the engine's programs to the folder; its configuration is written there."""
        self.folder.mkdir(exist_ok=True)
        storage = self.folder / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder / "storage"}"\nrunroot = "{self.folder / "run"}"\n'
        )
        containers = self.folder / "containers.conf"
        containers.write_text(_CONTAINERS)
        (self.folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        return os.environ | {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers)}


def _debian_mirror() -> list[str]:
    """Return where this machine's own packages come from; nothing where its sources do not say."""
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for line in file.read_text().splitlines():
            if line.startswith("URIs:"):
                return [line.split()[1]]
    return []


if __name__ == "__main__":
    Engine().build()
