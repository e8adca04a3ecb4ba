"""What docs/redis.md says of users, options and keys is true."""

from __future__ import annotations

import re

from mainspring import Mainspring
from mainspring.stores.redis import options
from tests.docs.pages import ROOT, blocks
from tests.servers.redis import RedisServer
from tests.stores.redis.audit import FIXED, INDEXES, PASSING
from tests.stores.redis.rig import EVERY, until

PAGE = ROOT / "docs" / "redis.md"


def test_every_option_is_told() -> None:
    known = (*options.OPTIONS, *options.TLS_OPTIONS, *options.SENTINEL_OPTIONS, *options.UNIX_OPTIONS)
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE.read_text(), re.MULTILINE)
    told = {option for row in rows for option in re.findall(r"\w+", row)}
    assert set(known) - told == set()


def test_every_family_of_keys_is_told() -> None:
    text = PAGE.read_text()
    families = {*FIXED, *INDEXES, *PASSING, "job", "log", "rec"}
    assert [family for family in families if f"{{ns}}:{family}" not in text and f"`{family}`" not in text] == []


@EVERY
async def test_the_user_that_is_recommended_can_do_all_that_is_needed(kind: str) -> None:
    [rule] = [block.code for block in blocks(PAGE) if block.code.startswith("ACL SETUSER")]
    with RedisServer.started(kind) as server:
        server.command(*rule.split())
        app = Mainspring(server.url.replace("redis://", "redis://mainspring:password@"))

        @app.task(queue="numbers")
        async def double(n: int) -> int:
            return 2 * n

        async with app, app.worker(concurrency=5):
            jobs = [await double.enqueue(n) for n in range(3)]
            assert [await job.result(timeout=60) for job in jobs] == [0, 2, 4]
            await app.queues.pause("numbers")
            await until(lambda: app.queues.is_paused("numbers"), "the pause")
            await app.queues.resume("numbers")
            facts = {fact.name: fact.why for fact in await (await app.connect()).store.facts()}
            assert [why for why in facts.values() if why] == []
            events = (await app.connect()).store.subscribe()
            assert await anext(events) == []
            await events.aclose()
        assert server.command("ACL", "LOG") == []
