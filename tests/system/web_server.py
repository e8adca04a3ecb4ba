"""A small HTTP server in a thread on 127.0.0.1, for the tests of webhooks. It keeps what it was asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    """By lower-case names."""
    body: bytes


class Reply(NamedTuple):
    status: int = 200
    body: bytes = b"fine"
    headers: dict[str, str] = {}  # noqa: RUF012  never changed
    stream: Callable[[], Iterator[bytes]] | None = None
    """Instead of a body, without a length."""


class WebServer:
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.replies: dict[str, Reply | Callable[[Seen], Reply]] = {}
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port = self._server.server_port
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[WebServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def reply(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        reply = self.replies.get(seen.path.partition("?")[0], Reply())
        return reply if isinstance(reply, Reply) else reply(seen)


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """The client has hung up, or does not trust us: some tests want that."""


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Tests do not read it."""

        def answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.reply(Seen(self.command, self.path, headers, self.rfile.read(length)))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.stream is None:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            for part in [reply.body] if reply.stream is None else reply.stream():
                self.wfile.write(part)

        do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815  the server calls them so

    return Handler
