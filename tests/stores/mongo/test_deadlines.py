"""How long an enqueue may take: where nobody answers, and where somebody else's open transaction is in the way."""

from __future__ import annotations

import pytest

from mainspring import Mainspring, StoreUnavailable
from mainspring.stores import open_store
from tests.servers.mongo import MongoServer
from tests.servers.shared import needs_mongo
from tests.stores.mongo.rig import CALL, with_options
from tests.system.watched import watched

pytestmark = [pytest.mark.slow, *needs_mongo()]


async def test_an_enqueue_on_a_frozen_server_is_tried_once(
    hurt_server: MongoServer, hurt_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt takes the whole time-out, and is longer than what the attempts together may take."""
    monkeypatch.setattr("mainspring.joining.ADD_DEADLINE", CALL / 2)
    store, watch = watched(open_store(with_options(hurt_url, timeout=CALL)))
    app = Mainspring(store)

    @app.task
    async def work(n: int) -> None: ...

    await work.enqueue(1)
    hurt_server.freeze()
    try:
        with pytest.raises(StoreUnavailable):
            await work.enqueue(2)
    finally:
        hurt_server.thaw()
    assert watch.calls["add"] == 2
    await app.close()
