"""What workers call beside the handlers of an app: middleware, overrides of dependencies, listeners, a lifespan."""

from __future__ import annotations

from mainspring.core.dependencies import Overrides
from mainspring.worker.lifespan import LifespanFunction, check_lifespan
from mainspring.worker.listeners import Listeners
from mainspring.worker.middleware import Middleware


class Hooks:
    """The hooks of one app. Raises `DefinitionError` for a lifespan that is none."""

    def __init__(self, lifespan: LifespanFunction | None) -> None:
        self.middleware: list[Middleware] = []
        """The outermost first."""
        self.overrides = Overrides()
        self.listeners = Listeners()
        self.lifespan = None if lifespan is None else check_lifespan(lifespan)
