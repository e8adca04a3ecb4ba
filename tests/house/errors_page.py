"""Writes docs/reference/errors.md from `errors.py`: `python -m tests.house.errors_page > docs/reference/errors.md`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from mainspring import errors

HEAD = """\
# Errors

Every error that Mainspring raises, in one tree. A message says what happened with which value, what was expected, and
what to do next; the class carries the same as attributes. All of them can be imported from `mainspring.errors`.

`Snooze`, `Cancel`, `DeadLetter` and `Retry.after(...)` are not errors: handlers raise them to steer their job.

This page is made from `errors.py`; a test compares the two.
"""


def classes() -> list[type[errors.MainspringError]]:
    """The public error classes, in the order of the file."""
    found = [value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__]
    return [value for value in found if issubclass(value, errors.MainspringError)]


def page() -> str:
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for each in classes():
        parents = [base.__name__ for base in each.__bases__]
        yield f"## {each.__name__}\n"
        yield f"A kind of {' and '.join(f'`{name}`' for name in parents)}.\n"
        yield f"{inspect.getdoc(each)}\n"
        attributes = _attributes(each)
        if attributes:
            yield f"Carries {', '.join(f'`{name}`' for name in attributes)}.\n"


def _attributes(each: type) -> list[str]:
    if "__init__" not in vars(each) or each is errors.MainspringError:
        return []
    code = each.__init__.__code__  # type: ignore[misc]
    return [name for name in code.co_names if re.search(rf"self\.{name}(: .+)? =", inspect.getsource(each))]


if __name__ == "__main__":
    print(page(), end="")
