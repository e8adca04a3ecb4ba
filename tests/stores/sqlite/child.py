"""What another process does with the store. Not a test: started by `processes.Child`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.errors import StoreError
from mainspring.stores.base import Query
from mainspring.stores.sqlite import SQLiteStore
from tests.factory import NOW, make_job

ANYBODY = 65534


def told() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


async def add(path: str, *ids: str) -> None:
    """Add jobs, with the store open before."""
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    told()
    await store.add([make_job(id) for id in ids])
    await store.close()


async def wake(path: str, name: str) -> None:
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    told()
    await store.wake(name)
    await store.close()


async def open_once(path: str, options: str = "") -> None:
    """Create or migrate the schema together with others."""
    store = SQLiteStore(f"sqlite:///{path}?{options}")
    told()
    await store.open()
    await store.add([make_job(f"of-{os.getpid()}")])
    await store.close()


async def forget(path: str) -> None:
    """Open a store and never close it: the process must end all the same."""
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    told()
    await store.add([make_job()])
    await store.claim("default", {"t": None}, "w:1", new_token(), NOW, NOW + 1, 1)


async def powerless(path: str) -> None:
    """Try to write where it is not allowed; say what came of it."""
    _forbid(path)
    store = SQLiteStore(f"sqlite:///{path}")
    told()
    try:
        await store.open()
        await store.add([make_job()])
    except StoreError as e:
        print(type(e).__name__, e)
    await store.close()


def _forbid(path: str) -> None:
    for place, mode in ((path, 0o444), (os.path.dirname(path), 0o555)):
        if os.path.exists(place):
            os.chmod(place, mode)
    if os.getuid() == 0:
        os.setuid(ANYBODY)  # Permissions do not bind the superuser.


async def work(path: str, own: str, shared: str, total: str) -> None:
    """Two threads: each adds jobs of its own and the shared ones, and works until all of everybody are done."""
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    told()
    threads = [
        threading.Thread(target=asyncio.run, args=(_work(path, int(own), int(shared), int(total)),)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await store.close()


async def _work(path: str, own: int, shared: int, total: int) -> None:
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    worker = f"{os.getpid()}:{threading.get_ident()}"
    for number in range(own):
        await store.add([make_job()])
        if number < shared:
            await store.add([make_job(f"shared-{number}", keyed=True)])
    while sum(found.jobs for found in await store.count(Query(states=(State.COMPLETED,)))) < total:
        taken, _ = await store.claim("default", {"t": None}, worker, new_token(), NOW, NOW + 60_000, 7)
        saved = await store.save([_done(job) for job in taken])
        assert None not in saved
    await store.close()


def _done(job: Job) -> Job:
    return job.evolve(state=State.COMPLETED, settled=job.claims, finished_at=NOW)


ACTIONS = {f.__name__: f for f in (add, wake, open_once, forget, powerless, work)}

if __name__ == "__main__":
    asyncio.run(ACTIONS[sys.argv[1]](*sys.argv[2:]))
