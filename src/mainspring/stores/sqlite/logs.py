"""The log lines of jobs: capped per job, erased with it. Insides of transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mainspring.stores.base import LogLine
from mainspring.stores.sqlite.transaction import Bulk, ask, json_list

# The number of each job that exists, and that of its last line.
ENDS = """
    SELECT json_group_array(json_array(
        jobs.id, jobs.seq, (SELECT coalesce(max(seq), 0) FROM mainspring_logs WHERE job = jobs.seq)
    ))
    FROM json_each(?) AS ids CROSS JOIN mainspring_jobs AS jobs ON jobs.id = ids.value"""

INSERT = Bulk("INSERT INTO mainspring_logs (job, seq, claim, at, level, text) VALUES {rows}", columns=6)

# Lines up to a number, of each job. Parameter: pairs of job and number.
TRIM = """
    DELETE FROM mainspring_logs WHERE (job, seq) IN (
        SELECT logs.job, logs.seq FROM json_each(?) AS ends CROSS JOIN mainspring_logs AS logs
        ON logs.job = json_extract(ends.value, '$[0]') AND logs.seq <= json_extract(ends.value, '$[1]')
    )"""

TAIL = """
    SELECT json_group_array(json_array(id, claim, at, level, text, seq)) FROM (
        SELECT jobs.id, logs.claim, logs.at, logs.level, logs.text, logs.seq
        FROM mainspring_jobs AS jobs CROSS JOIN mainspring_logs AS logs ON logs.job = jobs.seq
        WHERE jobs.id = ? AND logs.seq > ? ORDER BY logs.seq LIMIT ?
    )"""


def append(connection: sqlite3.Connection, lines: Sequence[LogLine], keep: int) -> None:
    """Append the lines of jobs that exist, and forget all but the last `keep` of each."""
    found = ask(connection, ENDS, json_list(list({line.job_id for line in lines})))
    ends = {id: [job, last] for id, job, last in found}
    rows = []
    for line in lines:
        if end := ends.get(line.job_id):
            end[1] += 1
            rows.append((*end, line.claim, line.at, line.level, line.text))
    INSERT.run(connection, rows)
    connection.execute(TRIM, (json_list([(job, last - keep) for job, last in ends.values() if last > keep]),))


def tail(connection: sqlite3.Connection, id: str, after: int, limit: int) -> list[LogLine]:
    return [LogLine(*row) for row in ask(connection, TAIL, id, after, limit)]
