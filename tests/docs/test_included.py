"""The tutorial is the tests: what a page shows of them is what runs."""

from __future__ import annotations

from tests.docs.included import included, with_tests
from tests.docs.pages import ROOT

FUNDAMENTALS = sorted((ROOT / "tests" / "fundamentals").glob("test_*.py"))


def test_every_fundamental_is_in_the_tutorial() -> None:
    shown = {ROOT / name: page for name, page in included().items()}
    assert len(FUNDAMENTALS) >= 20
    assert [path.name for path in FUNDAMENTALS if path not in shown] == []
    assert [path for path in shown if not path.exists()] == []


def test_included_blocks_are_the_tests_word_for_word() -> None:
    pages = set(included().values())
    different = [page.name for page in pages if page.read_text() != with_tests(page)]
    assert not different, "run: make reference"


def test_a_fundamental_fits_on_a_screen_and_says_what_it_teaches() -> None:
    texts = {path.name: path.read_text() for path in FUNDAMENTALS}
    assert [name for name, text in texts.items() if len(text.splitlines()) > 45] == []
    assert [name for name, text in texts.items() if not text.startswith('"""')] == []
