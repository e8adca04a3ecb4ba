"""Docket (the package pydocket), its defaults."""

import command
from bodies import COROUTINES
from docket import Docket

NAME = "peers"
tasks = list(COROUTINES.values())


class Driver:
    async def open(self):
        self.docket = Docket(name=NAME, url=command.URL)
        await self.docket.__aenter__()
        for body in tasks:
            self.docket.register(body)

    async def close(self):
        await self.docket.__aexit__(None, None, None)

    async def enqueue(self, task, n, payload):
        add = self.docket.add(COROUTINES[task])
        await add(n, payload) if payload else await add(n)

    async def bulk(self, task, numbers, payload):
        call = self.docket.call
        body = COROUTINES[task]
        await self.docket.add_many([call(body)(n, payload) if payload else call(body)(n) for n in numbers])

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        where = ["--docket", NAME, "--url", command.URL, "--tasks", "pydocket_driver:tasks"]
        return command.replace("docket", "worker", *where, "--concurrency", concurrency, "--logging-level", "WARNING")


if __name__ == "__main__":
    command.main(Driver())
