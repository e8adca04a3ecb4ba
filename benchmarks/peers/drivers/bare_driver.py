"""No queue at all: one SET of 300 bytes by redis-py, to show what a bare awaited command costs. It enqueues only."""

import command
from redis.asyncio import Redis

BODY = b"x" * 300


class Driver:
    async def open(self):
        self.client = Redis.from_url(command.URL)

    async def close(self):
        await self.client.aclose()

    async def enqueue(self, task, n, payload):
        await self.client.set(f"bare:{n}", BODY)

    async def bulk(self, task, numbers, payload):
        pipe = self.client.pipeline(transaction=False)
        for n in numbers:
            pipe.set(f"bare:{n}", BODY)
        await pipe.execute()


if __name__ == "__main__":
    command.main(Driver())
