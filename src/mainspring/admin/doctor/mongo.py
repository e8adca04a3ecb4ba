"""Whether a MongoDB deployment is fit for jobs."""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.admin.doctor.finding import Facts, Finding, danger, note, number, ok, size, warning

MENDED = (7, 0)
"""The oldest version for which its maker still mends what is found."""
SLOW_PING, SLOW_WRITE = 5.0, 50.0
"""ms."""
LITTLE, VERY_LITTLE = 1_000_000_000, 100_000_000
BEHIND = 10.0
"""Seconds that a member may be behind the newest write."""
LONG_ELECTION = 5_000
"""ms. A lease has 10 s left at least when its primary dies, and the new one needs a moment, too."""
FULL = 0.9
SHORT_OPLOG = 24.0
"""Hours for which a member should be able to be away and still catch up."""


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings in the order in which they hurt."""
    yield from _indexes(facts)
    yield from _mode(facts)
    yield from _members(facts)
    yield from _behind(facts)
    yield from _elections(facts)
    yield from _write_concern(facts)
    yield from _journal(facts)
    yield from _retries(facts)
    yield from _space(facts)
    yield from _oplog(facts)
    yield from _stepped_clock(facts)
    yield from _version(facts)
    yield from _latency(facts)


def _indexes(facts: Facts) -> Iterator[Finding]:
    missing = facts.get("missing-indexes")
    if missing == "none":
        yield ok("indexes", "all there")
    elif missing is not None:
        advice = "restart a worker, or whatever else opens the store: that makes them again"
        yield danger("indexes", f"missing: {missing}; what needs them fails", "all of them", advice)


def _mode(facts: Facts) -> Iterator[Finding]:
    where = f"database {facts['database']!r}, prefix {facts['prefix']!r}"
    if facts["mode"] == "standalone":
        found = f"a single server without replica set: no transactions, no failover; {where}"
        yield warning("mode", found, "a replica set", "mongod --replSet rs0, then rs.initiate(): one member will do")
    else:
        yield ok("mode", f"{facts['mode']}; {where}")


def _members(facts: Facts) -> Iterator[Finding]:
    if facts["mode"] != "replica set":
        return
    members, healthy = number(facts, "members") or 1, number(facts, "healthy-members")
    if members == 1:
        found = "one: when it is away nothing moves, and with its disk all jobs are lost"
        yield note("members", found, "three", "add two members; for development one will do")
    elif healthy is None:
        return
    elif 2 * healthy <= members:
        found = f"{healthy} of {members} are well: there is no majority, and no write is accepted"
        yield danger("members", found, "a majority", "bring the others back; see rs.status()")
    elif healthy < members:
        yield warning("members", f"{healthy} of {members} are well", "all of them", "see rs.status()")
    else:
        yield ok("members", f"{members}, all well")


def _behind(facts: Facts) -> Iterator[Finding]:
    seconds = facts.get("furthest-behind-seconds")
    if seconds is not None and float(seconds) > BEHIND:
        found = f"a member is {float(seconds):,.0f} s behind"
        advice = "look at its disk and its network: a majority without it is a narrow one"
        yield warning("replication", found, f"under {BEHIND:g} s", advice)


def _elections(facts: Facts) -> Iterator[Finding]:
    timeout = number(facts, "election-timeout-ms")
    if timeout is not None and timeout > LONG_ELECTION and (number(facts, "members") or 1) > 1:
        found = (
            f"a primary that dies is missed after {timeout / 1_000:g} s; leases may end meanwhile, and jobs run again"
        )
        advice = "electionTimeoutMillis: 5000 by rs.reconfig(), where the network between the members allows it"
        yield note("elections", found, f"at most {LONG_ELECTION / 1_000:g} s", advice)


def _write_concern(facts: Facts) -> Iterator[Finding]:
    concern, members = str(facts["write-concern"]), number(facts, "members") or 1
    many = concern.isdigit() and 2 * int(concern) > members
    if concern == "majority" or many or facts["mode"] == "standalone":
        yield ok("write concern", concern)
    elif concern.isdigit():
        found = f"w={concern} of {members} members: a failover may lose what was accepted, and undo what has ended"
        yield warning("write concern", found, "majority", "take w= out of the URL of the store")
    else:
        advice = "see that it waits for a majority, or take w= out of the URL of the store"
        yield note("write concern", concern, "majority", advice)


def _journal(facts: Facts) -> Iterator[Finding]:
    said, of_majority = facts.get("journal"), facts.get("majority-journal")
    if said == "False":
        found = "journal=false: when the power goes, what was accepted in the last moments is lost"
        yield warning("journal", found, "true", "take journal= out of the URL of the store")
    elif said == "True":
        yield ok("journal", "writes wait for it")
    elif facts["mode"] == "standalone":
        found = "writes do not wait for it: a crash of the server loses up to the last 100 ms"
        advice = "say journal=true in the URL of the store: then each write waits for the disk"
        yield note("journal", found, "true", advice)
    elif of_majority == 0:
        found = "writeConcernMajorityJournalDefault is false: when the power goes, what was accepted last is lost"
        yield warning("journal", found, "true", "set it by rs.reconfig(), or say journal=true in the URL of the store")
    elif of_majority is not None:
        yield ok("journal", "majority writes wait for it")


def _retries(facts: Facts) -> Iterator[Finding]:
    if facts.get("retry-writes") == 0 and facts["mode"] != "standalone":
        found = "off: an election fails calls that could have been repeated"
        yield warning("retryWrites", found, "true", "take retryWrites= out of the URL of the store")


def _space(facts: Facts) -> Iterator[Finding]:
    free, data, indexes = (number(facts, name) for name in ("disk-free", "data-size", "index-size"))
    if data is not None and indexes is not None:
        yield ok("size", f"{size(data)} of documents, {size(indexes)} of indexes")
    if free is None:
        return
    advice = "free some: a server whose disk is full ends itself"
    if free < VERY_LITTLE:
        yield danger("disk", f"{size(free)} free", "more than 1 GB", advice)
    elif free < LITTLE:
        yield warning("disk", f"{size(free)} free", "more than 1 GB", advice)
    else:
        yield ok("disk", f"{size(free)} free")


def _oplog(facts: Facts) -> Iterator[Finding]:
    hours, used = facts.get("oplog-hours"), facts.get("oplog-used")
    if hours is None or used is None:
        return
    if float(used) > FULL and float(hours) < SHORT_OPLOG:
        found = f"reaches back {float(hours):g} hours: a member that is away for longer has to be copied anew"
        advice = "db.adminCommand({replSetResizeOplog: 1, size: <MB>}) on each member"
        yield warning("oplog", found, f"{SHORT_OPLOG:g} hours", advice)
    else:
        yield ok("oplog", f"reaches back {float(hours):g} hours, and is {float(used):.0%} full")


def _stepped_clock(facts: Facts) -> Iterator[Finding]:
    offset = number(facts, "clock-offset")
    if offset:
        found = f"the primary's clock stepped: the time of the store is {offset:+,} ms off, and on its way back"
        yield note("clock of the server", found, "0", "set the members' clocks by NTP; nothing else is to be done")


def _version(facts: Facts) -> Iterator[Finding]:
    text = str(facts["server"])
    if tuple(int(part) for part in text.partition("-")[0].split(".")[:2]) < MENDED:
        found = f"MongoDB {text}, which its maker no longer mends"
        yield note("version", found, f"{'.'.join(map(str, MENDED))} or newer", "upgrade the server when you can")
    else:
        yield ok("version", f"MongoDB {text}")


def _latency(facts: Facts) -> Iterator[Finding]:
    ping, worst, write = (float(facts[name]) for name in ("ping-ms", "ping-worst-ms", "write-ms"))
    found = f"a ping takes {ping:g} ms, at worst {worst:g} ms; a write that waits as ours do {write:g} ms"
    if ping > SLOW_PING:
        advice = "bring workers and server closer; look at the load of both machines"
        yield note("latency", found, f"a ping under {SLOW_PING:g} ms", advice)
    elif write > SLOW_WRITE:
        advice = "look at the disks of the members, and at how far they are from each other"
        yield note("latency", found, f"a write under {SLOW_WRITE:g} ms", advice)
    else:
        yield ok("latency", found)
