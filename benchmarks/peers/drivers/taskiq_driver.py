"""taskiq with taskiq-redis: the list broker, or the stream broker with PEERS_VARIANT=stream; results in Redis."""

import os

import command
from bodies import COROUTINES
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

kind = RedisStreamBroker if os.environ.get("PEERS_VARIANT") == "stream" else ListQueueBroker
broker = kind(command.URL).with_result_backend(RedisAsyncResultBackend(command.URL, result_ex_time=3600))
TASKS = {name: broker.task(task_name=name)(body) for name, body in COROUTINES.items()}


class Driver:
    async def open(self):
        await broker.startup()

    async def close(self):
        await broker.shutdown()

    async def enqueue(self, task, n, payload):
        await TASKS[task].kiq(n, payload) if payload else await TASKS[task].kiq(n)

    def worker(self, concurrency, processes):
        options = ["--workers", processes, "--max-async-tasks", concurrency, "--log-level", "WARNING"]
        command.replace("taskiq", "worker", "taskiq_driver:broker", *options)


if __name__ == "__main__":
    command.main(Driver())
