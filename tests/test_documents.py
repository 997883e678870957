"""The documents name files, headings and tests that exist, and the site has all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "quiclb",
    "link",
    "gateway",
    "client",
    "eval",
    "testbed",
    "tests",
    "bench",
    "deploy",
    "certs",
    "docs",
    "locks",
    ".ci",
)
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "PROTOCOL", "COMPLIANCE", "CONTRIBUTING")),
    *(ROOT / name / "README.md" for name in ("quiclb", "link", "gateway", "client/python", "client/web", "eval")),
    *sorted((ROOT / "gateway" / "docs").glob("*.md")),
    *sorted(
        path
        for folder in ("deploy", "docs", "bench", "certs")
        for path in (ROOT / folder).rglob("*.md")
        if not path.is_relative_to(ROOT / "bench" / "results")  # which git ignores: what benchmarks write
    ),
]
ROOTS = ("", "quiclb/src", "link/src", "gateway/src", "client/python/src", "eval/src", "client/web", "client/web/page")
"""What paths in documents begin at, besides the document's own folder."""
SUFFIXES = {".py", ".ts", ".js", ".mjs", ".go", ".c", ".h", ".md", ".json", ".toml", ".lock", ".service", ".socket"}
MADE = {
    "bench/results": "what benchmarks write",
    "bench/results/lb": "what benchmarks write",
    "certs/dev": "what `make setup` writes",
    "voice_gateway/web/static": "what `make web` writes",
    "results.json": "what `make bench-lb` writes",
    "leaf.pem": "what `voice-gateway certificate` writes",
    "leaf.key": "what `voice-gateway certificate` writes",
    "worker.toml": "a settings file of the reader's",
    "alice.token": "a file of the reader's",
    "index.js": "what `make web` writes",
    "voice-client.js": "what `make web` writes",
    "/config.json": "a path of the page's server",
    "/openapi.json": "a path of the admin server",
}


def names(document: Path) -> Iterator[str]:
    """The paths of a document: targets of links, and what stands in backticks and looks like a path."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            yield target
    for quoted in re.findall(r"`([^`\n]+)`", text):
        name = quoted.partition("::")[0].rstrip("/")
        top = name.split("/")[0]
        is_path = bool(re.fullmatch(r"[\w./-]+", name)) and not re.search(r"[A-Z]{3,}(?!\.md)", name)
        known = top in (*FOLDERS, "voicelink", "voice_gateway", "voice_client")
        if is_path and (Path(name).suffix in SUFFIXES or ("/" in name and known)):
            yield name


@pytest.fixture(scope="module")
def tails() -> set[str]:
    """Every file and folder of the tree, by its path and by each end of it."""
    found: set[str] = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if not {"node_modules", "__pycache__"} & set(parts):
                found |= {"/".join(parts[start:]) for start in range(len(parts))}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_named_in_a_document_exists(document: Path, tails: set[str]) -> None:
    """A path begins at the root, at a component's sources or at the document's folder, or is the end of a path."""
    missing = {
        name
        for name in names(document)
        if name not in MADE
        and not name.startswith("bench/results/")
        and not any((ROOT / root / name).exists() for root in ROOTS)
        and not (document.parent / name).exists()
        and name not in tails
    }
    assert missing == set()


def named_tests(document: Path) -> list[tuple[str, str]]:
    """The files and functions of `tests/...py::test_...` in a document."""
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_named_in_a_document_exists(document: Path) -> None:
    cited = named_tests(document)
    assert [each for each in cited if f"def {each[1]}(" not in (ROOT / each[0]).read_text()] == []


def test_the_page_about_survival_names_tests() -> None:
    """The control of the test above: its pattern finds them."""
    assert len(named_tests(ROOT / "gateway" / "docs" / "survival.md")) > 40


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as the site and code hosts make them; a second one has `_1` or `-1`."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)).strip().lower()
        found |= {plain.replace(" ", "-"), re.sub(r"[-\s]+", "-", plain)}
    return found


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_heading_that_a_link_names_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s#:]*\.md)?#([^)\s]+)\)", document.read_text())
    missing = [
        f"{path}#{anchor}"
        for path, anchor in links
        if anchor not in headings((document.parent / path).resolve() if path else document)
    ]
    assert missing == []


def test_the_site_has_every_document() -> None:
    pages = set(re.findall(r": (\S+\.md)$", (ROOT / "docs" / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    assert {str(each.relative_to(ROOT)) for each in [*DOCUMENTS, ROOT / "CHANGELOG.md"]} == pages
