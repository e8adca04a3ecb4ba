"""A TCP proxy that spoils a connection on purpose: latency, cuts, refusals, black holes, half-open connections.

Any server will do. A client of a MongoDB replica set, though, goes past a proxy to the addresses that the members tell
it. Either the proxy stands for one server, `mongo_url`, which a client with `directConnection=true` does not leave; or
the members tell the addresses of their proxies: `MongoReplicaSet.started(proxied=True)`, with one member or several.

It runs in a thread of its own, so that tests and other processes can use it. For benchmarks it is a program:
`python -m tests.servers.proxy --to 127.0.0.1:6379 --latency-ms 1` prints its port and runs until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from tests.servers.link import Link
from tests.servers.process import free_port


class Proxy:
    """Listens on `port` and forwards to a server. Its methods may be called from any thread; they return when done."""

    def __init__(self, to: int, *, host: str = "127.0.0.1", latency: float = 0.0, port: int = 0) -> None:
        """Every chunk is held back for `latency` seconds in each direction, in order, however many are under way."""
        self.port = port or free_port()
        self.target = (host, to)
        self.latency = latency
        self.links: set[Link] = set()
        self.accepted = 0
        """How many connections have been accepted so far."""
        self._spoil: Callable[[Link], None] | None = None
        """What happens to a connection that is made now."""
        self._listener: asyncio.Server | None = None
        # select() waits to the microsecond; epoll rounds up to a millisecond, which would double a latency of one.
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        for _ in range(3):  # a connection that was being accepted is a link only some turns of the loop later
            self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def mongo_url(self, database: str = "") -> str:
        """For a mongod behind it. Whoever is elected elsewhere is not found this way."""
        return f"mongodb://127.0.0.1:{self.port}/{database}?directConnection=true"

    @property
    def open(self) -> int:
        """How many connections it holds."""
        return len(self.links)

    def cut(self) -> None:
        """End all connections at once with a reset, on both sides. New ones are accepted."""
        self._do(self._each(Link.cut))

    def refuse(self) -> None:
        """Accept no connection any more; those that there are go on."""
        self._do(self._refuse())

    def stall(self) -> None:
        """Hold back everything, in both directions, until `resume`: late, but not lost. Nobody is told."""
        self._spoil = Link.stall
        self._do(self._each(Link.stall))

    def black_hole(self) -> None:
        """Lose everything, in both directions, and tell nobody. What is connected now stays lost after `resume` too.

        New connections are accepted, and what they send is lost.
        """
        self._spoil = Link.lose
        self._do(self._each(Link.lose))

    def half_open(self) -> None:
        """The server sees its connections end; the clients see nothing, and are never answered. New ones work."""
        self._do(self._each(Link.drop_upstream))

    def resume(self) -> None:
        """Accept and forward again, on the same port."""
        self._spoil = None
        self._do(self._listen())
        self._do(self._each(Link.go_on))

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result()

    async def _each(self, action: Callable[[Link], None]) -> None:
        for link in list(self.links):
            action(link)
        await asyncio.sleep(0)  # a socket is closed in the next turn of the loop

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await self._loop.create_server(self._link, "127.0.0.1", self.port, backlog=512)

    async def _refuse(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        for listening in listener.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(3):  # a connection that is being accepted still needs its listener
            await asyncio.sleep(0)
        listener.close()

    def _link(self) -> asyncio.Protocol:
        self.accepted += 1
        link = Link(self.target, self.latency, self.links)
        if self._spoil is not None:
            self._spoil(link)
        return link.client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="in each direction")
    parser.add_argument("--port", type=int, default=0, help="where to listen; a free one, if left out")
    given = parser.parse_args()
    host, _, port = given.to.rpartition(":")
    with Proxy(int(port), host=host, latency=given.latency_ms / 1_000, port=given.port) as proxy:
        print(proxy.port, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
