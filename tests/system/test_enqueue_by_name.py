"""Enqueueing by name, from a process that has the task's code and from one that has not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mainspring import Debounce, DefinitionError, InputError, Mainspring, UnknownTask
from mainspring.core.duration import UNITS
from mainspring.testing import FakeClock
from tests.system.conftest import claim, count


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
async def elsewhere(url: str, clock: FakeClock, app: Mainspring) -> AsyncIterator[Mainspring]:
    """An app on the same store that has defined no task; a worker of the other has started."""

    @app.task(queue="emails", priority=75, retention="2h", expires="5m")
    def send(to: str, subject: str = "Hi") -> str:
        return to

    @app.task(name="burst", debounce=Debounce("1s", key=lambda user: user))
    def burst(user: str) -> None: ...

    @app.task(name="open")
    def with_more(a: int, **more: int) -> None: ...

    client = await app.connect()
    await client.publish_tasks(list(app.tasks.values()))
    elsewhere = Mainspring(url, clock=clock)
    yield elsewhere
    await elsewhere.close()


async def test_a_task_that_only_workers_know(app: Mainspring, elsewhere: Mainspring, clock: FakeClock) -> None:
    handle = await elsewhere.enqueue("send", {"to": "a@b.c"}, meta={"tenant": "t"})
    job = await handle.get()
    assert (job.queue, job.priority, job.input) == ("emails", 75, '{"to":"a@b.c"}')
    assert job.start_by == clock.now() + 5 * UNITS["m"]
    assert [claimed.id for claimed in await claim(app)] == [handle.id]


async def test_its_names_are_checked_and_its_values_are_json(elsewhere: Mainspring, app: Mainspring) -> None:
    with pytest.raises(InputError, match=r"to: is missing; too: is not known. Expected \(to, subject\)"):
        await elsewhere.enqueue("send", {"too": "a"})
    with pytest.raises(InputError, match="not JSON"):
        await elsewhere.enqueue("send", {"to": object()})
    assert await count(app) == 0
    await elsewhere.enqueue("open", {"a": 1, "anything": 2})
    assert await count(app) == 1


async def test_a_rule_that_needs_code_asks_for_the_key(elsewhere: Mainspring, app: Mainspring) -> None:
    with pytest.raises(DefinitionError, match="makes a key of its arguments"):
        await elsewhere.enqueue("burst", {"user": "u"})
    assert await count(app) == 0
    first = await elsewhere.enqueue("burst", {"user": "u"}, unique_key="u")
    assert (await elsewhere.enqueue("burst", {"user": "u"}, unique_key="u")).id == first.id


async def test_a_task_that_nobody_knows(elsewhere: Mainspring) -> None:
    with pytest.raises(UnknownTask, match="Known tasks: burst, open, send"):
        await elsewhere.enqueue("sendd", {})


async def test_a_new_definition_is_published_and_an_old_one_not_written_again(
    app: Mainspring, elsewhere: Mainspring, url: str, clock: FakeClock
) -> None:
    client = await app.connect()
    before = await client.store.read("task", "send")
    await client.publish_tasks(list(app.tasks.values()))
    assert await client.store.read("task", "send") == before

    newer = Mainspring(url, clock=clock)

    @newer.task(queue="mail")
    def send(to: str, subject: str) -> None: ...

    await (await newer.connect()).publish_tasks([send])
    await newer.close()
    await clock.advance("1m")
    with pytest.raises(InputError, match="subject: is missing"):
        await elsewhere.enqueue("send", {"to": "a"})
    assert (await (await elsewhere.enqueue("send", {"to": "a", "subject": "b"})).get()).queue == "mail"


async def test_the_retention_of_a_task_holds_for_a_cancel_from_elsewhere(
    elsewhere: Mainspring, clock: FakeClock
) -> None:
    handle = await elsewhere.enqueue("send", {"to": "a"})
    assert await handle.cancel()
    assert (await handle.get()).expires_at == clock.now() + 2 * UNITS["h"]
