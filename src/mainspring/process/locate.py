"""Finding the app that a command line names: `module:app`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from mainspring.app import Mainspring
from mainspring.errors import DefinitionError


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


def locate_app(name: str) -> Mainspring:
    """The app named `module:attribute` (attribute: `app` unless given), as seen from the current folder.

    Raises `DefinitionError` for what is not there; what the module itself raises passes through.
    """
    module_name, _, attribute = name.partition(":")
    _check_no_path(module_name, attribute)
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
    app = getattr(module, attribute or "app", None)
    if not isinstance(app, Mainspring):
        found = [key for key, value in vars(module).items() if isinstance(value, Mainspring)]
        hint = f"It has: {', '.join(found)}." if found else "It has none."
        raise DefinitionError(f"no Mainspring app named {attribute or 'app'!r} in {module_name!r}. {hint}")
    return app
