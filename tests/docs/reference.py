"""Writes the reference from the docstrings: `python -m tests.docs.reference`, or `make reference`. A test compares.

What stands in it is found by introspection, so a new name needs a docstring and nothing else.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mainspring
from mainspring import Mainspring, testing
from mainspring.cli.settings import SETTINGS
from mainspring.core.options import TaskOptions
from mainspring.core.policy import Debounce, Retry
from mainspring.core.request import CallOptions
from mainspring.core.schedule_options import RunOptions, TimingOptions
from mainspring.registry import Define
from mainspring.worker.settings import WorkerSettings
from tests.docs import commands_page, included
from tests.docs.docstrings import fields, methods, prose, signatures, summary
from tests.docs.pages import ROOT
from tests.house import errors_page
from tests.house.source import calls, modules

FOLDER = ROOT / "docs" / "reference"
MADE = "This page is made from the source; `make reference` writes it, and a test compares."
ELSEWHERE = {"Context", "Retry", "Debounce"}
"""Public names that have a page of their own, or stand with the options."""
MADE_BY_US = {"Context", "JobHandle", "Request", "Task"}
"""How these are made is nobody's business but ours."""
SDK = ("mainspring.admin", "mainspring.audit", "mainspring.leases", "mainspring.sync")


def public() -> dict[str, Any]:
    """What `from mainspring import …` offers, without the errors."""
    found = {name: getattr(mainspring, name) for name in mainspring.__all__ if not name.startswith("__")}
    return {name: value for name, value in found.items() if not _is_error(value)}


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, mainspring.MainspringError)


def sdk() -> dict[str, type]:
    """`app.jobs`, `app.queues` and their like: the parts of an app with which people operate it."""
    app = Mainspring("sqlite://:memory:")
    names = [name for name in dir(app) if not name.startswith("_") and not callable(getattr(Mainspring, name, None))]
    parts = {name: type(value) for name in names if (value := _value(app, name)) is not None}
    return {name: part for name, part in parts.items() if part.__module__.startswith(SDK)}


def _value(app: Mainspring, name: str) -> object:
    try:
        return getattr(app, name)
    except (RuntimeError, mainspring.MainspringError):  # what needs a running event loop is no part of this
        return None


def sdk_records() -> dict[str, type]:
    """What the parts of an app take and answer."""
    admin = importlib.import_module("mainspring.admin")
    return {name: getattr(admin, name) for name in admin.__all__ if getattr(admin, name) not in sdk().values()}


def testing_names() -> dict[str, Any]:
    """The public names of `mainspring.testing`."""
    own = [
        name for name, value in vars(testing).items() if getattr(value, "__module__", "").startswith(testing.__name__)
    ]
    names = getattr(testing, "__all__", [name for name in own if not name.startswith("_")])
    return {name: getattr(testing, name) for name in names}


OPTIONS: list[tuple[str, str, type]] = [
    ("Options of a task", '`@app.task(queue="emails", retries=3)`', TaskOptions),
    ("Options of a call", '`task.options(delay="5m").enqueue(...)`', CallOptions),
    ("Times of a schedule", '`@app.cron("0 9 * * 1-5")`, `app.schedules.create(..., every="5m")`', TimingOptions),
    ("Runs of a schedule", "Beside its times.", RunOptions),
    ("Retry", "`retry=Retry(...)`, of a task, a call or a schedule.", Retry),
    ("Debounce", "`debounce=Debounce(...)`, of a task.", Debounce),
    (
        "Settings of a worker",
        "`app.worker(concurrency=50)`; on the command line: [settings](commands.md).",
        WorkerSettings,
    ),
]


def pages() -> dict[Path, str]:
    """Every page of the reference, by its file."""
    made = {
        "mainspring": _page("mainspring", "What `from mainspring import …` offers.", _public()),
        "context": _page(
            "Context", "What a handler sees of its run, and can do in it.", _class("Context", mainspring.Context)
        ),
        "administration": _page("Administration", "What operates the jobs of an app.", _sdk()),
        "testing": _page("mainspring.testing", "What `from mainspring.testing import …` offers.", _testing()),
        "options": _page("Options and settings", "All that tasks, calls, schedules and workers may say.", _options()),
        "commands": _page("Commands", "The command line, and its settings.", commands_page.sections()),
        "events": _page("Events", "What happens, as listeners are told and as it is logged.", _events()),
    }
    texts = {FOLDER / f"{name}.md": text for name, text in made.items()}
    return {FOLDER / "README.md": _index(), **texts, FOLDER / "errors.md": errors_page.page()}


def _page(title: str, intro: str, parts: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", intro, MADE, *parts]).rstrip() + "\n"


def _index() -> str:
    rows = [
        "# Reference",
        "Every name, option, command, event and error. The [other pages](../README.md) say what they are for.",
        "- [mainspring](mainspring.md): the app, tasks, jobs, handles, and what handlers raise",
        "- [Context](context.md): what a handler sees and can do",
        "- [Options and settings](options.md): of tasks, calls, retries, schedules and workers",
        "- [Administration](administration.md): " + ", ".join(f"`app.{name}`" for name in sdk()),
        "- [Commands](commands.md): `mainspring worker` and the others, and their settings",
        "- [Errors](errors.md): what is raised, and what to do",
        "- [Events](events.md): what listeners are told, and what is logged",
        "- [mainspring.testing](testing.md): for your tests",
        MADE.replace("This page is", "These pages are").replace(" it,", " them,"),
    ]
    return "\n\n".join(rows[:2]) + "\n\n" + "\n".join(rows[2:-1]) + f"\n\n{rows[-1]}\n"


def _public() -> Iterator[str]:
    for name, value in public().items():
        if name not in ELSEWHERE:
            yield from _entry(name, value)
    yield "`Context` has [a page of its own](context.md), `Retry` and `Debounce` stand with the [options](options.md)."


def _entry(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class(name, value)
    elif callable(value):
        yield f"## {name}"
        yield from _function(name, value)
    else:
        yield f"## {name}\n\n{_shown(value)}"


def _shown(value: object) -> str:
    return prose(type(value).__doc__) if type(value).__module__.startswith("mainspring") else f"`{value!r}`"


def _class(name: str, each: type) -> Iterator[str]:
    yield f"## {name}"
    ours = name in MADE_BY_US or name.startswith("app.")
    if "__init__" in vars(each) and not ours and not issubclass(each, BaseException | dict):
        yield "```py\n" + "\n".join(signatures(name, each)) + "\n```"
    yield prose(each.__doc__)
    rows = _rows(each)
    if rows:
        yield rows
    if each is Mainspring:
        yield "### Mainspring.task"
        yield from _function("app.task", Define.__call__)
    for method, function in methods(each):
        yield from _method(name, method, function)


def _rows(each: type) -> str:
    """The fields of a record as a table; values of an enumeration as a list."""
    if hasattr(each, "__members__"):
        return "\n".join(f"- `{member.value}`" for member in each)  # type: ignore[attr-defined]
    found = fields(each)
    if not found or typing.is_typeddict(each):
        return ""
    head = "| field | type | default | |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{name}` | `{_cell(kind)}` | {f'`{_cell(default)}`' if default else ''} | {_cell(text)} |"
        for name, kind, default, text in found
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _method(owner: str, name: str, function: Any) -> Iterator[str]:
    yield f"### {owner}.{name}"
    if isinstance(function, property) or type(function).__name__ == "cached_property":
        getter = getattr(function, "fget", None) or function.func
        answer = inspect.signature(getter).return_annotation
        yield f"```py\n{name}: {answer}\n```"
        yield prose(getter.__doc__)
    else:
        yield from _function(name, getattr(function, "__func__", function))


def _function(name: str, function: Any) -> Iterator[str]:
    yield "```py\n" + "\n".join(signatures(name, function)) + "\n```"
    yield prose(function.__doc__)


def _sdk() -> Iterator[str]:
    parts = sdk()
    yield "\n".join(
        ["| | |", "|---|---|", *(f"| `app.{name}` | {_cell(summary(part))} |" for name, part in parts.items())]
    )
    for name, part in parts.items():
        yield from _class(f"app.{name}", part)
    for name, record in sdk_records().items():
        yield from _class(name, record)


def _testing() -> Iterator[str]:
    yield prose(testing.__doc__)
    for name, value in testing_names().items():
        yield from _entry(name, value)


def _options() -> Iterator[str]:
    for title, use, each in OPTIONS:
        yield f"## {title}"
        yield use
        yield prose(each.__doc__)


EVENTS_INTRO = """\
Mainspring logs to the logger `mainspring`: one record for each event, with the event's name and its fields in `extra`.
[Those to watch for](../operations.md#logs) are explained where operating is. Arguments and results of jobs are never
logged."""


LEVELS = ("debug", "info", "warning", "error", "critical")


@cache
def events() -> dict[str, tuple[str, tuple[str, ...]]]:
    """The loudest level and the fields of each event, as the source says them."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for path in modules():
        for event, level, names in _emitted(path):
            before, known = found.get(event, ("debug", ()))
            found[event] = (max(before, level, key=LEVELS.index), tuple(dict.fromkeys((*known, *names))))
    return dict(sorted(found.items()))


def _emitted(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    for node in calls(path, "emit"):
        for name in ast.walk(node.args[0]):
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                level = ast.unparse(node.args[1]).removeprefix("logging.").lower() if len(node.args) > 1 else "info"
                known = level if level in LEVELS else "warning"  # one that is worked out
                yield name.value, known, [key.arg for key in node.keywords if key.arg and key.arg != "exc_info"]


def _events() -> Iterator[str]:
    yield "## For listeners"
    yield "What `app.on(...)` may be told, each with an [`AppEvent`](mainspring.md#appevent):"
    yield "\n".join(f"- `{name}`" for name in mainspring.EVENTS)
    yield "## In the log"
    yield EVENTS_INTRO
    rows = [
        f"| `{event}` | {level} | {', '.join(f'`{name}`' for name in names)} |"
        for event, (level, names) in events().items()
    ]
    yield "\n".join(["| event | level | fields |", "|---|---|---|", *rows])
    yield "\n".join(f"- `{name}`: {setting.help}" for name, setting in SETTINGS.items() if name.startswith("log_f"))


def write() -> None:
    for path, text in pages().items():
        path.write_text(text)
    included.write()


if __name__ == "__main__":
    write()
