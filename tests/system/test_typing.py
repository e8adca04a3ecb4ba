"""What a type checker sees of the public API: inferred types, and the mistakes it must find."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "typing").glob("*.py")), ids=lambda file: file.name)
def test_a_type_checker_infers_what_it_should_and_finds_the_mistakes(file: Path, tmp_path: Path) -> None:
    """An expected mistake is marked `type: ignore[code]`; strict mypy reports a mark that is not needed."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    config = ROOT / "pyproject.toml"
    report, errors, _ = api.run(
        ["--strict", "--config-file", str(config), "--cache-dir", str(tmp_path), "--follow-imports=silent", str(file)]
    )
    assert errors == ""
    assert report.startswith("Success"), report


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_marks_are_really_checked(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    text = (ROOT / "tests" / "typing" / "enqueue.py").read_text()
    broken = tmp_path / "broken.py"
    broken.write_text(text.replace("with_context.enqueue(to=1)", 'with_context.enqueue(to="a")'))
    config = ROOT / "pyproject.toml"
    report, _, code = api.run(
        ["--strict", "--config-file", str(config), "--cache-dir", str(tmp_path), "--follow-imports=silent", str(broken)]
    )
    assert code == 1
    assert "unused-ignore" in report
