"""What happens inside, said once: `emit(event, **fields)`. Log lines are made here and nowhere else.

The logger is "mainspring"; a record carries `event` and every field in its `extra`, so that a JSON formatter needs no
parsing. Arguments and results of jobs are never among the fields.
"""

from __future__ import annotations

import logging

log = logging.getLogger("mainspring")
log.addHandler(logging.NullHandler())


def emit(event: str, level: int = logging.INFO, exc_info: BaseException | None = None, **fields: object) -> None:
    """Say that `event` happened. Costs a level check where nobody listens."""
    if log.isEnabledFor(level):
        text = " ".join(f"{name}={value}" for name, value in fields.items())
        log.log(level, "%s %s", event, text, exc_info=exc_info, extra={"event": event, "fields": fields})
