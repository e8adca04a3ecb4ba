"""The documents tell the truth: their code runs, their links lead somewhere, their commands exist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import NEEDS_MONGODB, NO_RUN, ROOT, anchors, blocks, links, pages
from tests.servers.shared import SharedMongo

RUNNABLE = [page for page in pages() if any(block.language == "python" and block.run for block in blocks(page))]
ON_MONGODB = [page for page in RUNNABLE if NEEDS_MONGODB in page.read_text()]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {
    "bulk": "order 1 is confirmed",
    "debounce": "home at version 100",
    "embedded_worker": "sent to grace by attempt 1",
    "fastapi_app": "{'status': 'completed', 'report': {'month': '2030-01', 'pages': 3}}",
    "from_sync_code": "worker ended with 0",
    "progress": "cancelled: seen enough",
    "quickstart": "Hello Ada!",
    "retries": "flaky: answered attempt 3",
}
"""What each example prints, among other things."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run_python(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "error", "TMPDIR": str(folder), **variables}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=50, check=False
    )


def assert_fine(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # An exception in a destructor or a thread ends nothing, and is told here alone.
    assert "Traceback" not in done.stderr, done.stderr
    assert "Warning" not in done.stderr, done.stderr


FIRST = {"README.md"}
"""The page that everybody reads runs in the quick tests, too."""
PLAIN = [
    pytest.param(page, marks=[] if page.name in FIRST else [pytest.mark.slow])
    for page in RUNNABLE
    if page not in ON_MONGODB
]


@pytest.mark.parametrize("page", PLAIN, ids=name_of)
def test_code_of_page_runs(page: Path, tmp_path: Path) -> None:
    assert_fine(run_python("-m", "tests.docs.run_page", str(page), folder=tmp_path))


@pytest.mark.parametrize("page", ON_MONGODB, ids=name_of)
@pytest.mark.slow
def test_code_of_page_runs_on_mongodb(
    page: Path, tmp_path: Path, mongo_server: SharedMongo, mongo_database: str
) -> None:
    url = mongo_server.url_of(mongo_database)
    assert_fine(run_python("-m", "tests.docs.run_page", str(page), folder=tmp_path, DOCS_MONGODB=url))


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
@pytest.mark.slow
def test_example_runs(example: Path, tmp_path: Path) -> None:
    done = run_python(str(example), folder=tmp_path)
    assert_fine(done)
    assert SAYS[example.stem] in done.stdout


def test_every_example_is_run() -> None:
    assert [example.stem for example in EXAMPLES] == sorted(SAYS)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{name_of(page)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{name_of(page)} links to {target}, which has no such heading"


def test_extractor_finds_blocks_and_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f"# A `b` c, d!\n\n```python\nx = 1\n```\n\n{NO_RUN}\n```python\ny\n```\n[a](b.md#c) [d](https://e)\n"
    )
    first, second = blocks(page)
    assert (first.language, first.line, first.code, first.run) == ("python", 4, "x = 1\n", True)
    assert not second.run
    assert links(page) == ["b.md#c"]
    assert anchors(page) == {"a-b-c-d"}


def test_page_whose_code_fails_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nawait __import__('asyncio').sleep(0)\nassert 1 == 2\n```\n")
    done = run_python("-m", "tests.docs.run_page", str(page), folder=tmp_path)
    assert done.returncode == 1
    assert f'{page}", line 3' in done.stderr


def test_a_test_on_a_page_that_fails_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    file, test = "one = 1\n", "from one import one\n\n\ndef test_two() -> None:\n    assert one == 2\n"
    page.write_text(f"<!-- file: one.py -->\n```python\n{file}```\n<!-- file: test_one.py -->\n```python\n{test}```\n")
    assert [block.file for block in blocks(page)] == ["one.py", "test_one.py"]
    done = run_python("-m", "tests.docs.run_page", str(page), folder=tmp_path)
    assert done.returncode == 1
    assert "assert 1 == 2" in done.stdout
