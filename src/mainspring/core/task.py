"""The task: a named, typed function with its policy. It validates, and passes calls on to its `Caller`.

Everything is checked where it is written down. This module knows no store and no event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast

from mainspring.core.codec import decode_value
from mainspring.core.dependencies import Need
from mainspring.core.handle import Caller, JobHandle
from mainspring.core.inputs import Inputs, KeyFunction, key_function
from mainspring.core.job import Rule
from mainspring.core.options import TaskOptions, check_options
from mainspring.core.policy import Debounce, Policy
from mainspring.core.request import CALL_OPTIONS, CallOptions, Request
from mainspring.core.shape import Shape
from mainspring.core.signature import by_keyword, read_signature
from mainspring.errors import DefinitionError, InputError, OutputError, PayloadTooLarge

P = ParamSpec("P")
R = TypeVar("R")


_ENQUEUE = " Expected await task.enqueue(...), or app.sync(task.enqueue, ...) where nothing can be awaited."
_LATER = " Expected await task.options(delay=...).enqueue(...)."
_ELSEWHERE = dict.fromkeys(("delay", "send", "kiq", "defer", "enqueue_job"), _ENQUEUE) | dict.fromkeys(
    ("apply_async", "send_with_options", "schedule", "enqueue_in", "enqueue_at"), _LATER
)
"""What other systems call it."""


class Task(Generic[P, R]):
    """A named, typed function with its policy. Made by `@app.task`; calling it calls the function.

    `P` are the parameters of the function without its context, `R` is what it returns. Durations in ms.
    Raises `DefinitionError` for options or a signature that cannot work.
    """

    def __init__(self, function: Callable[..., Any], caller: Caller, options: TaskOptions) -> None:
        default = getattr(function, "__name__", "").replace("_", "-")
        settings = check_options(options, default, (getattr(function, "__doc__", None) or "").strip().split("\n")[0])
        signature = read_signature(function, settings.name)
        if settings.cpu and signature.is_async:
            raise DefinitionError(
                f"task {settings.name!r}: a cpu handler that is async. Expected a plain function, for it has a process "
                "of its own and no event loop; leave cpu=True away for a handler that waits."
            )
        self._caller = caller
        self._settings = settings
        self._signature = signature
        self._inputs = Inputs(signature, settings.name)
        self._output = Shape.of(signature.returns, f"result of task {settings.name!r}")
        self._key_function: KeyFunction | None = None
        if settings.key is not None and settings.rule is not None:
            self._key_function = key_function(settings.key, signature, _key_name(settings.rule, settings.name))
        self.function: Callable[..., Any] = function
        self.handler: Callable[..., Any] = by_keyword(function, signature)
        """The function, to be called with keywords."""
        self.name: str = settings.name
        self.aliases: tuple[str, ...] = settings.aliases
        self.queue: str = settings.queue
        self.priority: int = settings.priority
        self.timeout: int | None = settings.timeout
        self.max_concurrency: int | None = settings.max_concurrency
        self.policy: Policy = settings.policy
        self.expires: int | None = settings.expires
        self.debounce: Debounce | None = settings.debounce
        self.capture: bool = settings.capture
        self.cpu: bool = settings.cpu
        self.is_async: bool = signature.is_async
        self.context_parameter: str | None = signature.context
        self.needs: Mapping[str, Need] = signature.needs
        """Its dependencies, by parameter."""
        self.description: str = settings.description
        self.__doc__ = getattr(function, "__doc__", None)
        self.__name__: str = getattr(function, "__name__", settings.name)
        self.__module__: str = getattr(function, "__module__", __name__)
        self.__wrapped__: Callable[..., Any] = function

    # -- calling -------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, here and now, as if it were no task."""
        return self.function(*args, **kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Store a call of this task. Answers when the store has accepted it.

        Raises `InputError` (nothing is stored), `StoreUnavailable` and other `StoreError`s.
        """
        return await self._caller.enqueue_request(self._request(args, kwargs))

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Request[R]:
        """A validated call that is not stored yet, for `app.enqueue_many`. Raises `InputError`."""
        return self._request(args, kwargs)

    def options(self, **options: Unpack[CallOptions]) -> Call[P, R]:
        """This task with options for single calls: `task.options(delay="5m").enqueue(...)`.

        Raises `DefinitionError`, `UnknownOption`.
        """
        return Call(self, options)

    def request(self, input: Mapping[str, Any]) -> Request[R]:
        """A call with its arguments as an object, as callers by name give it. Raises `InputError`."""
        _check_object(input, self.name)
        return self._request((), dict(input))

    def input_text(self, input: Mapping[str, Any]) -> str:
        """The arguments, given as an object, as JSON text. Raises `InputError`."""
        _check_object(input, self.name)
        return self._inputs.encode((), dict(input))[1]

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request[R]:
        values, text = self._encode(args, kwargs)
        rule = self._settings.rule
        window = self.debounce
        return Request(
            task=self.name,
            queue=self.queue,
            input=text,
            priority=self.priority,
            rule=rule,
            key=None if rule is None else self._key(rule, values, text),
            delay=0 if window is None else window.window_ms,
            max_wait=None if window is None else window.max_wait_ms,
            expires=self.expires,
            decode=self.decode_result,
        )

    def _encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], str]:
        try:
            return self._inputs.encode(args, kwargs)
        except InputError as e:
            options = [name for name in kwargs if name in CALL_OPTIONS and name not in self._signature.fields]
            if not options or self._signature.extras is not None:
                raise
            raise InputError(f"{e} Options of a call go before it: task.options({options[0]}=...).enqueue(...).") from e

    def _key(self, rule: Rule, values: dict[str, Any], text: str) -> str:
        if self._key_function is not None:
            return self._inputs.key(self._key_function, values, _key_name(rule, self.name))
        return "" if rule == "merge" else self._digest(values, text)

    def _digest(self, values: dict[str, Any], text: str) -> str:
        """Of the input, whatever its order, and whether a default was spelt out or not."""
        essential = self._inputs.essential(values)
        items = sorted((name, item) for name, item in decode_value(text).items() if name in essential)
        return hashlib.blake2b(repr(items).encode(), digest_size=16).hexdigest()

    # -- running -------------------------------------------------------------------------------------------------

    def encode_input(self, *args: Any, **kwargs: Any) -> str:
        """The arguments of a call as JSON text. Raises `InputError` with every problem named."""
        return self._inputs.encode(args, kwargs)[1]

    def arguments(self, input_json: str) -> dict[str, Any]:
        """The handler's arguments by keyword, without its context. Raises `InputError`."""
        return self._inputs.decode(input_json)

    def is_misfit(self, input_json: str) -> bool:
        """Whether the arguments have other names than this version of the task; see `core.misfit`."""
        return self._inputs.is_misfit(input_json)

    def encode_result(self, value: Any) -> str | None:
        """What the handler returned, as JSON text; None for None. Raises `OutputError`, `PayloadTooLarge`."""
        try:
            text = self._output.encode(value)[1]
        except PayloadTooLarge:
            raise
        except InputError as e:
            raise OutputError(f"{e} Fix the handler, or its return annotation.") from e
        return None if text == "null" else text

    def decode_result(self, text: str | None) -> R:
        """The result that `text` carries; None where there is none, whatever the annotation: the run was skipped, or
        returned None, which was checked then. Raises `OutputError` where it no longer fits the annotation."""
        if text is None:
            return cast(R, None)
        try:
            return cast(R, self._output.decode(text))
        except InputError as e:
            raise OutputError(f"{e} It was stored by a version of the task that promised something else.") from e

    def judge(self, error: BaseException, attempt: int) -> tuple[bool, bool]:
        """Whether `error` in `attempt` may be retried, and whether it belongs into the dead-letter queue in the end.

        Raises whatever a predicate of the task raises.
        """
        dead_letter = self._settings.dead_letter
        dead = dead_letter if isinstance(dead_letter, bool) else bool(dead_letter(error, attempt))
        return self.policy.retry.retryable(error, attempt), dead

    def snapshot(self) -> dict[str, Any]:
        """What a process without this code must know to enqueue by name."""
        return {
            "queue": self.queue,
            "priority": self.priority,
            "expires": self.expires,
            "retention": self.policy.retention,
            "description": self.description,
            "parameters": {name: name not in self._signature.defaults for name in self._signature.fields},
            "open": self._signature.extras is not None,
            "rule": self._settings.rule,
        }

    if not TYPE_CHECKING:  # a checker is to find the slip by itself

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"a task has no {name!r}.{_ELSEWHERE.get(name, '')}", name=name, obj=self)

    @property
    def app(self) -> Caller:
        """The app that it is a task of."""
        return self._caller

    def __repr__(self) -> str:
        return f"Task({self.name!r}, queue={self.queue!r})"


class Call(Generic[P, R]):
    """A task with options for single calls. It may be used many times."""

    __slots__ = ("_options", "_task")

    def __init__(self, task: Task[P, R], options: CallOptions) -> None:
        _ = Request[R](task=task.name, queue=task.queue, input="{}").with_options(options)  # check them here
        self._task = task
        self._options = options

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """As `task.enqueue`, with these options."""
        return await self._task._caller.enqueue_request(self.job(*args, **kwargs))

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Request[R]:
        """As `task.job`, with these options."""
        return self._task.job(*args, **kwargs).with_options(self._options)


def _check_object(input: object, task: str) -> None:
    if not isinstance(input, Mapping) or not all(isinstance(name, str) for name in input):
        raise InputError(f"bad input of task {task!r}: {input!r}. Expected an object, arguments by name.")


def _key_name(rule: Rule, task: str) -> str:
    return {"once": "idempotency_key", "skip": "unique key", "merge": "debounce key"}[rule] + f" of task {task!r}"
