"""The settings of the command line: by flag, by environment, by `[tool.mainspring]`, by default; the first one counts.

A worker's settings are the fields of `WorkerSettings`, so a new field is a flag, a variable and a key at once. Every
value is read by its kind, wherever it stands, and a message about it names the place.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Annotated, Any

import typer

from mainspring.cli import completion, values
from mainspring.cli.project import TABLE, Project, read_project
from mainspring.cli.values import Kind
from mainspring.errors import DefinitionError, MainspringError, UnknownOption
from mainspring.logs import FORMATTERS
from mainspring.worker.settings import WorkerSettings

PREFIX = "MAINSPRING_"
LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = tuple(FORMATTERS)
FLAG, ENV, PROJECT, DEFAULT = "flag", "env", "pyproject", "default"
"""Where a value may come from, as `mainspring config` calls it."""
NOT_SET_HERE = {"id", "owns_process"}
"""Fields of a worker's settings that its own parent makes."""
SHORT = {"concurrency": "-c", "processes": "-p"}
COMPLETIONS = {
    "queues": completion.queue_names,
    "tasks": completion.task_names,
    "log_level": completion.words(*LEVELS),
    "log_format": completion.words(*FORMATS),
}
CLOSE = 0.75
"""How like a known variable an unknown one must be to count as a slip of the pen. Others are not ours: Kubernetes
makes MAINSPRING_PORT and MAINSPRING_SERVICE_HOST where a service has our name."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name in Python and in TOML, how it is read, its default, and what it does."""

    name: str
    kind: Kind
    default: Any
    help: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def shown_default(self) -> str:
        return "" if self.default is None else self.kind.show(self.default)


@dataclass(frozen=True, slots=True)
class Found:
    """The value of a setting, and where it stands."""

    setting: Setting
    value: Any
    source: str
    place: str = ""
    """The flag, the variable, or the key and its file; "" for a default."""

    @property
    def shown(self) -> str:
        """The value as text, without a password."""
        return "" if self.value is None else mask(self.setting.kind.show(self.value))


def _documented() -> dict[str, str]:
    """What the docstring of `WorkerSettings` says of each field: "lease, beat   a held job ..."."""
    told: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w)", inspect.getdoc(WorkerSettings) or ""):  # Python 3.13 takes the margin away
        names, gap, text = entry.strip().partition("  ")
        if gap:
            told |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return told


def _of_worker() -> Iterator[Setting]:
    told = _documented()
    for field in fields(WorkerSettings):
        if field.init and field.name not in NOT_SET_HERE:
            # The default stands in brackets after it.
            text = re.sub(r"\s*Default (?!None)[\w, ]+[.;]", "", told.get(field.name, "")).replace("`", "")
            yield Setting(field.name, _kind_of(field), field.default, text[:1].upper() + text[1:])


def _kind_of(field: Field[Any]) -> Kind:
    of_type = str(field.type).removesuffix(" | None")
    kind = values.BY_TYPE.get(of_type, values.TEXT)  # a test says so where a field has a type that is not known
    return values.or_none(kind) if of_type != field.type and field.default is not None else kind


APP = Setting("app", values.TEXT, None, "The app as module:app, or the URL of its store.")
OF_WORKER = tuple(_of_worker())
OF_PROCESS = (
    Setting("processes", values.POSITIVE, 1, "Worker processes, watched and replaced by a parent."),
    Setting("log_level", Kind("LEVEL", values.one_of(*LEVELS)), "info", f"{', '.join(LEVELS)}."),
    Setting("log_format", Kind("FORMAT", values.one_of(*FORMATS)), "text", f"{' or '.join(FORMATS)}, a line an event."),
)
SETTINGS = {setting.name: setting for setting in (APP, *OF_WORKER, *OF_PROCESS)}


class Settings(dict[str, Found]):
    """All settings by name, with where they stand."""

    def value(self, name: str) -> Any:
        return self[name].value

    def for_worker(self) -> dict[str, Any]:
        """What was said of the worker, and nothing that is a default. Raises `DefinitionError` where it cannot be."""
        given = {setting.name: self.value(setting.name) for setting in OF_WORKER if self[setting.name].place}
        try:
            WorkerSettings(**given)
        except DefinitionError as error:
            raise type(error)(f"{error}{self._places(str(error))}") from None
        return given

    def told(self, error: MainspringError) -> str:
        """What is wrong, and where the settings that it names stand."""
        return f"{error}{self._places(str(error))}"

    def _places(self, message: str) -> str:
        named = [found for found in self.values() if found.place and re.search(rf"\b{found.setting.name}\b", message)]
        return f" ({', '.join(found.place for found in named)})" if named else ""


def read_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str] | None = None, project: Project | None = None
) -> Settings:
    """Every setting. `flags`: what was given on the command line, by name; None is not given.

    Raises `DefinitionError` for a value that cannot be, `UnknownOption` for a key of the project that is not known and
    for a variable that is nearly one; both name the place.
    """
    environment = os.environ if environment is None else environment
    project = read_project() if project is None else project
    check_keys(project)
    _check_variables(environment)
    return Settings({name: _find(setting, flags, environment, project) for name, setting in SETTINGS.items()})


def _find(setting: Setting, flags: Mapping[str, Any], environment: Mapping[str, str], project: Project) -> Found:
    # An empty variable is none: that is how a shell or a compose file takes one back.
    for source, place, value in (
        (FLAG, setting.flag, flags.get(setting.name)),
        (ENV, setting.variable, environment.get(setting.variable) or None),
        (PROJECT, project.place(setting.name), project.values.get(setting.name)),
    ):
        if value is not None:
            return Found(setting, setting.kind.read(value, place), source, place)
    return Found(setting, setting.default, DEFAULT)


def find_name(flag: str | None) -> tuple[str | None, Project | None]:
    """The app's name, and the project that names it where that does. Raises as `read_settings` does."""
    if flag:
        return flag, None
    if named := os.environ.get(APP.variable):
        return named, None
    project = read_project()
    check_keys(project)
    found = _find(APP, {}, {}, project)
    return found.value, project if found.value else None


def check_keys(project: Project) -> None:
    """Raise `UnknownOption` for a key that no setting has."""
    for key in project.values:
        if key not in SETTINGS:
            where = f"{TABLE} of {project.path}"
            raise UnknownOption(f"unknown setting {key!r} in {where}. {_near(key, SETTINGS)}Known: {_all(SETTINGS)}.")


def _check_variables(environment: Iterable[str]) -> None:
    known = [setting.variable for setting in SETTINGS.values()]
    for name in environment:
        if name.startswith(PREFIX) and name not in known and (near := _near(name, known)):
            raise UnknownOption(f"unknown variable {name}. {near}Known: {_all(known)}.")


def _near(name: str, known: Iterable[str]) -> str:
    length = len(PREFIX) if name.startswith(PREFIX) else 0  # what all have in common says nothing
    parts = {each[length:]: each for each in known}
    near = difflib.get_close_matches(name[length:].replace("-", "_"), parts, n=1, cutoff=CLOSE if length else 0.6)
    return f"Did you mean {parts[near[0]]!r}? " if near else ""


def _all(names: Iterable[str]) -> str:
    return ", ".join(names)


def mask(text: str) -> str:
    """`text` without a password, where it is a URL."""
    if "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    shown = f"{scheme}://{user if colon else ''}{':' if colon else ''}***@{after}" if at else text
    return re.sub(r"((?:password|passwd|pwd)=)[^&]*", r"\1***", shown, flags=re.IGNORECASE)


# -- as options of commands --------------------------------------------------------------------------------------------


def flags_of(settings: Sequence[Setting]) -> dict[str, Any]:
    """The options of a command for these settings, by name. They only take text: `read_settings` reads all places."""
    return {setting.name: _option(setting) for setting in settings}


def _option(setting: Setting) -> Any:
    default = f"; default: {setting.shown_default}" if setting.shown_default else ""
    text = f"{setting.help} [env: {setting.variable}{default}]"
    if setting.kind is values.TRUTH:
        return Annotated[bool | None, typer.Option(f"{setting.flag}/--no-{setting.flag[2:]}", help=text)]
    names = [setting.flag, *([SHORT[setting.name]] if setting.name in SHORT else [])]
    option = typer.Option(*names, metavar=setting.kind.metavar, help=text, autocompletion=COMPLETIONS.get(setting.name))
    return Annotated[str | None, option]


WORKER_FLAGS = flags_of((*OF_WORKER, *OF_PROCESS))
