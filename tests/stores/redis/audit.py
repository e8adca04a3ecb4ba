"""Reads all keys of a namespace and says what does not fit together: the job rows are the truth, all else follows.

For quiet moments: it takes many commands, and what is written meanwhile looks like a fault. It knows the keys from the
comment in `lua/rows.lua`, and works out by itself what has to be in each.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, cast

import redis

from mainspring.core.job import TERMINAL, Job, State
from mainspring.core.records import Record
from mainspring.stores.redis.records import read_record
from mainspring.stores.redis.rows import read_job
from mainspring.stores.redis.settings import parse
from tests.servers.redis import client, execute

FIXED = ("meta", "seq", "counts", "expiry", "rec-expiry", "events")
"""Keys of which there is one in each namespace."""
INDEXES = ("idx", "due", "ready", "priorities", "run", "held", "expiry", "rec-names", "rec-due", "rec-expiry", "counts")
"""Families of keys that follow from rows and records."""
PASSING = ("hint", "full", "followed", "events")
"""Families that nobody owns: each key ends by itself."""
MOST_EVENTS = 2_200
"""Entries in the stream at most: about 2,000."""

Members = dict[str, float]
_number = struct.Struct(">Q").unpack_from


def audit(url: str, namespace: str | None = None) -> dict[str, int]:
    """Check the namespace that a store at `url` would use. Answers how many keys there are of each family.

    For a cluster, `url` names the node of the namespace's slot. Raises `AssertionError` with everything that is wrong.
    """
    settings = parse(url)
    place = url.partition("?")[0]
    with client(place) as connection:
        found = Audit(connection, f"{{{namespace or settings.namespace}}}:")
        wrong = found.run()
        assert not wrong, f"{len(wrong)} faults in {found.prefix}*:\n" + "\n".join(wrong[:40])
        return dict(Counter(found.family(key) for key in found.kinds))


class Audit:
    """One look at a namespace."""

    def __init__(self, connection: redis.Redis, prefix: str) -> None:
        self.connection = connection
        self.prefix = prefix
        self.wrong: list[str] = []
        self.kinds: dict[str, str] = {}
        """All keys without the prefix, and the type of each."""
        self.jobs: dict[str, tuple[int, Job]] = {}
        """Place and row, by id."""
        self.records: list[Record] = []

    def run(self) -> list[str]:
        self._read_keys()
        self._read_jobs()
        self._read_records()
        self._check_indexes()
        self._check_logs()
        self._check_places()
        self._check_ends()
        return self.wrong

    @staticmethod
    def family(key: str) -> str:
        return key.partition(":")[0]

    def of(self, family: str) -> list[str]:
        return [key for key in self.kinds if self.family(key) == family]

    def say(self, key: str, what: str) -> None:
        self.wrong.append(f"{key}: {what}")

    # -- reading -----------------------------------------------------------------------------------------------

    def command(self, name: str, key: str, *args: Any) -> Any:
        return execute(self.connection, name, self.prefix + key, *args)

    def _many(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        pipeline = self.connection.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        return list(pipeline.execute())

    def _read_keys(self) -> None:
        keys = [cast(bytes, key) for key in self.connection.scan_iter(match=self.prefix + "*", count=1_000)]
        kinds = self._many(("TYPE", key) for key in set(keys))
        for found, kind in zip(set(keys), kinds, strict=True):
            self.kinds[found.decode().removeprefix(self.prefix)] = kind.decode()
        known = {"job", "log", "rec", *FIXED, *INDEXES, *PASSING}
        for key in self.kinds:
            if self.family(key) not in known:
                self.say(key, "a key that nobody knows")

    def _read_jobs(self) -> None:
        keys = self.of("job")
        rows = self._many(("HGETALL", self.prefix + key) for key in keys)
        for key, fields in zip(keys, rows, strict=True):
            id = key.removeprefix("job:")
            if not set(fields) <= {b"j", b"i", b"r"} or b"j" not in fields:
                self.say(key, f"has the fields {sorted(fields)}")
                continue
            row = fields[b"j"]
            self.jobs[id] = _number(row)[0], read_job(id, row, fields.get(b"i"), fields.get(b"r"))

    def _read_records(self) -> None:
        for key in self.of("rec"):
            kind = key.removeprefix("rec:")
            for name, packed in self.command("HGETALL", key).items():
                self.records.append(read_record(kind, name.decode(), packed))

    # -- what has to be there ----------------------------------------------------------------------------------

    def _expected(self) -> dict[str, Members]:
        """Each index, as the rows and records demand it."""
        indexes: dict[str, Members] = defaultdict(dict)
        for id, (place, job) in self.jobs.items():
            for key, score in _places(place, job):
                indexes[key][id] = score
            field = "\x1f".join((job.state, job.queue, job.task, str(int(job.keyed)), job.origin))
            indexes["counts"][field] = indexes["counts"].get(field, 0) + 1
        for key in [key for key in indexes if key.startswith("due:")]:
            _, queue, task, priority = key.split(":")
            indexes[f"ready:{queue}:{priority}"][task] = min(indexes[key].values())
            indexes[f"priorities:{queue}"][priority] = float(priority)
        for record in self.records:
            for key, member, score in _record_places(record):
                indexes[key][member] = score
        return dict(indexes)

    def _check_indexes(self) -> None:
        expected = self._expected()
        stored = {key: self._members(key) for family in INDEXES for key in self.of(family)}
        for key in sorted(expected.keys() | stored.keys()):
            want, have = expected.get(key, {}), stored.get(key, {})
            for member in sorted(want.keys() | have.keys()):
                if want.get(member) != have.get(member):
                    self.say(key, f"{member!r} is {have.get(member)}, expected {want.get(member)}")

    def _members(self, key: str) -> Members:
        if self.kinds[key] == "hash":
            return {field.decode(): float(value) for field, value in self.command("HGETALL", key).items()}
        scores = cast("list[tuple[bytes, float]]", self.connection.zrange(self.prefix + key, 0, -1, withscores=True))
        return {member.decode(): score for member, score in scores}

    def _check_logs(self) -> None:
        for key in self.of("log"):
            if key.removeprefix("log:") not in self.jobs:
                self.say(key, "a log without a job")
            numbers = [_number(line)[0] for line in self.command("LRANGE", key, 0, -1)]
            if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                self.say(key, f"its lines are numbered {numbers}")

    def _check_places(self) -> None:
        places = [place for place, _ in self.jobs.values()]
        given = int(execute(self.connection, "GET", f"{self.prefix}seq") or 0)
        if len(set(places)) < len(places):
            self.say("seq", "two jobs are in one place")
        if max(places, default=0) > given:
            self.say("seq", f"{given} places were given, and {max(places)} is taken")

    def _check_ends(self) -> None:
        """What no row and no record owns must end by itself, and be small until then."""
        for family in PASSING:
            for key in self.of(family):
                if self.command("PTTL", key) < 0:
                    self.say(key, "has no owner and no end")
        for key in self.of("hint"):
            if (tokens := self.command("LLEN", key)) != 1:
                self.say(key, f"holds {tokens} tokens")
        if self.kinds.get("events") and (entries := self.command("XLEN", "events")) > MOST_EVENTS:
            self.say("events", f"holds {entries} entries")


def _places(place: int, job: Job) -> list[tuple[str, float]]:
    """The indexes that a job must be in, each with its score."""
    kind = "live" if job.state in (State.WAITING, State.RUNNING) else job.state.value
    found: list[tuple[str, float]] = [(f"idx:{job.queue}:{job.task}:{kind}", place)]
    if job.state is State.WAITING:
        found.append((f"due:{job.queue}:{job.task}:{job.priority}", job.due_at))
    elif job.state is State.RUNNING:
        found += [(f"run:{job.queue}", job.due_at), (f"held:{job.task}", job.due_at)]
    elif job.state in TERMINAL and job.expires_at is not None:
        found.append(("expiry", job.expires_at))
    return found


def _record_places(record: Record) -> list[tuple[str, str, float]]:
    found = [(f"rec-names:{record.kind}", record.name, 0.0)]
    if record.due_at is not None:
        found.append((f"rec-due:{record.kind}", record.name, record.due_at))
    if record.expires_at is not None:
        found.append(("rec-expiry", f"{record.kind}:{record.name}", record.expires_at))
    return found
