"""`make docs`: write the documentation site, whose pages are files of the repository, where they stand.

A page keeps its path, so that links between documents work on the site as in the repository. A link to a file that is
no page, such as code, is shown as that file's path. Beside the pages lies `llms.txt`, an index for language models.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
HERE = ROOT / "docs"
BUILD = ROOT / "build" / "docs"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def main() -> int:
    settings = yaml.safe_load((HERE / "mkdocs.yml").read_text())
    shutil.rmtree(BUILD, ignore_errors=True)
    source = BUILD / "source"
    pages = _pages(settings["nav"])
    for page in pages:
        _write(source / page, _linked((ROOT / page).read_text(), page, set(pages)))
    shutil.copytree(HERE / "pictures", source / "docs" / "pictures")
    shutil.copy(HERE / "site.css", source)
    shutil.copy(HERE / "mkdocs.yml", BUILD)
    program = Path(sys.executable).with_name("zensical")
    built = subprocess.run([program, "build", "--strict", "--config-file", BUILD / "mkdocs.yml"], cwd=BUILD)
    if built.returncode:
        return built.returncode
    site = BUILD / "site"
    for page in pages:
        _write(site / page, (source / page).read_text())
    _write(site / "llms.txt", _index(settings))
    print(f"open {(site / 'index.html').relative_to(ROOT)}")
    return 0


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for each in (nav.values() if isinstance(nav, dict) else nav) for page in _pages(each)]


def _linked(markdown: str, page: str, pages: set[str]) -> str:
    """Show links to files that are no pages as text. A link to nothing stays, for the build to refuse."""
    folder = PurePosixPath(page).parent

    def keep_or_show(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path = target.partition("#")[0]
        name = normpath(str(folder / path))
        if "://" in target or not path or name in pages or not (ROOT / name).exists():
            return link[0]
        return text if text.strip("`").endswith(PurePosixPath(name).name) else f"{text} (`{name}`)"

    return _LINK.sub(keep_or_show, markdown)


def _index(settings: dict[str, Any]) -> str:
    """Each page's title and address, and what it is about (llmstxt.org)."""
    lines = [f"# {settings['site_name']}", "", f"> {settings['site_description']}"]
    for section in settings["nav"]:
        for title, pages in section.items():
            lines += ["", f"## {title}", ""]
            lines += [f"- [{name}]({path}): {_opening(ROOT / path)}" for entry in pages for name, path in entry.items()]
    return "\n".join(lines) + "\n"


def _opening(page: Path) -> str:
    """The first sentence behind a page's title."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    first = next((each for each in re.split(r"\n\s*\n", text) if each[:1].isalpha() or each[:1] == "`"), "")
    sentence = re.split(r"(?<=[.:])\s", " ".join(first.split()), maxsplit=1)[0]
    return _LINK.sub(r"\1", sentence).rstrip(":")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
