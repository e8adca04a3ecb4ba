"""Acts on schedules on the command line: a reason for each of them, answers in JSON, input that is no JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring.cli.enqueue import read_object
from mainspring.errors import DefinitionError
from tests.system.cli_shop import Shop, entered

TO = '{"to": "ada"}'


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = entered(tmp_path, monkeypatch)
    made.ok("schedules", "create", "greet", "send", TO, "--cron", "@yearly", "--reason", "the beginning")
    return made


def answers(shop: Shop, *args: str, code: int = 0) -> list[dict[str, Any]]:
    result = shop.run("schedules", *args, "--json")
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def last_act(shop: Shop) -> tuple[str, str, str]:
    """What was done last, to what, and why."""
    _, _, action, target, _, reason = shop.lines("audit", "--limit", "1")[0]
    return action, target, reason


# -- why ---------------------------------------------------------------------------------------------------------------


def test_the_reason_of_each_act_is_in_the_audit_trail(shop: Shop) -> None:
    assert last_act(shop) == ("schedules.create", "greet", "the beginning")
    for act, *more in (
        ("update", "--every", "1h"), ("pause",), ("resume",), ("run",), ("reset-retries",), ("delete", "--yes"),
    ):  # fmt: skip
        shop.ok("schedules", act, "greet", *more, "--reason", f"why {act}")
        assert last_act(shop) == (f"schedules.{act.replace('-', '_')}", "greet", f"why {act}")


@pytest.mark.parametrize(
    ("act", "more"),
    [
        ("create", ["send", TO, "--every", "1h"]), ("update", ["--every", "1h"]), ("pause", []), ("resume", []),
        ("run", []), ("reset-retries", []), ("delete", ["--yes"]),
    ],
)  # fmt: skip
def test_a_reason_that_is_too_long_ends_with_2(shop: Shop, act: str, more: list[str]) -> None:
    name = "new" if act == "create" else "greet"
    result = shop.run("schedules", act, name, *more, "--reason", "x" * 2_001)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "bad reason" in result.stderr
    assert last_act(shop) == ("schedules.create", "greet", "the beginning")


# -- answers -----------------------------------------------------------------------------------------------------------


def test_acts_answer_for_each_schedule(shop: Shop) -> None:
    shop.ok("schedules", "create", "tick", "send", TO, "--every", "1h")
    for act, done in (
        ("pause", "paused"), ("resume", "resumed"), ("reset-retries", "reset"), ("delete", "deleted"),
    ):  # fmt: skip
        more = ["--yes"] if act == "delete" else []
        good, bad, better = answers(shop, act, "greet", "nobody", "tick", *more, code=1)
        assert (good, better) == ({"name": "greet", "done": done}, {"name": "tick", "done": done})
        assert (bad["name"], list(bad)) == ("nobody", ["name", "error"])
        assert "no schedule is named 'nobody'" in bad["error"]


def test_what_answers_for_itself_tells_its_problems_alike(shop: Shop) -> None:
    for args, problem in (
        (["create", "greet", "send", TO, "--every", "1h"], "exists already"),
        (["update", "nobody", "--every", "1h"], "no schedule is named 'nobody'"),
        (["run", "nobody"], "no schedule is named 'nobody'"),
        (["run", "greet", "--wait", "20ms"], "has not ended within"),
    ):
        result = shop.run("schedules", *args, "--json")
        document = json.loads(result.stdout)
        assert (result.exit_code, document["name"]) == (1, args[1])
        assert problem in document["error"]
        assert result.stderr == f"error: {document['error']}\n"
    told = shop.run("enqueue", "nothing", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["task"] == "nothing"
    assert "unknown task: 'nothing'" in json.loads(told.stdout)["error"]


# -- input that is none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("input", ["{", "[1]", "to=ada", '{"to": Infinity}', ""])
@pytest.mark.parametrize(
    "args",
    [["schedules", "create", "new", "send"], ["schedules", "update", "greet", "--input"],
     ["schedules", "run", "greet", "--input"], ["enqueue", "send"]],
    ids=lambda args: " ".join(args[:2]),
)  # fmt: skip
def test_an_input_that_is_no_json_object_ends_with_2(shop: Shop, args: list[str], input: str) -> None:
    more = ["--every", "1h"] if args[1] == "create" else []
    for result in (shop.run(*args, input, *more), shop.run(*args, "-", *more, input=input)):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "JSON" in result.stderr
    assert shop.ok("jobs", "count") == "0\n"
    assert last_act(shop) == ("schedules.create", "greet", "the beginning")


def test_an_input_that_is_no_text_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    with pytest.raises(DefinitionError, match="is not JSON: 'utf-8' codec can't decode"):
        read_object("-")
