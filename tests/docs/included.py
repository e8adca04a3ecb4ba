"""Puts tests into the pages that teach with them: `python -m tests.docs.included` writes, a test compares.

A block below `<!-- test: tests/fundamentals/test_01_task.py -->` is that file, word for word.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, TEST, pages

_BLOCK = re.compile(r"^(<!-- test: (\S+) -->\n```python\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)


def with_tests(page: Path) -> str:
    """The text of a page, its included blocks as the tests are now."""
    return _BLOCK.sub(lambda match: match[1] + (ROOT / match[2]).read_text() + match[4], page.read_text())


def included() -> dict[str, Path]:
    """Which page includes a test."""
    return {match[1]: page for page in pages() for line in page.read_text().splitlines() if (match := TEST.match(line))}


def write() -> None:
    for page in set(included().values()):
        page.write_text(with_tests(page))


if __name__ == "__main__":
    write()
