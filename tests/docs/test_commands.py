"""Every command that the documents show exists, with the options that they give it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from mainspring.cli.settings import SETTINGS, Setting
from tests.docs.commands_page import commands, root
from tests.docs.pages import ROOT, blocks, pages


def shown(program: str) -> Iterator[str]:
    """The command lines of all pages that call `program`, without prompt and comment."""
    for page in pages():
        lines = [line for block in blocks(page) if block.language == "console" for line in block.code.splitlines()]
        inline = re.findall(rf"`({program} [^`…]+)`", page.read_text())
        lines += [f"$ {line}" for line in inline]
        for line in lines:
            line = re.sub(r"^\$ ([A-Z_]+=\S+ )+", "$ ", line)
            if line.startswith(f"$ {program} "):
                yield line.removeprefix("$ ")


COMMANDS = sorted(set(shown("mainspring")))
TARGETS = sorted({shlex.split(line, comments=True)[1] for line in shown("make")})


@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists(line: str) -> None:
    command = root()
    words = shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        assert words, f"{line!r} ends before its command"
        assert words[0] in command.commands, f"no command {words[0]!r} in {line!r}. There are: {list(command.commands)}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    assert not unknown, f"{line!r} has no option {unknown}. There are: {sorted(known)}"


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_has_an_example(name: str) -> None:
    shown_here = [line for block in blocks(ROOT / "docs" / "cli.md") for line in block.code.splitlines()]
    assert any(f"{line} ".startswith(f"$ {name} ") for line in shown_here), "give one on docs/cli.md"


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_setting_has_a_row(setting: Setting) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert f"| `{setting.name}` | `{setting.variable}` | `{setting.flag}` | " in text, (
        "give one on docs/configuration.md"
    )


def test_something_is_shown() -> None:
    assert len(COMMANDS) > 20
    assert {"demo", "test"} <= set(TARGETS)
