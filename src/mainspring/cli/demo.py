"""`mainspring demo`: what Mainspring does, in under a minute, in a folder of its own."""

from __future__ import annotations

import typer


def demo() -> None:
    """See it work. Over 1,000 jobs, two worker processes, one of them killed, and the result checked."""
    from mainspring.demo import main  # nothing else of the library may import it

    raise typer.Exit(main())
