"""Whether a database file lies where jobs are safe."""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.admin.doctor.finding import Facts, Finding, danger, note, number, ok, size, warning

NETWORK = {
    "9p", "afs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs",
    "lustre", "nfs", "nfs4", "smb2", "smb3", "smbfs",
}  # fmt: skip
"""File systems of other machines: SQLite's locks and shared memory do not hold there."""
FLEETING = {
    "tmpfs": "it is gone when this machine restarts",
    "ramfs": "it is gone when this machine restarts",
    "overlay": "it is gone with its container",
}
LITTLE, VERY_LITTLE = 1_000_000_000, 100_000_000
LONG_LOG = 256_000_000


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings in the order in which they hurt."""
    if facts.get("path") == ":memory:":
        advice = "name a file, sqlite:///jobs.db, for jobs that are to outlive their process"
        yield note("file", "none: the jobs are in memory, and end with this process", "a file", advice)
        return
    yield from _file(facts)
    yield from _file_system(facts)
    yield from _durability(facts)
    yield from _space(facts)
    yield from _watch(facts)


def _file(facts: Facts) -> Iterator[Finding]:
    where = f"{facts['path']}, {size(number(facts, 'size') or 0)}"
    if not facts.get("writable"):
        advice = "give this user the right to write the file and its folder"
        yield danger("file", f"{where}, which cannot be written", "a file that can be written", advice)
    else:
        yield ok("file", where)


def _file_system(facts: Facts) -> Iterator[Finding]:
    kind = facts.get("file-system")
    if kind in NETWORK:
        advice = "move the file to a disk of this machine, or use a Redis store"
        found = f"{kind}, of another machine: locks do not hold there, and the file may be damaged"
        yield danger("file-system", found, "a local disk", advice)
    elif kind in FLEETING:
        yield note("file-system", f"{kind}: {FLEETING[str(kind)]}", "a disk that stays", "put the file elsewhere")
    elif kind is not None:
        yield ok("file-system", str(kind))


def _durability(facts: Facts) -> Iterator[Finding]:
    if facts["journal-mode"] != "wal":
        advice = "let a worker open the file while nothing else has it open"
        yield danger("journal-mode", f"{facts['journal-mode']}: readers and writers shut each other out", "wal", advice)
    lost = {"full": "nothing that was answered is lost", "extra": "nothing that was answered is lost"}
    lost["normal"] = "a power loss loses the last commits, a crash of a process nothing"
    mode = str(facts["synchronous"])
    if mode in lost:
        yield ok("synchronous", f"{mode}: {lost[mode]}")
    else:
        advice = "take ?synchronous=off out of the URL"
        yield warning("synchronous", f"{mode}: a power loss may damage the file", "normal or full", advice)


def _space(facts: Facts) -> Iterator[Finding]:
    free, log = number(facts, "free"), number(facts, "log-size") or 0
    if free is not None:
        advice = "free some: a full disk refuses every write"
        if free < VERY_LITTLE:
            yield danger("disk", f"{size(free)} free", "more than 1 GB", advice)
        elif free < LITTLE:
            yield warning("disk", f"{size(free)} free", "more than 1 GB", advice)
        else:
            yield ok("disk", f"{size(free)} free")
    if log > LONG_LOG:
        advice = "find the connection that keeps a transaction open: the log cannot be taken in while it reads"
        yield warning("log", f"the write-ahead log has {size(log)}", "less than 64 MB", advice)


def _watch(facts: Facts) -> Iterator[Finding]:
    if not facts.get("watched"):
        found = "the system does not tell of changes to the file: idle workers look for them 100 times a second"
        yield note("watch", found, "inotify", "on Linux, see fs.inotify.max_user_instances; elsewhere there is none")
