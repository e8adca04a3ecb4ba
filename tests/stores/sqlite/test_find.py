"""What only SQL could get wrong: odd text, errors in any case of letters, pages over several indexes, large numbers."""

from __future__ import annotations

import pytest

from mainspring.core.job import Error, Run, State
from mainspring.core.records import Record
from mainspring.errors import DefinitionError, InputError
from mainspring.stores.base import LogLine, Query
from mainspring.stores.sqlite import SQLiteStore, find
from tests.conformance.bench import Bench
from tests.factory import NOW, make_job

ODD = [
    "",
    "plain",
    'it\'s "quoted"',
    "back\\slash",
    "tab\tline\nend",
    "ünï ☃ 💥",
    "\u2028\x7f",
    "%_*?",
    "1e5",
]


@pytest.mark.parametrize("text", ODD)
async def test_text_comes_back_as_it_went_in(store: SQLiteStore, bench: Bench, text: str) -> None:
    job = make_job(
        f"id{text}", task=f"t{text}", queue=f"q{text}", origin=text, progress=f'"{len(text)}"', input=text, result=text,
        key=text, reason=text, meta={text: text}, error=Error(type=text, message=text, traceback=text),
        runs=(Run(claim=1, attempt=1, outcome="failed", started_at=1, ended_at=2, worker=text, note=text),),
        retry={text: [1, 2.5, None, 2**62]},
    )  # fmt: skip
    await bench.add(job)
    assert await bench.row(job.id) == job.evolve(version=1)
    assert (await store.find(Query(task=job.task, queue=job.queue, origin=text))).jobs == [
        job.evolve(version=1, input=None, result=None)
    ]
    taken, _ = await store.claim(job.queue, {job.task: 1}, f"w:{text}", f"token{text}", NOW, NOW + 1, 5)
    assert [(row.id, row.worker, row.token, row.input) for row in taken] == [
        (job.id, f"w:{text}", f"token{text}", text)
    ]
    await store.append([LogLine(job.id, 1, NOW, "info", text)], 5)
    assert [line.text for line in await store.tail(job.id)] == [text]
    record = Record(kind=f"k{text}", name=f"n{text}", written_at=5, value={text: text})
    assert await store.write([record]) == [await store.read(record.kind, record.name)]


async def test_a_nul_is_kept_in_values_and_refused_in_names(store: SQLiteStore, bench: Bench) -> None:
    await bench.add(make_job("a", progress="\0", input="\0", meta={"\0": "\0"}))
    job = await bench.row("a")
    assert (job.progress, job.input, job.meta) == ("\0", "\0", {"\0": "\0"})
    await store.append([LogLine("a", 1, NOW, "info", "x\0y")], 5)
    assert [line.text for line in await store.tail("a")] == ["x\0y"]
    for call in (bench.add(make_job("a\0b")), store.get(["a\0"]), store.write([Record(kind="k", name="\0")])):
        with pytest.raises(InputError, match="NUL character"):
            await call


async def test_large_numbers_come_back(bench: Bench) -> None:
    job = make_job(due=2**53 + 1, created_at=-5, order=2**63 - 1, expires_at=2**62 + 1)
    await bench.add(job)
    assert await bench.row(job.id) == job.evolve(version=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("boom", True),
        ("VALUEERROR: B", True),
        ("ÜBER", True),
        ("über 9%", True),
        ("9_", False),
        ("traceback", False),
    ],
)
async def test_errors_are_found_in_any_case_of_letters(
    store: SQLiteStore, bench: Bench, text: str, found: bool
) -> None:
    error = Error(type="ValueError", message="Boom über 9% done", traceback="the traceback")
    await bench.add(make_job("a", state=State.DEAD, error=error), make_job("b", state=State.DEAD), make_job("c"))
    for states in ((), (State.DEAD, State.WAITING)):
        page = await store.find(Query(states=states, error=text))
        assert [job.id for job in page.jobs] == (["a"] if found else [])
    assert sum(count.jobs for count in await store.count(Query(error=text))) == int(found)


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("few", [0, find.FEW])
async def test_pages_over_several_states_keep_the_order_of_insertion(
    store: SQLiteStore, bench: Bench, monkeypatch: pytest.MonkeyPatch, oldest_first: bool, few: int
) -> None:
    monkeypatch.setattr(find, "FEW", few)  # How waiting jobs are read depends on how many there are.
    states = [State.DEAD, State.WAITING, State.RUNNING, State.PAUSED, State.COMPLETED]
    await bench.add(*(make_job(f"{n:02}", state=states[n % 5], due=NOW - n, priority=n % 7) for n in range(50)))
    wanted = (State.DEAD, State.WAITING, State.RUNNING, State.DEAD)
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.find(Query(states=wanted, limit=7, after=cursor, oldest_first=oldest_first))
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.jobs) == 7
    expected = [f"{n:02}" for n in range(50) if states[n % 5] in wanted]
    assert seen == (expected if oldest_first else expected[::-1])


async def test_a_cursor_of_somebody_else_is_refused(store: SQLiteStore, bench: Bench) -> None:
    await bench.add(make_job())
    with pytest.raises(DefinitionError, match="bad cursor: 'x1'"):
        await store.find(Query(after="x1"))
