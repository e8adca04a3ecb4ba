"""`mainspring enqueue NAME INPUT`: one call of a task, by its name."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from mainspring.app import Mainspring
from mainspring.cli.acts import problem_in_json
from mainspring.cli.filters import duration_of, instant_of, taking
from mainspring.cli.output import JsonOption, fail, interruptible, note, print_json, say
from mainspring.cli.session import AppOption, run
from mainspring.cli.watch import follow
from mainspring.core.job import State
from mainspring.core.request import CallOptions
from mainspring.errors import DefinitionError

_Text = str | None


_OPTIONS: dict[str, Any] = {
    "delay": Annotated[_Text, typer.Option(metavar="TIME", help='Not before this long from now: "5m".')],
    "at": Annotated[_Text, typer.Option(metavar="TIME", help="Not before 2030-01-31T12:00, local time.")],
    "priority": Annotated[
        int | None, typer.Option(metavar="N", help="0 to 100, the highest first. Default: the task's.")
    ],
    "queue": Annotated[_Text, typer.Option(metavar="NAME", help="Default: the task's.")],
    "idempotency_key": Annotated[_Text, typer.Option(metavar="KEY", help="One job while it is kept.")],
    "unique_key": Annotated[_Text, typer.Option(metavar="KEY", help="One live job for this key.")],
}


def _call_options(given: dict[str, Any]) -> CallOptions:
    """What is given, as the library takes it. Ends the command where it makes no sense."""
    options: Any = {name: value for name, value in given.items() if value is not None}
    try:
        if "at" in options:
            options["at"] = instant_of(options["at"], "--at")
        if "delay" in options:
            options["delay"] = duration_of(options["delay"], "--delay")
    except DefinitionError as error:
        fail(str(error), 2)
    read: CallOptions = options
    return read


@taking(_OPTIONS, _call_options)
def enqueue(
    options: CallOptions,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its name.")],
    input: Annotated[str, typer.Argument(metavar="INPUT", help="The arguments: a JSON object, or - for stdin.")] = "{}",
    wait: Annotated[_Text, typer.Option(metavar="TIME", help="Wait this long for its result, and print it.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch the job until it has ended, as mainspring watch.")
    ] = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Enqueue a call of a task. The app or any worker of its store must know it. Prints the job's id.

    With --wait or --watch it ends with 1 where the job is not completed.
    """
    if watch and wait is not None:
        fail("both --wait and --watch. Expected one of them.", 2)

    async def command(found: Mainspring) -> State | None:
        with problem_in_json(as_json, task=task):
            patience = None if wait is None else duration_of(wait, "--wait")
            job = await found.enqueue(task, read_object(input), **options)
            result = None if wait is None else await job.result(timeout=patience)
        if wait is not None:
            print_json(result)
        elif as_json:
            print_json({"id": job.id, "task": job.task, "created": job.created})
        else:
            say(job.id)
            if not job.created:
                note("it was there already.")
        return await follow(found, job.id, as_json) if watch else None

    if run(app, command) not in (None, State.COMPLETED):
        raise typer.Exit(1)


def read_object(text: str) -> dict[str, Any]:
    """The JSON object that is typed, or on standard input where that is "-". Raises `DefinitionError`: it was written
    wrongly, whatever the task expects."""
    try:
        if text == "-":
            with interruptible():
                text = sys.stdin.read()
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise DefinitionError(f"the input is not JSON: {e}. Expected an object, such as '{_as_object(text)}'.") from e
    if not isinstance(value, dict):
        raise DefinitionError(
            f'bad input: {text}. Expected a JSON object, the arguments by name: \'{{"to": "a@b.c"}}\'.'
        )
    return value


def _no_constant(name: str) -> None:
    """Refuse what Python's reader takes as a number, and JSON does not know."""
    raise ValueError(f"it has no {name}")


def _as_object(text: str) -> str:
    """What `name=value` would be in JSON; an example for anything else."""
    name, equals, typed = text.partition("=")
    if not equals or not name.isidentifier():
        return '{"to": "a@b.c"}'
    try:
        value = json.loads(typed)
    except ValueError:
        value = typed
    return json.dumps({name: value}, ensure_ascii=False)
