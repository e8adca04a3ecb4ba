"""What the jobs do, as coroutines and as functions; a driver registers one of the two sets under the same names.

Each returns a small value, so that a system that stores results has one to store.
"""

import asyncio
import time

import probe

NAP = 0.01
HALF = 0.5


async def noop(n: int, payload: str = ""):
    probe.tick()
    return n


async def nap(n: int, payload: str = ""):
    await asyncio.sleep(NAP)
    probe.tick()
    return n


async def half(n: int, payload: str = ""):
    probe.log("begin", n)
    await asyncio.sleep(HALF)
    probe.log("end", n)
    return n


async def stamp(n: int, payload: str = ""):
    probe.delay(n)
    return 0


COROUTINES = {"noop": noop, "nap": nap, "half": half, "stamp": stamp}


def noop_sync(n, payload=""):
    probe.tick()
    return n


def nap_sync(n, payload=""):
    time.sleep(NAP)
    probe.tick()
    return n


def half_sync(n, payload=""):
    probe.log("begin", n)
    time.sleep(HALF)
    probe.log("end", n)
    return n


def stamp_sync(n, payload=""):
    probe.delay(n)
    return 0


FUNCTIONS = {"noop": noop_sync, "nap": nap_sync, "half": half_sync, "stamp": stamp_sync}
