"""The registry: the tasks and the declared schedules of one app, and the decorators that make them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, Unpack, cast, overload

from mainspring.core.handle import Caller
from mainspring.core.options import TaskOptions
from mainspring.core.schedule_acts import new_schedule
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, InputError
from mainspring.triggers.reconcile import Declared
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
        function, *others = functions
        if others:
            raise DefinitionError(f"a task of {len(functions)} functions. Expected one; options are given by name.")
        if not callable(function):
            raise DefinitionError(
                f"cannot make a task of {function!r}. Expected a function; options are given by name, as in "
                "@app.task(queue=...)."
            )
        if isinstance(function, Task):
            raise DefinitionError(
                f"{function!r} is a task already. Expected @app.task next to the function, and @app.cron or "
                "@app.every above it; a second task of one function is made of the function."
            )
        task: Task[Any, Any] = Task(function, self._caller, known)
        names = (task.name, *task.aliases)
        for name in names:
            self._check_free(name)
        self._tasks.update(dict.fromkeys(names, task))
        return task

    def _check_free(self, name: str) -> None:
        other = self._tasks.get(name)
        if other is not None:
            where = f"{other.__module__}.{other.__name__}"
            also = "" if other.name == name else f", an alias of {other.name!r}"
            raise DefinitionError(
                f"a task named {name!r} exists already ({where}{also}). Expected one name per task: give name=..."
            )


class OnClock:
    """The decorators `app.cron` and `app.every`, once they know when: they take a function, or a task."""

    def __init__(self, define: Define, declared: dict[str, Declared], given: ByCode) -> None:
        for decorator, when in given.options.items():
            if callable(when):  # bare: it would take the function for the time, and declare nothing
                example = "5m" if decorator == "every" else "@daily"
                raise DefinitionError(
                    f'bad {decorator}: {when!r}. Expected a time, as in @app.{decorator}("{example}").'
                )
        self._define = define
        self._declared = declared
        self._given = given

    @overload
    def __call__(self, function: Task[P, R], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...

    def __call__(self, function: Any, /) -> Task[Any, Any]:
        """Declare the schedule; answers the task, which is made of a function that is none yet.

        Raises `DefinitionError` for anything that cannot work, and for a name that is taken.
        """
        task: Task[Any, Any] = function if isinstance(function, Task) else self._define(function)
        name = self._given.name or task.name
        try:
            text = task.input_text(self._given.input)
        except InputError as e:
            raise DefinitionError(f"schedule {name!r}: {e} Give the arguments: input={{...}}.") from e
        new_schedule(name, task.name, text, self._given.options, 0)  # what is wrong with it is to show here
        if name in self._declared:
            raise DefinitionError(f"a schedule named {name!r} is declared already. Give another one a name: name=...")
        self._declared[name] = Declared(name=name, task=task.name, input=text, options=self._given.options)
        return task


class ByCode(NamedTuple):
    """What a decorator says of a schedule."""

    name: str | None
    input: Mapping[str, Any]
    options: dict[str, Any]
