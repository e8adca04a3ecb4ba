"""Nothing that users can write is missing from the documents. What there is, is found by introspection.

`WRITTEN` are the pages that people have written; the reference is made from the source, so that it has every name is
no merit. What needs an explanation or an example is looked for in `WRITTEN`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

import mainspring
from mainspring.admin.schedules import Schedules
from mainspring.cli.settings import SETTINGS
from mainspring.core.options import TASK_OPTIONS
from mainspring.core.request import CALL_OPTIONS
from mainspring.core.schedule_options import OPTIONS
from mainspring.core.schedule_status import STATUSES
from mainspring.process import child
from mainspring.worker import heartbeat, worker
from mainspring.worker.settings import WorkerSettings
from tests.docs import commands_page, reference
from tests.docs.docstrings import fields, methods
from tests.docs.pages import ROOT
from tests.house.errors_page import classes

PAGES = {path.relative_to(ROOT / "docs"): path.read_text() for path in sorted(ROOT.glob("docs/**/*.md"))}
DOCS = {path.stem: text for path, text in PAGES.items() if len(path.parts) == 1}
WRITTEN = "\n".join(text for path, text in PAGES.items() if path.parts[0] not in ("reference", "decisions"))
REFERENCE = {path.stem: text for path, text in PAGES.items() if path.parts[0] == "reference"}
NOT_FOR_EVERYBODY = {"id", "owns_process"}
"""Settings of a worker that its own parent makes."""


def missing(names: Iterable[str], text: str, form: str = "`{}`") -> list[str]:
    """The names that a text does not have in that form."""
    return [name for name in names if form.format(name) not in text]


def settings() -> list[str]:
    fields = WorkerSettings.__dataclass_fields__.values()
    return [field.name for field in fields if field.init and field.name not in NOT_FOR_EVERYBODY]


def test_task_options_are_explained() -> None:
    assert missing((option for option in TASK_OPTIONS if option != "description"), DOCS["tasks"]) == []


def test_call_options_are_explained() -> None:
    assert missing(CALL_OPTIONS, DOCS["tasks"]) == []


def test_schedule_options_are_explained() -> None:
    assert missing(OPTIONS, DOCS["schedules"]) == []


def test_retry_and_debounce_options_are_explained() -> None:
    known = [name for policy in (mainspring.Retry, mainspring.Debounce) for name, *_ in fields(policy)]
    assert {"max_attempts", "backoff", "window", "max_wait"} <= set(known)
    text = DOCS["retries"] + DOCS["uniqueness"]
    assert [name for name in known if not re.search(rf"`{name}`|\b{name}=", text)] == []


def test_acts_on_schedules_are_explained() -> None:
    acts = [name for name in vars(Schedules) if not name.startswith("_")]
    assert missing(acts, DOCS["schedules"], "app.schedules.{}(") == []
    assert missing(acts, DOCS["schedules"]) == []


def test_statuses_of_schedules_are_explained() -> None:
    assert missing(STATUSES, DOCS["schedules"], "| `{}` |") == []


def test_worker_settings_are_explained() -> None:
    assert missing(settings(), WRITTEN) == []


def test_settings_by_flag_variable_and_key_are_documented() -> None:
    assert missing((setting.variable for setting in SETTINGS.values()), REFERENCE["commands"], "| `{}` |") == []
    assert missing((setting.flag for setting in SETTINGS.values()), REFERENCE["commands"], "| `{}` |") == []
    own = [name for name in SETTINGS if name not in WorkerSettings.__dataclass_fields__]
    assert missing((SETTINGS[name].flag for name in own), WRITTEN, "{}") == []


def test_commands_are_shown_in_use() -> None:
    names = [name for name, _ in commands_page.commands()]
    assert len(names) > 30
    assert missing(names, WRITTEN, "{}") == []


def test_options_of_commands_are_documented() -> None:
    sections = dict(
        re.findall(r"^## (mainspring.*?)\n(.*?)(?=^## |\Z)", REFERENCE["commands"], re.MULTILINE | re.DOTALL)
    )
    undocumented = {
        name: lost
        for name, command in commands_page.commands()
        if (lost := missing(commands_page.options(command), sections.get(name, "")))
    }
    assert undocumented == {}


def test_options_of_commands_say_what_they_do() -> None:
    mute = [
        f"{name} {parameter.opts[0]}"
        for name, command in commands_page.commands()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.help and not getattr(parameter, "hidden", False)
    ]
    assert mute == []


def test_public_names_are_used_in_the_pages() -> None:
    names = [name for name in mainspring.__all__ if not name.startswith("_")]
    used = WRITTEN + REFERENCE["errors"]
    assert [name for name in names if not re.search(rf"\b{name}\b", used)] == []


def test_names_for_tests_are_used_in_the_pages() -> None:
    assert [name for name in reference.testing_names() if not re.search(rf"\b{name}\b", WRITTEN)] == []


def test_parts_of_the_app_are_used_in_the_pages() -> None:
    assert {"jobs", "dead_letters", "queues", "schedules", "locks"} <= reference.sdk().keys()
    assert missing(reference.sdk(), WRITTEN, "app.{}") == []


def test_public_functions_say_what_they_do() -> None:
    """The reference is made from the docstrings, so there are some."""
    parts = {**reference.public(), **{f"app.{name}": part for name, part in reference.sdk().items()}}
    mute = [
        f"{owner}.{name}"
        for owner, part in parts.items()
        if inspect.isclass(part) and not issubclass(part, BaseException)
        for name, function in methods(part)
        if not inspect.getdoc(function)
    ]
    assert [name for name, part in parts.items() if inspect.isclass(part) and not part.__doc__] == []
    assert sorted(mute) == sorted(SELF_EVIDENT)


SELF_EVIDENT: set[str] = set()
"""Of which the name and the type say all."""


def test_errors_are_documented() -> None:
    assert len(classes()) > 20
    assert missing((error.__name__ for error in classes()), REFERENCE["errors"], "\n## {}\n") == []


def test_events_that_call_for_somebody_are_explained() -> None:
    loud = [event for event, (level, _) in reference.events().items() if level in ("warning", "error", "critical")]
    assert len(loud) > 15
    assert missing(loud, WRITTEN) == []


def test_exit_codes_are_documented() -> None:
    codes = [child.EXIT_FAILED, child.EXIT_ORPHANED, heartbeat.EXIT_STALLED, worker.EXIT_STUCK, 0]
    assert missing(map(str, codes), DOCS["workers"], "| {} |") == []


def test_the_reference_is_made_from_the_source() -> None:
    different = [path.name for path, text in reference.pages().items() if not path.exists() or path.read_text() != text]
    assert not different, "run: make reference"


def test_version_is_in_changelog() -> None:
    assert f"## {mainspring.__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    assert len(pages) >= 9
    assert [page.name for page in pages if page.name not in index] == []


def test_every_document_is_in_the_index() -> None:
    indexes = {path.parent: text for path, text in PAGES.items() if path.name == "README.md"}
    lost = [
        str(path)
        for path in PAGES
        if f"({path.name})" not in indexes.get(path.parent, "") and f"({path})" not in DOCS["README"]
    ]
    assert lost == ["README.md"]
