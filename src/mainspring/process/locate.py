"""Finding the app that a command line names: `module:app`."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

from mainspring.app import Mainspring
from mainspring.errors import DefinitionError, MainspringError

OUR_WAY = (__file__, importlib.__file__)
"""Where the import of an app passes before it comes to the app."""


def _check_no_path(module_name: str, attribute: str) -> None:
    """`shop/tasks.py` is what a shell completes, and no module."""
    path = Path(module_name)
    if os.sep not in module_name and path.suffix != ".py":
        return
    module = ".".join(part for part in path.with_suffix("").parts if part not in (os.sep, ".", ".."))
    raise DefinitionError(
        f"bad app: {module_name!r} is a path. Expected module:app, as importable from {os.getcwd()}, "
        f"such as {module}:{attribute or 'app'}."
    )


def is_on_the_way(filename: str) -> bool:
    """Whether code in this file is not the app's, but leads to it."""
    return filename in OUR_WAY or filename.startswith("<frozen importlib")


def _place(error: BaseException) -> str:
    """Where the app's own code begins that has raised it."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_on_the_way(frame.filename)]
    return f", in {own[0].filename}, line {own[0].lineno}" if own else ""


def locate_app(name: str) -> Mainspring:
    """The app named `module:attribute` (attribute: `app` unless given), as seen from the current folder.

    Raises `DefinitionError` for what is not there, `MainspringError` for a module that ends the program; what else
    the module raises passes through.
    """
    module_name, _, attribute = name.partition(":")
    _check_no_path(module_name, attribute)
    if not module_name or module_name.startswith("."):
        raise DefinitionError(f"bad app: {name!r} names no module. Expected module:app, such as shop.tasks:app.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise DefinitionError(
            f"no module {module_name!r} to load the app from ({error}). "
            f"Expected module:app, as importable from {os.getcwd()}."
        ) from error
    except SystemExit as error:
        raise MainspringError(
            f"the app {name} cannot be imported: its module ended the program by "
            f"sys.exit({error.code!r}){_place(error)}. "
            'Expected one that only defines things: put the rest under if __name__ == "__main__".'
        ) from error
    app = getattr(module, attribute or "app", None)
    if not isinstance(app, Mainspring):
        found = [key for key, value in vars(module).items() if isinstance(value, Mainspring)]
        hint = f"It has: {', '.join(found)}." if found else "It has none."
        raise DefinitionError(f"no Mainspring app named {attribute or 'app'!r} in {module_name!r}. {hint}")
    return app
