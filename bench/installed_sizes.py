"""What core and extras of `voice-gateway` take on disk: `python -m bench.installed_sizes agent pipecat agent,pipecat`.

Sums the files of the distributions that an extra brings besides the core's, as this environment has them. Run it with
an interpreter that has the extras, such as that of `.venv-agents`.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

_BLOCK = 512


def installed(extras: tuple[str, ...]) -> dict[str, Distribution]:
    """Return the distributions of `voice-gateway[extras]`, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    todo = [("voice-gateway", extras)]
    while todo:
        name, wanted = todo.pop()
        name = re.sub(r"[-_.]+", "-", name).lower()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            print(f"not installed here, and not counted: {name}", file=sys.stderr)
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                todo.append((requirement.name, tuple(sorted(requirement.extras))))
    return found


def megabytes(distributions: dict[str, Distribution]) -> int:
    """Return what their files take on disk."""
    paths = (each.locate_file(file) for each in distributions.values() for file in each.files or ())
    return round(sum(path.stat().st_blocks * _BLOCK for path in map(_path, paths) if path.exists()) / 1_000_000)


def _path(path: object) -> Path:
    return Path(str(path))


def main(choices: list[str]) -> None:
    """Print a line for the core, and one for each choice of extras."""
    core = installed(())
    print(f"core: {len(core)} packages, {megabytes(core)} MB")
    for choice in choices:
        more = {name: each for name, each in installed(tuple(choice.split(","))).items() if name not in core}
        print(f"{choice}: {len(more)} packages more, {megabytes(more)} MB more")


if __name__ == "__main__":
    main(sys.argv[1:])
