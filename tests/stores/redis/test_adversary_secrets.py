"""What a server answers may quote what it was sent: no password comes out of that."""

from __future__ import annotations

import traceback

import pytest

from mainspring.errors import StoreError
from mainspring.stores.redis import RedisStore
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import EVERY

PASSWORD = "zqx2-zqx2-zqx2"


@EVERY
@pytest.mark.parametrize("login", [f"a:{PASSWORD}", f":{PASSWORD}"])
async def test_a_server_that_knows_no_hello_does_not_give_a_password_away(kind: str, login: str) -> None:
    with RedisServer.started(kind, rename_command='HELLO ""') as server:
        store = RedisStore(server.url.replace("redis://", f"redis://{login}@") + "?timeout=500ms")
        with pytest.raises(StoreError) as caught:
            await store.open()
        await store.close()
    assert "zqx" not in "".join(traceback.format_exception(caught.value))


@EVERY
async def test_a_wrong_password_is_not_shown(kind: str) -> None:
    with RedisServer.started(kind) as server:
        server.command("ACL", "SETUSER", "ann", "on", ">right", "+@all", "~*")
        store = RedisStore(server.url.replace("redis://", f"redis://ann:{PASSWORD}@") + "?timeout=500ms")
        with pytest.raises(StoreError) as caught:
            await store.open()
        await store.close()
    assert "zqx" not in "".join(traceback.format_exception(caught.value))
