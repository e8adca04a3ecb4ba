"""Finding the tasks of an app in another process than the one that made them: by names of modules, never by pickle."""

from __future__ import annotations

import importlib
import os
import runpy
import sys
import types
from collections.abc import Mapping
from typing import Any

from mainspring.core.task import Task
from mainspring.errors import DefinitionError
from mainspring.worker.wire import MAIN, Setup


def load(setup: Setup) -> dict[str, Task[Any, Any]]:
    """Import what `setup` names; answers its tasks by name.

    Raises `DefinitionError` where one is not found, and whatever the modules raise.
    """
    sys.path[:] = setup.path
    os.environ.pop("PYTHONPATH", None)
    if setup.pythonpath is not None:
        os.environ["PYTHONPATH"] = setup.pythonpath
    sys.argv[:] = setup.argv
    if setup.main is not None:
        _load_main(*setup.main)
    for name in setup.modules:
        importlib.import_module(name)
    known = _tasks_of(setup)
    missing = [name for name in setup.tasks if name not in known]
    if missing:
        raise DefinitionError(
            f"cannot find the task {missing[0]!r} in another process: looked in {_where(setup)}. Expected the app, or "
            "the task itself, to be a name of a module that can be imported without running the program."
        )
    return {name: known[name] for name in setup.tasks}


def _load_main(kind: str, name: str) -> None:
    module = types.ModuleType(MAIN)
    sys.modules[MAIN] = sys.modules["__main__"] = module
    if kind == "module":
        content = runpy.run_module(name, run_name=MAIN, alter_sys=True)
    else:
        content = runpy.run_path(name, run_name=MAIN)
    vars(module).update(content)
    sys.modules[MAIN] = sys.modules["__main__"] = module


def _tasks_of(setup: Setup) -> Mapping[str, Task[Any, Any]]:
    if setup.app is not None:
        module, attribute = setup.app
        app = getattr(importlib.import_module(MAIN if module == "__main__" else module), attribute)
        if all(name in app.tasks for name in setup.tasks):
            return app.tasks  # type: ignore[no-any-return]
    modules = [importlib.import_module(name) for name in setup.modules]
    if setup.main is not None:
        modules.append(sys.modules[MAIN])
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Task)]
    return {name: task for task in found for name in (task.name, *task.aliases)}


def _where(setup: Setup) -> str:
    places = [*setup.modules, *([] if setup.main is None else [setup.main[1]])]
    if setup.app is not None:
        places.append(":".join(setup.app))
    return ", ".join(dict.fromkeys(places)) or "no module at all"
