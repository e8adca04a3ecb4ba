"""The command line that all drivers share. Standard library only, for it runs in the peers' own environments.

    driver.py enqueue-single N [--task noop] [--payload BYTES]      prints {"jobs": N, "seconds": s, "cpu": s}
    driver.py enqueue-bulk N                                        null seconds where the system has no bulk enqueue
    driver.py enqueue-concurrent N                                  100 calls in flight
    driver.py fill N                                                N jobs, by the fastest of its ways
    driver.py latency N --gap S | --rate R                          N stamped jobs, at even or at random distances
    driver.py worker --concurrency C --processes P                  replaces itself by the system's worker

A driver is an object with `open`, `enqueue(task, n, payload)`, `close` (coroutine functions, or functions), perhaps
`bulk(task, numbers, payload)`, and `worker(concurrency, processes)`.
"""

import argparse
import asyncio
import inspect
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

URL = os.environ["PEERS_URL"]
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
AT_ONCE = 100
WARM_UP = 100
CHUNK = 1_000


def concurrency():
    """How many jobs at once the worker is to run, for drivers whose worker reads it from its own module."""
    return int(os.environ.get("PEERS_CONCURRENCY", "10"))


def replace(*command):
    """Become this program of the peer's own environment."""
    os.chdir(HERE)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    program = str(BIN / command[0])
    os.execv(program, [program, *map(str, command[1:])])


def replicate(processes):
    """So many workers of one process each, for systems whose worker has no such option."""
    argv = [sys.executable, *sys.argv]
    argv[argv.index("--processes") + 1] = "1"
    children = [subprocess.Popen(argv) for _ in range(processes)]
    for child in children:
        child.wait()


def main(driver):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("enqueue-single", "enqueue-bulk", "enqueue-concurrent", "fill", "latency"):
        command = commands.add_parser(name)
        command.add_argument("jobs", type=int)
        command.add_argument("--task", default="noop")
        command.add_argument("--payload", type=int, default=0)
        command.add_argument("--gap", type=float, default=0.05)
        command.add_argument("--rate", type=float, default=0)
        command.add_argument("--warm-up", type=int, default=WARM_UP)
    worker = commands.add_parser("worker")
    worker.add_argument("--concurrency", type=int, required=True)
    worker.add_argument("--processes", type=int, required=True)
    given = parser.parse_args()
    if given.command == "worker":
        os.environ["PEERS_CONCURRENCY"] = str(given.concurrency)
        driver.worker(given.concurrency, given.processes)
        return
    payload = "x" * given.payload
    if inspect.iscoroutinefunction(driver.enqueue):
        taken = asyncio.run(_in_loop(driver, given, payload))
    else:
        taken = _in_threads(driver, given, payload)
    print(json.dumps({"jobs": given.jobs} | (taken or {"seconds": None, "cpu": None})), flush=True)


class Watch:
    """Times from its making: of the wall clock, and of this process's CPU."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def taken(self, jobs):
        """As if all jobs had been timed, where the first of them were for warming up."""
        share = jobs / self.jobs
        return {"seconds": (time.perf_counter() - self.wall) * share, "cpu": (time.process_time() - self.cpu) * share}


# -- systems with coroutines -----------------------------------------------------------------------------------------


async def _in_loop(driver, given, payload):
    await driver.open()
    try:
        return await ASYNC[given.command](driver, given, payload)
    finally:
        await driver.close()


async def _single(driver, given, payload):
    for n in range(given.warm_up):
        await driver.enqueue(given.task, n, payload)
    watch = Watch(given.jobs - given.warm_up)
    for n in range(given.warm_up, given.jobs):
        await driver.enqueue(given.task, n, payload)
    return watch.taken(given.jobs)


async def _bulk(driver, given, payload):
    if not hasattr(driver, "bulk"):
        return None
    watch = Watch(given.jobs)
    for first in range(0, given.jobs, CHUNK):
        await driver.bulk(given.task, range(first, min(first + CHUNK, given.jobs)), payload)
    return watch.taken(given.jobs)


async def _concurrent(driver, given, payload):
    async def some(numbers):
        await asyncio.gather(*(driver.enqueue(given.task, n, payload) for n in numbers))

    await some(range(AT_ONCE))
    watch = Watch(given.jobs - AT_ONCE)
    for first in range(AT_ONCE, given.jobs, AT_ONCE):
        await some(range(first, first + AT_ONCE))
    return watch.taken(given.jobs)


async def _fill(driver, given, payload):
    if hasattr(driver, "bulk"):
        return await _bulk(driver, given, payload)
    watch = Watch(given.jobs)
    for first in range(0, given.jobs, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, given.jobs))
        await asyncio.gather(*(driver.enqueue(given.task, n, payload) for n in numbers))
    return watch.taken(given.jobs)


async def _latency(driver, given, payload):
    async def send():
        await driver.enqueue("stamp", time.monotonic_ns(), payload)

    watch, due = Watch(given.jobs), time.perf_counter()
    if not given.rate:
        for _ in range(given.jobs):
            await send()
            await asyncio.sleep(random.uniform(0.8, 1.2) * given.gap)
        return watch.taken(given.jobs)
    sent = set()
    for _ in range(given.jobs):
        due += random.expovariate(given.rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sending = asyncio.create_task(send())
        sent.add(sending)
        sending.add_done_callback(sent.discard)
    await asyncio.gather(*sent)
    return watch.taken(given.jobs)


ASYNC = {
    "enqueue-single": _single,
    "enqueue-bulk": _bulk,
    "enqueue-concurrent": _concurrent,
    "fill": _fill,
    "latency": _latency,
}


# -- systems with functions: calls at once come from threads ----------------------------------------------------------


def _in_threads(driver, given, payload):
    driver.open()
    try:
        return SYNC[given.command](driver, given, payload)
    finally:
        driver.close()


def _single_sync(driver, given, payload):
    for n in range(given.warm_up):
        driver.enqueue(given.task, n, payload)
    watch = Watch(given.jobs - given.warm_up)
    for n in range(given.warm_up, given.jobs):
        driver.enqueue(given.task, n, payload)
    return watch.taken(given.jobs)


def _bulk_sync(driver, given, payload):
    if not hasattr(driver, "bulk"):
        return None
    watch = Watch(given.jobs)
    for first in range(0, given.jobs, CHUNK):
        driver.bulk(given.task, range(first, min(first + CHUNK, given.jobs)), payload)
    return watch.taken(given.jobs)


def _concurrent_sync(driver, given, payload):
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def some(numbers):
            for _ in pool.map(lambda n: driver.enqueue(given.task, n, payload), numbers):
                pass

        some(range(AT_ONCE))
        watch = Watch(given.jobs - AT_ONCE)
        some(range(AT_ONCE, given.jobs))
        return watch.taken(given.jobs)


def _fill_sync(driver, given, payload):
    if hasattr(driver, "bulk"):
        return _bulk_sync(driver, given, payload)
    given.warm_up = 0
    return _single_sync(driver, given, payload)


def _latency_sync(driver, given, payload):
    watch, due = Watch(given.jobs), time.perf_counter()
    for _ in range(given.jobs):
        if given.rate:
            due += random.expovariate(given.rate)
            time.sleep(max(0.0, due - time.perf_counter()))
        driver.enqueue("stamp", time.monotonic_ns(), payload)
        if not given.rate:
            time.sleep(random.uniform(0.8, 1.2) * given.gap)
    return watch.taken(given.jobs)


SYNC = {
    "enqueue-single": _single_sync,
    "enqueue-bulk": _bulk_sync,
    "enqueue-concurrent": _concurrent_sync,
    "fill": _fill_sync,
    "latency": _latency_sync,
}
