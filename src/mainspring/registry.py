"""The registry: the tasks of one app, and the decorator that defines them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, cast, overload

from mainspring.core.handle import Caller
from mainspring.core.options import TaskOptions
from mainspring.core.task import Task
from mainspring.errors import DefinitionError
from mainspring.worker.context import Context

P = ParamSpec("P")
R = TypeVar("R")


class Define:
    """The decorator `app.task`, bare or with options. With options it gives the same decorator, knowing them."""

    def __init__(self, tasks: dict[str, Task[Any, Any]], caller: Caller, options: TaskOptions) -> None:
        self._tasks = tasks
        self._caller = caller
        self._options = options

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def __call__(self, **options: Unpack[TaskOptions]) -> Define: ...

    def __call__(self, *functions: Callable[..., Any], **options: Any) -> Task[Any, Any] | Define:
        """Define a task; see `TaskOptions`. The function's parameters are its input, validated at enqueue.

        Raises `DefinitionError` for anything that cannot work, and for a name that is taken.
        """
        known = cast(TaskOptions, {**self._options, **options})
        if not functions:
            return Define(self._tasks, self._caller, known)
        if len(functions) > 1:
            raise DefinitionError(f"a task of {len(functions)} functions. Expected one; options are given by name.")
        if not callable(functions[0]):
            raise DefinitionError(
                f"cannot make a task of {functions[0]!r}. Expected a function; options are given by name, as in "
                "@app.task(queue=...)."
            )
        task: Task[Any, Any] = Task(functions[0], self._caller, known)
        other = self._tasks.get(task.name)
        if other is not None:
            where = f"{other.__module__}.{other.__name__}"
            raise DefinitionError(
                f"a task named {task.name!r} exists already ({where}). Expected one name per task: give name=..."
            )
        self._tasks[task.name] = task
        return task
