"""What a worker works on: the tasks and the queues that its settings choose of an app's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mainspring.errors import DefinitionError, UnknownTask

if TYPE_CHECKING:
    from mainspring.core.task import Task
    from mainspring.worker.settings import WorkerSettings


def served_queues(
    settings: WorkerSettings, tasks: Mapping[str, Task[Any, Any]], former: Collection[str] = ()
) -> list[str]:
    """`former`: the queues that these tasks were in before, where jobs of theirs may lie."""
    return list(settings.queues or sorted({*(task.queue for task in tasks.values()), *former})) or ["default"]


def chosen_tasks(tasks: Mapping[str, Task[Any, Any]], settings: WorkerSettings) -> dict[str, Task[Any, Any]]:
    """The tasks this worker runs. Raises `UnknownTask`, and `DefinitionError` where there are none."""
    if settings.tasks is None:
        chosen = dict(tasks)
    else:
        for name in settings.tasks:
            if name not in tasks:
                raise UnknownTask(name, list(tasks))
        names = [one for name in settings.tasks for one in (name, tasks[name].name, *tasks[name].aliases)]
        chosen = {name: tasks[name] for name in names}
    if not chosen:
        raise DefinitionError("a worker without tasks. Expected at least one: import the modules that define them.")
    return chosen
