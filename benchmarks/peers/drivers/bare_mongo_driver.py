"""No queue: PyMongo alone, with documents of about the size of ours, in the variants `sync` and `async`.

Enqueue: one awaited `insert_one`, or `insert_many`. Drain: a loop of find N, `update_many` with a token, find by the
token, and one `bulk_write` of N completions, one after the other. N is the concurrency. No handler but the tick, no
lease, no retry, no history: what is left of a queue's cost beside it is what the queue does.
"""

import asyncio
import datetime
import os
import time
import uuid

import command
import probe
from pymongo import ASCENDING, AsyncMongoClient, MongoClient, UpdateOne

SYNC = os.environ["PEERS_VARIANT"] == "sync"
IDLE = 0.05


def document(n, payload):
    now = datetime.datetime.now(datetime.UTC)
    return {
        "_id": str(uuid.uuid4()),
        "queue": "default",
        "task": "noop",
        "state": "waiting",
        "priority": 50,
        "due_at": now,
        "created_at": now,
        "scheduled_at": now,
        "version": 1,
        "claims": 0,
        "settled": 0,
        "attempts": 0,
        "origin": "call",
        "ask": str(uuid.uuid4()),
        "input": {"n": n, "payload": payload},
    }


def candidates(now):
    return {"queue": "default", "state": "waiting", "due_at": {"$lte": now}}


ORDER = [("queue", ASCENDING), ("state", ASCENDING), ("due_at", ASCENDING)]


def taking(found, token, now):
    lease = now + datetime.timedelta(seconds=15)
    change = {"state": "running", "token": token, "worker": "bare:1", "due_at": lease, "started_at": now}
    return {"_id": {"$in": [row["_id"] for row in found]}, "state": "waiting"}, {
        "$set": change,
        "$inc": {"claims": 1, "version": 1},
    }


def completions(rows, token):
    for _ in rows:
        probe.tick()
    now = datetime.datetime.now(datetime.UTC)
    change = {"state": "completed", "finished_at": now, "result": 1, "attempts": 1, "settled": 1}
    return [
        UpdateOne(
            {"_id": row["_id"], "token": token, "version": row["version"]}, {"$set": change, "$inc": {"version": 1}}
        )
        for row in rows
    ]


class SyncDriver:
    def open(self):
        self.jobs = MongoClient(command.URL).get_default_database()["bare"]
        self.jobs.create_index(ORDER)
        self.jobs.create_index("token", sparse=True)

    def close(self):
        self.jobs.database.client.close()

    def enqueue(self, task, n, payload):
        self.jobs.insert_one(document(n, payload))

    def bulk(self, task, numbers, payload):
        self.jobs.insert_many([document(n, payload) for n in numbers], ordered=False)

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        self.open()
        while True:
            now, token = datetime.datetime.now(datetime.UTC), str(uuid.uuid4())
            found = list(self.jobs.find(candidates(now), {"_id": 1}).sort(ORDER).limit(concurrency))
            if not found:
                time.sleep(IDLE)
                continue
            self.jobs.update_many(*taking(found, token, now))
            if rows := list(self.jobs.find({"token": token})):
                self.jobs.bulk_write(completions(rows, token), ordered=False)


class AsyncDriver:
    async def open(self):
        self.jobs = AsyncMongoClient(command.URL).get_default_database()["bare"]
        await self.jobs.create_index(ORDER)
        await self.jobs.create_index("token", sparse=True)

    async def close(self):
        await self.jobs.database.client.close()

    async def enqueue(self, task, n, payload):
        await self.jobs.insert_one(document(n, payload))

    async def bulk(self, task, numbers, payload):
        await self.jobs.insert_many([document(n, payload) for n in numbers], ordered=False)

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        return asyncio.run(self.drain(concurrency))

    async def drain(self, size):
        await self.open()
        while True:
            now, token = datetime.datetime.now(datetime.UTC), str(uuid.uuid4())
            found = await self.jobs.find(candidates(now), {"_id": 1}).sort(ORDER).limit(size).to_list()
            if not found:
                await asyncio.sleep(IDLE)
                continue
            await self.jobs.update_many(*taking(found, token, now))
            if rows := await self.jobs.find({"token": token}).to_list():
                await self.jobs.bulk_write(completions(rows, token), ordered=False)


if __name__ == "__main__":
    command.main(SyncDriver() if SYNC else AsyncDriver())
