"""Whether a Redis or Valkey server is fit for jobs."""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.admin.doctor.finding import Facts, Finding, danger, note, number, ok, size, warning

MENDED = {"redis": (7, 2), "valkey": (7, 2)}
"""The oldest versions for which their makers still mend what is found."""
SLOW_PING = 5.0
FULL, NEARLY_FULL = 0.95, 0.8


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings in the order in which they hurt."""
    yield from _scripts(facts)
    yield from _cluster(facts)
    yield from _eviction(facts)
    yield from _memory(facts)
    yield from _persistence(facts)
    yield from _failed_saves(facts)
    yield from _replication(facts)
    yield from _stepped_clock(facts)
    yield from _version(facts)
    yield from _connections(facts)
    yield from _latency(facts)


def _scripts(facts: Facts) -> Iterator[Finding]:
    if "scripts" in facts:
        yield ok("scripts", f"all {facts['scripts']} load, and run")
        return
    advice = "give the user +eval, +evalsha, +script and +@all on its keys, or upgrade the server; `not read` says why"
    yield danger("scripts", "the server does not run the scripts of the store", "EVALSHA and SCRIPT LOAD", advice)


def _cluster(facts: Facts) -> Iterator[Finding]:
    state = facts.get("cluster-state")
    if state is None:
        return
    where = f"slot {facts['slot']} of namespace {facts['namespace']!r} is on {facts.get('node', 'this node')}"
    if state != "ok":
        yield danger("cluster", f"its state is {state}; {where}", "ok", "see CLUSTER NODES for what is missing")
    elif facts.get("slot-moves"):
        advice = "finish the move (redis-cli --cluster fix): calls are refused until then, and leases run on"
        yield warning("cluster", f"{where}, and is on its way to or from another node", "a slot that stays", advice)
    else:
        yield ok("cluster", where)


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy, most = facts.get("maxmemory-policy"), number(facts, "maxmemory")
    if policy is None:
        return
    evicted = number(facts, "evicted") or 0
    gone = f"; {evicted:,} keys were evicted since the server started" if evicted else ""
    advice = "CONFIG SET maxmemory-policy noeviction, and in the configuration file"
    if str(policy).startswith("allkeys"):
        when = "when memory is full" if most else "as soon as a maxmemory is set"
        found = f"{policy}: the server erases jobs {when}{gone}"
        yield danger("maxmemory-policy", found, "noeviction", advice)
    elif policy != "noeviction":
        found = f"{policy}: only keys with a TTL go, which jobs have not, but hints have{gone}"
        yield warning("maxmemory-policy", found, "noeviction", advice)
    elif evicted:
        advice = "compare what is stored with what should be: jobs may be among them"
        yield warning("maxmemory-policy", f"noeviction now{gone}", "no evicted keys", advice)
    else:
        yield ok("maxmemory-policy", "noeviction")


def _memory(facts: Facts) -> Iterator[Finding]:
    most, used = number(facts, "maxmemory"), number(facts, "used-memory")
    if most is None or used is None:
        return
    if not most:
        advice = "CONFIG SET maxmemory: what does not fit is refused then, where otherwise the system ends the server"
        yield note("memory", f"{size(used)} used, without limit", "a maxmemory", advice)
        return
    found = f"{size(used)} of {size(most)} used ({used / most:.0%})"
    advice = "raise maxmemory, or keep less: shorter retention, smaller inputs and results"
    if used > FULL * most:
        yield danger("memory", f"{found}: enqueues are refused, or soon will be", "room", advice)
    elif used > NEARLY_FULL * most:
        yield warning("memory", found, "less than 80 %", advice)
    else:
        yield ok("memory", found)


def _persistence(facts: Facts) -> Iterator[Finding]:
    if "aof" not in facts:
        return
    save = str(facts["save"]) if "save" in facts else None
    advice = "CONFIG SET appendonly yes, and in the configuration file"
    if facts["aof"]:
        yield _fsync(facts)
    elif save == "":
        found = "none, neither AOF nor snapshots: a restart loses all jobs"
        yield warning("persistence", found, "appendonly yes", advice)
    else:
        often = "" if save is None else f" (save {save})"
        found = f"snapshots at most{often}: a crash loses what was written since the last one"
        yield warning("persistence", found, "appendonly yes", advice)


def _fsync(facts: Facts) -> Finding:
    lost = {"always": "nothing that was answered is lost", "everysec": "a power loss loses about the last second"}
    policy = facts.get("appendfsync")
    if policy is None:
        return ok("persistence", "AOF")
    if policy in lost:
        return ok("persistence", f"AOF, appendfsync {policy}: {lost[str(policy)]}")
    found = f"AOF, appendfsync {policy}: a power loss loses as much as the system had not written, some 30 s"
    return warning("persistence", found, "everysec or always", "CONFIG SET appendfsync everysec")


def _failed_saves(facts: Facts) -> Iterator[Finding]:
    # The AOF's status stands in INFO also where it is off, and is "ok" then.
    failed = [name for name in ("last-snapshot", "last-aof-write") if facts.get(name, "ok") != "ok"]
    if failed:
        found = f"{' and '.join(failed)} failed: the server refuses writes, or soon will"
        yield danger("disk", found, "ok", "look at the server's log and at the space on its disk")


def _replication(facts: Facts) -> Iterator[Finding]:
    replicas, least = number(facts, "replicas"), number(facts, "min-replicas-to-write")
    if replicas is None:
        return
    if least and replicas < least:
        found = f"{replicas} connected, and min-replicas-to-write is {least}: all writes are refused"
        yield danger("replicas", found, f"at least {least}", "bring the replicas back, or lower the setting")
    elif not replicas and facts.get("mode", "standalone") != "standalone":
        advice = "add a replica: when this master goes, nobody can take its place"
        yield warning("replicas", "none", "at least one", advice)
    elif replicas and least == 0:
        advice = "CONFIG SET min-replicas-to-write 1: a master that is cut off stops taking what a failover loses"
        yield note("replicas", f"{replicas} connected, min-replicas-to-write 0", "1", advice)
    elif replicas:
        yield ok("replicas", f"{replicas} connected" + ("" if least is None else f", min-replicas-to-write {least}"))


def _stepped_clock(facts: Facts) -> Iterator[Finding]:
    offset = number(facts, "clock-offset")
    if offset:
        found = f"the server's clock stepped: the time of the namespace is {offset:+,} ms off, and on its way back"
        yield note("clock of the server", found, "0", "set the server's clock by NTP; nothing else is to be done")


def _version(facts: Facts) -> Iterator[Finding]:
    product, _, text = str(facts["server"]).partition(" ")
    version = tuple(int(part) for part in text.split("."))
    remark = "" if facts.get("allow-oom") else "; when memory is full it refuses settles and renewals, too"
    oldest = MENDED.get(product, ())
    if version < oldest or remark:
        expected = f"{product} {'.'.join(map(str, oldest))} or newer"
        found = f"{facts['server']}, which its makers no longer mend{remark}"
        yield note("version", found, expected, "upgrade the server when you can")
    else:
        yield ok("version", str(facts["server"]))


def _connections(facts: Facts) -> Iterator[Finding]:
    open_now, most, idle = (number(facts, name) for name in ("clients", "maxclients", "timeout"))
    if open_now is not None and most and open_now > NEARLY_FULL * most:
        advice = "raise maxclients: each worker process keeps about five connections"
        yield warning("connections", f"{open_now} of {most}", "less than 80 % of maxclients", advice)
    if idle:
        found = f"the server closes connections that were idle for {idle} s"
        yield note("timeout", found, "0", "CONFIG SET timeout 0: dead connections are found by keep-alive")


def _latency(facts: Facts) -> Iterator[Finding]:
    usual, worst = facts["ping-ms"], facts["ping-worst-ms"]
    found = f"a PING takes {usual:g} ms, at worst {worst:g} ms"
    if float(usual) > SLOW_PING:
        advice = "bring workers and server closer; look at SLOWLOG and at the load of both machines"
        yield note("latency", found, f"under {SLOW_PING:g} ms", advice)
    else:
        yield ok("latency", found)
