"""A random life of many jobs, over every verb that changes one."""

from __future__ import annotations

import random

from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.stores.sqlite import SQLiteStore
from tests.factory import NOW, make_job


async def live(store: SQLiteStore, rounds: int, seed: int = 7) -> None:
    dice = random.Random(seed)
    for number in range(rounds):
        now = NOW + number
        await store.add([_job(dice, now) for _ in range(dice.randrange(4))])
        taken, _ = await store.claim(
            dice.choice(["default", "other"]), {"a": None, "b": 2}, "w:1", new_token(), now, now + 5, dice.randrange(5)
        )
        known = await store.get([f"k{n}" for n in range(10)])
        jobs = taken + [job for job in known if job is not None]
        await store.save([_changed(dice, job, now) for job in dice.sample(jobs, dice.randrange(len(jobs) + 1))])
        if number % 10 == 0:
            await store.purge(now, 3)


def _job(dice: random.Random, now: int) -> Job:
    keyed = dice.random() < 0.3
    return make_job(
        f"k{dice.randrange(10)}" if keyed else None,
        keyed=keyed,
        task=dice.choice(["a", "b"]),
        queue=dice.choice(["default", "other"]),
        origin=dice.choice(["call", "tick"]),
        due=now + dice.randrange(20),
    )


def _changed(dice: random.Random, job: Job, now: int) -> Job:
    state = dice.choice(list(State))
    return job.evolve(
        state=state,
        queue=dice.choice(["default", "other"]),
        due_at=now + dice.randrange(20),
        expires_at=dice.choice([None, 0, now + 5]) if state.terminal else None,
    )
