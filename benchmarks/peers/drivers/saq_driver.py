"""SAQ on Redis, its defaults."""

import os

import command
from bodies import COROUTINES
from saq import Queue

queue = Queue.from_url(command.URL)


def _with_context(body):
    async def run(ctx, *, n, payload=""):
        return await body(n, payload)

    return run


settings = {
    "queue": queue,
    "functions": [(name, _with_context(body)) for name, body in COROUTINES.items()],
    "concurrency": command.concurrency(),
}


class Driver:
    async def open(self):
        await queue.connect()

    async def close(self):
        await queue.disconnect()

    async def enqueue(self, task, n, payload):
        await queue.enqueue(task, n=n, payload=payload) if payload else await queue.enqueue(task, n=n)

    def worker(self, concurrency, processes):
        os.environ["PEERS_CONCURRENCY"] = str(concurrency)
        command.replace("saq", "saq_driver.settings", "--workers", processes)


if __name__ == "__main__":
    command.main(Driver())
