"""What type checkers see of the public API: inferred types, and the mistakes they must find. Both mypy and pyright."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mainspring.worker.settings import WORKER_OPTIONS, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "tests" / "typing"
PUBLIC = ("app", "admin", "builtins", "core.handle", "core.job", "core.outcome", "core.policy", "core.request",
          "core.task", "errors", "leases", "registry", "sync", "testing", "worker.context")  # fmt: skip
"""The modules behind the public names, in which everything says its type."""
A_MINUTE_AND_A_HALF = 90


class Checked(NamedTuple):
    """What a checker said."""

    code: int
    report: str


def mypy(path: Path, cache: Path) -> Checked:
    """In a process of its own, for its warnings are none of ours."""
    command = ["-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
    return run(*command, "--follow-imports=silent", str(path))


def pyright(*arguments: str) -> Checked:
    return run("-m", "basedpyright", "--pythonpath", sys.executable, *arguments)


def run(*command: str) -> Checked:
    python_path = os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": python_path, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=A_MINUTE_AND_A_HALF,
    )
    return Checked(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of uses where a mistake is none any more, and a type is not the one that was said."""
    text = (FILES / "enqueue.py").read_text()
    changed = text.replace("with_context.enqueue(to=1)", 'with_context.enqueue(to="a")').replace(
        'assert_type(await plain.enqueue("a"), JobHandle[int])', 'assert_type(await plain.enqueue("a"), JobHandle[str])'
    )
    assert changed.count("\n") == text.count("\n")
    assert changed != text
    folder = tmp_path_factory.mktemp("typing")
    config: dict[str, Any] = pyright_settings() | {"include": ["broken.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    (folder / "broken.py").write_text(changed)
    return folder / "broken.py"


def pyright_settings() -> dict[str, Any]:
    """As an engineer's who asks for everything. Each checker has marks of its own."""
    return {
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "extraPaths": [str(ROOT / "src")],
    }


@pytest.mark.slow
def test_mypy_infers_what_it_should_and_finds_the_mistakes(tmp_path: Path) -> None:
    """An expected mistake is marked `type: ignore[code]`; strict mypy reports a mark that is not needed."""
    checked = mypy(FILES, tmp_path)
    assert checked.code == 0, checked.report


@pytest.mark.slow
def test_pyright_infers_what_it_should_and_finds_the_mistakes(tmp_path: Path) -> None:
    """An expected mistake is marked `pyright: ignore[rule]`; a mark that is not needed is reported."""
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps(pyright_settings() | {"include": [str(FILES)]}))
    checked = pyright("--project", str(config))
    assert checked.code == 0, checked.report


@pytest.mark.slow
def test_the_marks_are_really_checked(broken: Path, tmp_path: Path) -> None:
    by_mypy = mypy(broken, tmp_path)
    assert by_mypy.code == 1
    assert "unused-ignore" in by_mypy.report
    assert "assert-type" in by_mypy.report
    by_pyright = pyright("--project", str(broken.parent))
    assert by_pyright.code == 1
    assert "reportUnnecessaryTypeIgnoreComment" in by_pyright.report
    assert "reportAssertTypeFailure" in by_pyright.report


@pytest.mark.slow
def test_the_types_of_the_package_are_complete() -> None:
    """What the package says of itself: no type is unknown, and none of the public ones is left to be inferred."""
    checked = pyright("--verifytypes", "mainspring", "--ignoreexternal", "--outputjson")
    found = json.loads(checked.report[checked.report.index("{") :])["typeCompleteness"]
    assert found["pyTypedPath"]
    assert found["exportedSymbolCounts"]["withKnownType"] > 2_000
    assert not [name for name, said in said_of(found["symbols"]) if "unknown" in said and "partially" not in said]
    unsaid = [name for name, said in said_of(found["symbols"]) if "missing type annotation" in said]
    assert not [name for name in unsaid if name.removeprefix("mainspring.").startswith(PUBLIC)]


def said_of(symbols: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (symbol["name"], diagnostic["message"].lower())
        for symbol in symbols
        if symbol["isExported"]
        for diagnostic in symbol["diagnostics"]
    ]


def test_the_settings_of_a_worker_are_all_known_to_type_checkers() -> None:
    settings = {name for name, field in WorkerSettings.__dataclass_fields__.items() if field.init and field.name != "_"}
    assert set(WORKER_OPTIONS) == settings
