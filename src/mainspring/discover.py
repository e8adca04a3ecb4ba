"""Handler modules: tasks by one file per handler, found in a package or in a folder.

A module that defines tasks with `@app.task` counts as it is; any other one exports a single function, which becomes a
task named after the file. A folder is treated as a package with a made-up name, so that files of the same name in two
folders are two modules. Nothing outside the package or the folder is looked at, and `sys.path` stays as it is.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

from mainspring.core.task import Task
from mainspring.errors import DefinitionError
from mainspring.registry import Define

TARGET = 'Expected a package by its dotted name, such as "myapp.tasks", or a folder of .py files by its path.'
HANDLER = "Expected a function called handler, run or {name}, or a single public one; or tasks made with @app.task"
OPTIONS = "OPTIONS"
"""The name of a module's dict of options for its task."""


class Tasks(Protocol):
    """The part of an app that is needed here."""

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]: ...

    @property
    def task(self) -> Define: ...


class Place(NamedTuple):
    """A module that is there, imported or not."""

    name: str
    file: str

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]


def discover(app: Tasks, target: str | Path) -> list[str]:
    """Import every module of a package, given by its dotted name, or of a folder, given by its path; define a task for
    each that exports a handler. Answers the names of the tasks that came to be, in their order; twice is once.

    Raises `DefinitionError`, which names the file, for what is not there, cannot be imported, exports no handler or
    several, or takes a name that is taken. The tasks of the modules before it stay.
    """
    importlib.invalidate_caches()  # a file that was written a moment ago is there
    before = set(app.tasks)
    root = _root(target)
    found = False
    for place in _places(root):
        found = True
        _take(app, place)
    if not found and not _own_tasks(app, root.__name__):
        raise DefinitionError(f"no modules in {target}: it is empty. {TARGET}")
    return [name for name in app.tasks if name not in before]


# -- finding ---------------------------------------------------------------------------------------------------------


def _root(target: str | Path) -> ModuleType:
    if isinstance(target, str) and target and all(part.isidentifier() for part in target.split(".")):
        return _import_target(target)
    if not isinstance(target, str | Path) or not target:
        raise DefinitionError(f"cannot look for handlers in {target!r}. {TARGET}")
    folder = Path(target).resolve()
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is nothing"
        raise DefinitionError(f"no folder {str(folder)!r}: {what}. {TARGET}")
    return _package_of(folder)


def _import_target(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(Place(name, _file_of(name)), error) from error
        near = Path(*name.split("."))
        more = f' There is a folder of that name: Path("{near}") means it.' if near.is_dir() else ""
        raise DefinitionError(f"no package {name!r}: {error}. {TARGET}{more}") from error
    except (Exception, SystemExit) as error:
        raise _broken(Place(name, _file_of(name)), error) from error


def _package_of(folder: Path) -> ModuleType:
    """The folder as a package: modules in it may import each other by relative imports."""
    digest = hashlib.blake2b(str(folder).encode(), digest_size=6).hexdigest()
    name = f"_mainspring_{digest}_{folder.name.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    first = folder / "__init__.py"
    if first.is_file():
        spec = importlib.util.spec_from_file_location(name, first, submodule_search_locations=[str(folder)])
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        if first.is_file() and spec.loader is not None:
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(Place(name, str(first)), error) from error
    return module


def _places(module: ModuleType) -> Iterator[Place]:
    """The modules of a package and of its sub-packages, by name; a module is its own only one."""
    if not hasattr(module, "__path__"):
        yield Place(module.__name__, getattr(module, "__file__", None) or module.__name__)
        return
    inner = sorted(pkgutil.iter_modules(module.__path__), key=lambda found: found.name)
    for found in inner:
        if found.name.startswith("_"):
            continue
        place = Place(f"{module.__name__}.{found.name}", _file_of(f"{module.__name__}.{found.name}"))
        if found.ispkg:
            yield from _places(_import(place))
        else:
            yield place


def _file_of(name: str) -> str:
    try:
        spec = importlib.util.find_spec(name)
    except (Exception, SystemExit):  # a package around it that is broken
        spec = None
    return name if spec is None or spec.origin is None else spec.origin


def _import(place: Place) -> ModuleType:
    try:
        return importlib.import_module(place.name)
    except (Exception, SystemExit) as error:
        raise _broken(place, error) from error


def _broken(place: Place, error: BaseException) -> DefinitionError:
    said = str(error)
    return DefinitionError(
        f"cannot import {place.file}: {type(error).__name__}{': ' if said else ''}{said}. Expected a module that can "
        'be imported; one whose name begins with "_" is left out.'
    )


# -- taking ----------------------------------------------------------------------------------------------------------


def _take(app: Tasks, place: Place) -> None:
    """Import a module, and see to it that its tasks are defined."""
    module = _import(place)
    if _own_tasks(app, module.__name__):
        return
    handler = _handler(module, place)
    if handler is None:
        if not any(task in app.tasks.values() for task in _tasks_in(module)):
            raise _no_handler(module, place)
        return  # it makes tasks of functions of other modules
    try:
        options = {"name": place.stem.replace("_", "-"), **_options(module)}
        if all(name != options["name"] or task.function is not handler for name, task in app.tasks.items()):
            app.task(**options)(handler)
    except DefinitionError as error:
        raise DefinitionError(f"bad handler module {place.file}: {error}") from error


def _own_tasks(app: Tasks, module: str) -> list[str]:
    """The tasks of this app whose functions stand in this module."""
    return [name for name, task in app.tasks.items() if task.__module__ == module]


def _tasks_in(module: ModuleType) -> list[Task[Any, Any]]:
    return [value for value in vars(module).values() if isinstance(value, Task)]


def _options(module: ModuleType) -> dict[str, Any]:
    options = getattr(module, OPTIONS, {})
    if not isinstance(options, dict):
        raise DefinitionError(
            f'bad {OPTIONS}: {options!r}. Expected a dict of options of a task, such as {{"timeout": "5m"}}.'
        )
    return cast("dict[str, Any]", options)


def _handler(module: ModuleType, place: Place) -> Any:
    """The function that a module exports, None if there is none. Raises `DefinitionError` for several."""
    if _callable(chosen := getattr(module, "handler", None)):
        return chosen  # perhaps made elsewhere: the name says what it is for
    own = {name: value for name, value in vars(module).items() if _callable(value) and _defined_in(module, value)}
    for name in ("run", place.stem.replace("-", "_")):
        if name in own:
            return own[name]
    public = {id(value): name for name, value in own.items() if not name.startswith("_")}
    if len(public) > 1:
        raise DefinitionError(
            f"several functions in {place.file}: {', '.join(public.values())}. {_expected(place)}. Call one of them "
            'handler, or let the names of the others begin with "_".'
        )
    return own[next(iter(public.values()))] if public else None


def _callable(value: object) -> bool:
    return callable(value) and not inspect.isclass(value) and not isinstance(value, Task)


def _defined_in(module: ModuleType, value: object) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _no_handler(module: ModuleType, place: Place) -> DefinitionError:
    foreign = [task.name for task in _tasks_in(module)]
    if foreign:
        return DefinitionError(
            f"tasks of another app in {place.file}: {', '.join(foreign)}. Expected @app.task of the app that looks for "
            "them. A program that is started as a script, and imported by its handlers, is there twice."
        )
    return DefinitionError(
        f"no handler in {place.file}. {_expected(place)}. A module that is none has a name that begins with '_'."
    )


def _expected(place: Place) -> str:
    return HANDLER.format(name=place.stem.replace("-", "_"))
