"""BullMQ for Python, its defaults. It has no command of its own: a worker is an object in an event loop."""

import asyncio

import command
from bodies import COROUTINES
from bullmq import Queue, Worker


async def process(job, token):
    return await COROUTINES[job.name](**job.data)


def _data(n, payload):
    return {"n": n, "payload": payload} if payload else {"n": n}


async def _work(concurrency):
    Worker("peers", process, {"connection": command.URL, "concurrency": concurrency})
    await asyncio.Event().wait()


class Driver:
    async def open(self):
        self.queue = Queue("peers", {"connection": command.URL})

    async def close(self):
        await self.queue.close()

    async def enqueue(self, task, n, payload):
        await self.queue.add(task, _data(n, payload))

    async def bulk(self, task, numbers, payload):
        await self.queue.addBulk([{"name": task, "data": _data(n, payload)} for n in numbers])

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        return asyncio.run(_work(concurrency))


if __name__ == "__main__":
    command.main(Driver())
