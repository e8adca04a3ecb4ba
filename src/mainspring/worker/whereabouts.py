"""Where another process finds the tasks of a worker: the modules that hold its app and its cpu handlers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mainspring import logs
from mainspring.core.task import Task
from mainspring.errors import DefinitionError
from mainspring.worker.wire import MAIN, Setup

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker


def whereabouts(worker: Worker) -> Setup:
    """What a nursery must know. Raises `DefinitionError` for a handler that no other process could find."""
    if getattr(sys.modules["__main__"], "__name__", "") == MAIN:  # the name alone is taken by multiprocessing
        raise DefinitionError(
            "a worker was started by a module that was imported to find its cpu handlers. Expected the program to "
            'start it below `if __name__ == "__main__":`, so that the module can be imported without running it.'
        )
    tasks = {name: task for name, task in worker.tasks.items() if task.cpu}
    app = _holder_of(worker.app)
    modules = sorted({m for task in tasks.values() if (m := task.__module__) and m in sys.modules})
    if app is None:
        for task in tasks.values():
            _check_findable(task)
    main = "__main__" in modules or (app is not None and app[0] == "__main__")
    return Setup(
        path=list(sys.path),
        pythonpath=os.environ.get("PYTHONPATH"),
        argv=sys.argv,
        main=_main() if main else None,
        app=app,
        modules=[name for name in modules if name != "__main__" and not name.startswith("_mainspring_")],
        tasks=sorted(tasks),
        max_jobs=worker.settings.cpu_max_jobs or 0,
        max_memory=worker.settings.cpu_max_memory_bytes,
        logging=logs.configured,
        url=worker.app.url,
    )


def _holder_of(app: object) -> tuple[str, str] | None:
    """The module and the name in it that hold this very app."""
    found = [
        (module_name, name)
        for module_name, module in list(sys.modules.items())
        if module_name != MAIN  # as multiprocessing calls "__main__", too
        for name, value in list(getattr(module, "__dict__", {}).items())
        if value is app and not name.startswith("__")
    ]
    # Another module than the program's own, where there is one: that is imported without running anything.
    return min(found, key=lambda place: place[0] == "__main__", default=None)


def _check_findable(task: Task[..., object]) -> None:
    module = sys.modules.get(task.__module__)
    if module is None or not any(value is task for value in vars(module).values()):
        raise DefinitionError(
            f"the cpu handler of task {task.name!r} cannot be found by another process: neither its app nor the task "
            f"is a name of a module (it is defined in {task.__module__}). Expected app = Mainspring(...), or the task, "
            "at the top level of a module."
        )


def _main() -> tuple[str, str]:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return "module", spec.name
    file = getattr(main, "__file__", None)
    if file is None or not os.path.exists(file):  # read from standard input, it says "<stdin>"
        raise DefinitionError(
            "cpu handlers of a program without a file cannot be found by another process. Expected them in a module."
        )
    return "file", file
