"""Settings of the command line: where they may stand, which counts, and what is said of a wrong one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mainspring.cli.settings import NOT_SET_HERE, SETTINGS, mask
from mainspring.cli.values import BY_TYPE
from mainspring.worker.settings import WorkerSettings
from tests.system.cli_shop import Shop, entered


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name in SETTINGS.values():
        monkeypatch.delenv(name.variable, raising=False)
    return entered(tmp_path, monkeypatch, named=False)


def project(shop: Shop, text: str) -> Path:
    path = shop.folder / "pyproject.toml"
    path.write_text(f"[tool.mainspring]\n{text}\n")
    return path


def config(shop: Shop, *args: str) -> dict[str, dict[str, Any]]:
    told = [json.loads(line) for line in shop.ok("config", "--json", *args).splitlines()]
    return {setting["name"]: setting for setting in told}


def refused(shop: Shop, *args: str) -> str:
    """What is said of wrong use: one line."""
    result = shop.run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


# -- which counts ------------------------------------------------------------------------------------------------------


def test_without_a_word_everything_is_a_default(shop: Shop) -> None:
    told = config(shop)
    assert {setting["from"] for setting in told.values()} == {"default"}
    assert (told["concurrency"]["value"], told["grace"]["value"], told["app"]["value"]) == (20, 10, None)


def test_a_flag_goes_before_a_variable_and_that_before_the_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project(shop, 'app = "shop:app"\nconcurrency = 3\ngrace = "20s"\npoll = 2')
    monkeypatch.setenv("MAINSPRING_CONCURRENCY", "5")
    monkeypatch.setenv("MAINSPRING_GRACE", "25s")
    told = config(shop, "--concurrency", "7")
    assert (told["concurrency"]["value"], told["concurrency"]["place"]) == (7, "--concurrency")
    assert (told["grace"]["value"], told["grace"]["place"]) == ("25s", "MAINSPRING_GRACE")
    assert (told["poll"]["value"], told["poll"]["from"]) == (2, "pyproject")
    assert told["app"]["place"] == f"app of [tool.mainspring] in {path}"


def test_rows_are_name_value_and_place(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_QUEUES", "a, b")
    rows = {row[0]: row[1:] for row in shop.lines("config")}
    assert rows["queues"] == ["a,b", "env MAINSPRING_QUEUES"]
    assert rows["stall_limit"] == ["1m", "default"]
    assert list(rows) == list(SETTINGS)


def test_an_empty_variable_is_none(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_CONCURRENCY", "")
    assert config(shop)["concurrency"]["from"] == "default"


def test_none_takes_a_default_back(shop: Shop) -> None:
    told = config(shop, "--cpu-max-jobs", "none")["cpu_max_jobs"]
    assert (told["value"], told["from"]) == (None, "flag")


@pytest.mark.parametrize(("typed", "value"), [("5", 5.0), ("1.5", 1.5), ("500ms", "500ms"), ("2m", "2m")])
def test_a_duration_is_text_or_seconds(shop: Shop, typed: str, value: object) -> None:
    assert config(shop, "--grace", typed)["grace"]["value"] == value


def test_a_list_of_the_file_is_a_list_of_names(shop: Shop) -> None:
    project(shop, 'queues = ["emails", "default"]')
    assert config(shop)["queues"]["value"] == ["emails", "default"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("redis://ada:p@w:x@h/0", "redis://ada:***@h/0"),
        ("redis://pw@h", "redis://***@h"),
        ("mongodb://h/shop?authSource=a&password=pw", "mongodb://h/shop?authSource=a&password=***"),
        ("sqlite:///jobs.db", "sqlite:///jobs.db"),
        ("shop:app", "shop:app"),
    ],
)
def test_a_password_is_masked(shop: Shop, url: str, shown: str) -> None:
    assert mask(url) == shown
    assert config(shop, url)["app"]["value"] == shown


# -- the app is named once ---------------------------------------------------------------------------------------------


def test_the_project_names_the_app_for_every_command(shop: Shop) -> None:
    project(shop, 'app = "shop:app"')
    id = shop.ok("enqueue", "send", '{"to": "Ada"}').strip()
    assert [row[0] for row in shop.lines("jobs", "list")] == [id]
    assert shop.lines("queues", "list")
    assert shop.run("doctor").exit_code == 0


def test_from_a_folder_inside_the_project_it_is_the_same_app(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    project(shop, 'app = "shop:app"')
    inside = shop.folder / "docs" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    shop.ok("enqueue", "send", '{"to": "Ada"}')
    assert (shop.folder / "shop.db").exists()
    assert not (inside / "shop.db").exists()


def test_a_variable_and_a_flag_go_before_the_project(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    project(shop, 'app = "nowhere:app"')
    assert "nowhere" in refused(shop, "jobs", "list")
    monkeypatch.setenv("MAINSPRING_APP", "neither:app")
    assert "neither" in refused(shop, "jobs", "list")
    shop.ok("jobs", "list", "--app", "shop:app")


def test_a_file_without_the_table_is_passed_over(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    project(shop, 'app = "shop:app"')
    inside = shop.folder / "part"
    inside.mkdir()
    (inside / "pyproject.toml").write_text('[project]\nname = "part"\n')
    monkeypatch.chdir(inside)
    assert shop.run("jobs", "list").exit_code == 0


# -- what is wrong, and where ------------------------------------------------------------------------------------------


def test_an_unknown_key_is_named_with_its_file_and_the_nearest_one(shop: Shop) -> None:
    path = project(shop, "concurency = 3")
    told = refused(shop, "config")
    assert f"'concurency' in [tool.mainspring] of {path}" in told
    assert "Did you mean 'concurrency'?" in told
    assert "concurency" in refused(shop, "jobs", "list"), "who looks for the app says so, too"


def test_a_variable_that_is_nearly_one_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_CONCURENCY", "3")
    told = refused(shop, "config")
    assert "MAINSPRING_CONCURENCY" in told
    assert "Did you mean 'MAINSPRING_CONCURRENCY'?" in told


@pytest.mark.parametrize("name", ["MAINSPRING_PORT", "MAINSPRING_SERVICE_HOST", "MAINSPRING_PORT_6379_TCP_ADDR"])
def test_variables_that_kubernetes_makes_are_nobodys_slip(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1")
    shop.ok("config")


WRONG = [
    ("concurrency", "many"),
    ("concurrency", "0"),
    ("processes", "0"),
    ("grace", "long"),
    ("queues", "a,,b"),
    ("queues", "a:b"),
    ("log_level", "loud"),
    ("log_format", "xml"),
    ("cpu_max_memory", "5XX"),
    ("beat", "10s"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_named_with_its_place(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    setting = SETTINGS[name]
    assert setting.flag in refused(shop, "config", setting.flag, value)
    path = project(shop, f"{name} = {json.dumps(value)}")
    assert f"{name} of [tool.mainspring] in {path}" in refused(shop, "config")
    monkeypatch.setenv(setting.variable, value)
    told = refused(shop, "worker", "shop:app")
    assert setting.variable in told
    assert value in told


def test_names_are_told_as_what_they_are(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_QUEUES", ",")
    wanted = "error: bad MAINSPRING_QUEUES: ','. Expected names, by commas or as a list."
    assert refused(shop, "config") == f"{wanted}\n"
    monkeypatch.setenv("MAINSPRING_QUEUES", "a:b")
    assert "bad queue or task name: 'a:b'" in refused(shop, "config")


def test_a_worker_is_refused_with_the_place_of_an_unknown_task(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_TASKS", "send,nothing")
    told = refused(shop, "worker", "shop:app")
    assert "'nothing'" in told
    assert "(MAINSPRING_TASKS)" in told


@pytest.mark.parametrize(
    "text", ["concurrency = true", "concurrency = 1.5", "app = 5", "queues = 5", "grace = true", "log_level = 5"]
)
def test_a_value_of_another_type_is_wrong(shop: Shop, text: str) -> None:
    path = project(shop, text)
    assert f"{text.partition(' ')[0]} of [tool.mainspring] in {path}" in refused(shop, "config")


def test_a_file_that_is_no_toml_is_named(shop: Shop) -> None:
    path = shop.folder / "pyproject.toml"
    path.write_text("[tool.mainspring\n")
    assert str(path) in refused(shop, "config")
    path.write_text("[tool]\nmainspring = 5\n")
    assert str(path) in refused(shop, "config")


# -- nothing is left out -----------------------------------------------------------------------------------------------


def test_every_field_of_a_worker_is_a_setting_with_a_text() -> None:
    own = [field for field in fields(WorkerSettings) if field.init and field.name not in NOT_SET_HERE]
    assert own
    for field in own:
        assert str(field.type).removesuffix(" | None") in BY_TYPE, f"{field.name}: give its type a kind"
        assert SETTINGS[field.name].help, f"{field.name}: say in the docstring of WorkerSettings what it does"


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "app"])
def test_help_names_the_flag_the_variable_and_the_default(
    shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = " ".join(shop.ok("worker", "--help").split())
    setting = SETTINGS[name]
    default = f"; default: {setting.shown_default}" if setting.shown_default else ""
    assert setting.flag in told
    assert f"[env: {setting.variable}{default}]" in told
