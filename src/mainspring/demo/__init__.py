"""The demo: real work, two worker processes, one of them killed, and the books checked afterwards.

`make demo`, `mainspring demo` or `python -m mainspring.demo`. The app is `mainspring.demo:app`, for the workers and for
whoever wants to look at what the demo has left. Nothing of the library may import this.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # Not at import: each run of the demo has a store of its own, and says which before the app is made.
    if name == "app":
        from mainspring.demo.tasks import app

        return app
    raise AttributeError(name)


def main() -> int:
    """Run the demo; answers the exit code."""
    from mainspring.demo.story import main

    return main()
