"""`mainspring locks`: list, holder, release."""

from __future__ import annotations

from typing import Annotated

import typer

from mainspring.admin.view import lock_view
from mainspring.app import Mainspring
from mainspring.cli.acts import ReasonOption, act
from mainspring.cli.output import (
    JsonOption,
    When,
    YesOption,
    confirm,
    note,
    print_fields,
    print_json,
    print_json_lines,
    print_rows,
)
from mainspring.cli.session import AppOption, run
from mainspring.errors import MainspringError
from mainspring.leases import LockPage
from mainspring.stores.base import BATCH_ROWS

commands = typer.Typer(no_args_is_help=True, help="Look at the locks that are held, and take one away.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The lock.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")]


@commands.command("list")
def list_(limit: LimitOption = 100, as_json: JsonOption = False, app: AppOption = None) -> None:
    """List the locks that are held, by name."""

    async def command(found: Mainspring) -> None:
        page = await _read(found, limit)
        now = found.clock.now()
        if as_json:
            print_json_lines([lock_view(lock) for lock in page])
        else:
            rows = [
                (
                    lock.name,
                    lock.owner,
                    When(lock.since, now, short=True),
                    When(lock.until, now, short=True),
                    lock.fence,
                )
                for lock in page
            ]
            print_rows(("lock", "owner", "since", "until", "fence"), rows, whole=("lock", "owner"))
        if not len(page):
            note("no locks are held.")
        if page.cursor is not None:
            note(f"these are {len(page)}; there are more: raise --limit.")

    run(app, command)


async def _read(found: Mainspring, limit: int) -> LockPage:
    page = await found.locks.list(limit=min(limit, BATCH_ROWS))
    locks = page.locks
    while page.cursor is not None and len(locks) < limit:
        page = await found.locks.list(limit=min(limit - len(locks), BATCH_ROWS), cursor=page.cursor)
        locks += page.locks
    return LockPage(locks, page.cursor)


@commands.command()
def holder(name: Name, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Show who holds a lock, since when, until when, and its fence. Ends with 1 where nobody does."""

    async def command(found: Mainspring) -> None:
        lock = await found.locks.get(name)
        if lock is None:
            raise MainspringError(f"nobody holds the lock {name!r}.")
        if as_json:
            print_json(lock_view(lock))
            return
        now = found.clock.now()
        print_fields(
            [
                ("lock", lock.name),
                ("owner", lock.owner),
                ("since", When(lock.since, now)),
                ("until", When(lock.until, now)),
                ("fence", lock.fence),
            ]
        )

    run(app, command)


@commands.command()
def release(
    name: Name,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Take a lock away from its holder, who may still be at work under it, and learns of it at the next renewal."""

    async def command(found: Mainspring) -> None:
        async def one(name: str) -> None:
            lock = await found.locks.get(name)
            if lock is not None:
                confirm(f"Take the lock {name!r} away from {lock.owner}, who may still be at work under it?", yes)
            if not await found.locks.force_release(name, reason):
                raise MainspringError(f"nobody holds the lock {name!r}.")

        await act([name], one, "released", as_json, "name")

    run(app, command)
