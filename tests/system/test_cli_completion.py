"""Completion in a real bash, by the script that `mainspring completion bash` prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import mainspring
from mainspring import Mainspring
from mainspring.cli import app as commands
from mainspring.cli.completion import attach
from tests.system.cli_shop import Shop

pytestmark = pytest.mark.slow

TRY = """
source <(mainspring completion bash)
for line in "$@"; do
    IFS=$'\\t' read -r -d '' -a COMP_WORDS < <(printf '%s\\t\\0' "$line")
    [[ $line == *$'\\t' ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _mainspring_completion mainspring
    echo "${COMPREPLY[*]}"
done
complete -p mainspring
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    binary = tmp_path / "bin" / "mainspring"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m mainspring.cli "$@"\n')
    binary.chmod(0o755)
    return made


def complete(shop: Shop, *lines: str, app: str = "shop:app") -> list[list[str]]:
    """What bash offers after each of these lines, whose words are as bash has taken them apart; "" begins a word."""
    environment = {
        "PATH": f"{shop.folder}/bin:/usr/bin:/bin",
        "PYTHONPATH": str(Path(mainspring.__file__).parents[1]),
        "MAINSPRING_APP": app,
    }
    typed = ["\t".join(["mainspring", *line.split(" ")]) for line in lines]
    done = subprocess.run(
        ["bash", "--norc", "-c", TRY, "bash", *typed],
        cwd=shop.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    *offered, registered = done.stdout.splitlines()
    assert registered.endswith("-F _mainspring_completion mainspring")
    return [line.split() for line in offered]


def test_commands_words_and_names_of_the_code_make_no_database(shop: Shop) -> None:
    first, shells, levels, tasks, queues, statuses = complete(
        shop,
        "",
        "completion ",
        "worker --log-level d",
        "enqueue se",
        "jobs list --app shop : app --queue em",
        "jobs list --status running,re",
    )
    assert {"jobs", "worker", "watch", "dev", "config"} <= set(first)
    assert shells == ["bash", "zsh", "fish"]
    assert (levels, tasks, queues) == (["debug"], ["send"], ["emails"])
    assert statuses == ["running,retrying"]
    assert not (shop.folder / "shop.db").exists()


def test_names_come_from_the_store_too(shop: Shop) -> None:
    async def fill(app: Mainspring) -> str:
        app.task(name="other", queue="elsewhere")(_nothing)
        await app.schedules.create("nightly", "other", cron="@daily")
        return (await app.enqueue("other")).id

    id = shop.call(fill)
    queues, schedules, jobs, dead = complete(shop, "queues pause ", "schedules show ", "watch ", "dead retry ")
    assert {"elsewhere", "emails"} <= set(queues)
    assert schedules == ["nightly"]
    assert jobs == [id]
    assert dead == []  # it waits


def _nothing() -> None: ...


def test_what_goes_wrong_completes_nothing_and_says_nothing(shop: Shop) -> None:
    (shop.folder / "loud.py").write_text(
        "import sys\nprint('noise')\nprint('noise', file=sys.stderr)\nfrom shop import app\n"
    )
    (shop.folder / "ends.py").write_text("import sys\nsys.exit(3)\n")
    assert complete(shop, "enqueue s", app="loud:app") == [["send"]]
    assert complete(shop, "enqueue s", "jobs list --sta", app="ends:app") == [[], ["--status"]]
    assert complete(shop, "enqueue s", app="redis://127.0.0.1:1") == [[]]
    (shop.folder / "shop.db").write_text("not a database, but text " * 100)
    assert complete(shop, "enqueue s") == [["send"]]


def test_an_import_that_never_ends_is_given_up(shop: Shop) -> None:
    (shop.folder / "hangs.py").write_text("import threading\nthreading.Event().wait()\n")
    assert complete(shop, "enqueue s", app="hangs:app") == [[]]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shop: Shop, shell: str) -> None:
    told = shop.ok("completion", shell)
    assert "_MAINSPRING_COMPLETE" in told
    assert f"complete_{shell}" in told


def test_an_unknown_shell_is_wrong_use(shop: Shop) -> None:
    result = shop.run("completion", "tcsh")
    assert result.exit_code == 2
    assert "bash, zsh, fish" in result.stderr


def test_attaching_changes_no_command() -> None:
    attach(commands)
    attach(commands)
    assert typer.main.get_command(commands)
