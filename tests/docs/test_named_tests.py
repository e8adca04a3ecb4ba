"""The tests that the documents name as their witnesses exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages

NAMED = sorted({found for page in pages() for found in re.findall(r"`(tests/[\w/]+\.py::\w+)`", page.read_text())})


@pytest.mark.parametrize("name", NAMED)
def test_named_test_exists(name: str) -> None:
    path, _, test = name.partition("::")
    assert (ROOT / path).exists(), f"no file {path}"
    assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), f"no test {test!r} in {path}"


def test_the_guarantees_name_their_tests() -> None:
    guarantees = Path(ROOT / "docs" / "guarantees.md").read_text()
    rows = guarantees[guarantees.index("| the pain |") :].splitlines()[2:]
    assert len(rows) > 15
    assert [row for row in rows if row.startswith("|") and "::test_" not in row] == []
