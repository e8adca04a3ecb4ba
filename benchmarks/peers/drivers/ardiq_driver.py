"""ArdiQ, its defaults (it needs a newer Python than the others)."""

import command
from ardiq import Ardiq
from bodies import COROUTINES

app = Ardiq(redis_url=command.URL, concurrency=command.concurrency())
TASKS = {name: app.task(name=name)(body) for name, body in COROUTINES.items()}


class Driver:
    async def open(self):
        pass

    async def close(self):
        pass

    async def enqueue(self, task, n, payload):
        await TASKS[task].enqueue(n, payload) if payload else await TASKS[task].enqueue(n)

    async def bulk(self, task, numbers, payload):
        prepare = TASKS[task].prepare
        await app.enqueue_many([prepare(n, payload) if payload else prepare(n) for n in numbers])

    def worker(self, concurrency, processes):
        command.replace("ardiq", "run", "-q", "--workers", processes, "ardiq_driver:app")


if __name__ == "__main__":
    command.main(Driver())
