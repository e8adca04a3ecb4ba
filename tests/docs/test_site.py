"""The site is built from the documents alone, and is whole in itself: what it shows lies beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "tests.docs.site", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not done.stderr.strip(), done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser loads by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "index", "search"):
            self.found.append(given.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found.append(given.get("src") or "")


def loaded(page: Path) -> Iterator[str]:
    parser = Loaded()
    parser.feed(page.read_text())
    yield from (target for target in parser.found if target and not target.startswith("data:"))


def test_every_page_is_in_the_site(site: Path) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert len(sources) > 40
    assert [str(path) for path in sources if not (site / path.with_suffix(".html")).exists()] == []
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    targets = {(page, target) for page in pages for target in loaded(page)}
    assert len(targets) > len(pages), "every page has a style sheet"
    assert [(page.name, target) for page, target in targets if "//" in target] == []
    missing = [(page.name, target) for page, target in targets if not (page.parent / target.partition("?")[0]).exists()]
    assert missing == []


def test_a_style_sheet_loads_nothing_from_elsewhere(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    asked = [
        (sheet.name, url)
        for sheet in sheets
        for url in re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')]+)", sheet.read_text())
    ]
    assert [found for found in asked if "//" in found[1] and not found[1].startswith("data:")] == []


def test_the_site_can_be_searched_without_a_server(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    assert index.startswith("Search.setIndex(")
    assert "max_concurr" in index  # words are stored by their stems
    assert "mark_complet" in index
