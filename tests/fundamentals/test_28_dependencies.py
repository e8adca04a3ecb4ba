"""What a handler needs is made for each run by a provider, and replaced in tests. Callers do not pass it."""

from collections.abc import AsyncIterator
from typing import Annotated

from mainspring import Depends, Injected, Mainspring

app = Mainspring("sqlite://:memory:")
log: list[str] = []


class Mailer:
    def send(self, to: str) -> str:
        return f"sent to {to}"


async def get_mailer() -> AsyncIterator[Mailer]:
    log.append("connected")
    yield Mailer()
    log.append("closed")  # after the run, however it ended


@app.task
async def welcome(to: str, mailer: Annotated[Mailer, Depends(get_mailer)] = Injected) -> str:
    return mailer.send(to)


async def test_a_worker_fills_it_in() -> None:
    async with app, app.worker():
        job = await welcome.enqueue("ada")
        assert await job.result(timeout=10) == "sent to ada"
    assert log == ["connected", "closed"]


class Drawer(Mailer):
    def send(self, to: str) -> str:
        return f"a letter to {to} lies in the drawer"


async def test_a_test_puts_another_in_its_place() -> None:
    with app.override({get_mailer: Drawer}):
        async with app, app.worker():
            job = await welcome.enqueue("grace")
            assert await job.result(timeout=10) == "a letter to grace lies in the drawer"
