"""The Markdown pages of the project, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
NO_RUN = "<!-- no-run -->"
NEEDS_MONGODB = "<!-- needs: mongodb -->"
"""On a page whose code talks to the server at `MONGODB`: it runs on one that the tests have started."""
MONGODB = "mongodb://localhost:27017/shop?replicaSet=rs0"
_FILE = re.compile(r"^<!-- file: (\S+) -->$")
"""Before a block that is a file of the reader's: it is written there instead of being run."""
TEST = re.compile(r"^<!-- test: (\S+) -->$")
"""Before a block that is a test of ours, word for word: it runs there, and `included.py` keeps the two the same."""
_FENCE = re.compile(r"^```(\w*)\s*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*)$")


class Block(NamedTuple):
    """A fenced block of code. `line` is that of its first line of code."""

    language: str
    line: int
    code: str
    run: bool
    file: str = ""


def pages() -> list[Path]:
    """Every page that people read."""
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order; one that `NO_RUN` precedes is not to be run."""
    language, begun, lines, marked = None, 0, list[str](), ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if language is None and fence:
            language, begun, lines = fence[1], number + 1, []
        elif language is not None and line.strip() == "```":
            file = _FILE.match(marked)
            run = marked != NO_RUN and not TEST.match(marked)
            yield Block(language, begun, "\n".join(lines) + "\n", run, file[1] if file else "")
            language, marked = None, ""
        elif language is not None:
            lines.append(line)
        elif line.strip():
            marked = line.strip()


def prose(page: Path) -> list[str]:
    """The lines outside of fenced blocks."""
    outside, inside = [], False
    for line in page.read_text().splitlines():
        if _FENCE.match(line) or line.strip() == "```":
            inside = not inside
        elif not inside:
            outside.append(line)
    return outside


def links(page: Path) -> list[str]:
    """The targets of the links on a page, without those to other sites."""
    targets = _LINK.findall("\n".join(prose(page)))
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = [match[1] for line in prose(page) if (match := _HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
