"""Huey on Redis, its defaults: worker threads, results kept; it acknowledges nothing, so a crash loses jobs."""

import command
from bodies import FUNCTIONS
from huey import RedisHuey

huey = RedisHuey("peers", url=command.URL)
TASKS = {name: huey.task(name=name)(body) for name, body in FUNCTIONS.items()}


class Driver:
    def open(self):
        huey.pending_count()

    def close(self):
        pass

    def enqueue(self, task, n, payload):
        TASKS[task](n, payload) if payload else TASKS[task](n)

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        return command.replace("huey_consumer", "huey_driver.huey", "-w", concurrency, "-k", "thread", "-q")


if __name__ == "__main__":
    command.main(Driver())
