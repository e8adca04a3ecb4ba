"""arq, its defaults. Started by its own `run_worker`, without its command's log line per job."""

import asyncio

import command
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func, run_worker
from bodies import COROUTINES

SETTINGS = RedisSettings.from_dsn(command.URL)


def _with_context(body):
    async def run(ctx, n, payload=""):
        return await body(n, payload)

    return run


class WorkerSettings:
    functions = tuple(func(_with_context(body), name=name) for name, body in COROUTINES.items())
    redis_settings = SETTINGS
    max_jobs = command.concurrency()


class Driver:
    async def open(self):
        self.pool = await create_pool(SETTINGS)

    async def close(self):
        await self.pool.aclose()

    async def enqueue(self, task, n, payload):
        await self.pool.enqueue_job(task, n, payload) if payload else await self.pool.enqueue_job(task, n)

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        asyncio.set_event_loop(asyncio.new_event_loop())
        return run_worker(WorkerSettings, max_jobs=concurrency)


if __name__ == "__main__":
    command.main(Driver())
