"""Logs: capped per job, read on from where one was."""

from __future__ import annotations

from mainspring.core.job import State
from mainspring.stores.base import LogLine
from tests.conformance.bench import Bench
from tests.factory import NOW, make_job


def lines(*texts: str, job: str = "a", claim: int = 1) -> list[LogLine]:
    return [LogLine(job, claim, NOW + n, "info", text) for n, text in enumerate(texts)]


async def test_lines_come_back_oldest_first_with_growing_numbers(bench: Bench) -> None:
    await bench.add(make_job("a"), make_job("b"))
    await bench.store.append(lines("one", "☃ two") + lines("other", job="b"), keep=100)
    await bench.store.append(lines("three", claim=2), keep=100)
    found = await bench.store.tail("a")
    assert [line._replace(seq=0) for line in found] == lines("one", "☃ two") + lines("three", claim=2)
    seqs = [line.seq for line in found]
    assert seqs == sorted(set(seqs))
    assert seqs[0] > 0
    assert [line.text for line in await bench.store.tail("b")] == ["other"]


async def test_reading_on_from_where_one_was(bench: Bench) -> None:
    await bench.add(make_job("a"))
    await bench.store.append(lines("1", "2", "3", "4"), keep=100)
    first = await bench.store.tail("a", limit=2)
    rest = await bench.store.tail("a", after=first[-1].seq)
    assert [line.text for line in first + rest] == ["1", "2", "3", "4"]
    assert await bench.store.tail("a", after=rest[-1].seq) == []


async def test_the_last_lines_stay(bench: Bench) -> None:
    await bench.add(make_job("a"), make_job("b"))
    await bench.store.append(lines("b", job="b"), keep=3)
    await bench.store.append(lines(*"12345"), keep=3)
    assert [line.text for line in await bench.store.tail("a")] == ["3", "4", "5"]
    seen = (await bench.store.tail("a"))[-1].seq
    await bench.store.append(lines("6"), keep=3)
    assert [line.text for line in await bench.store.tail("a")] == ["4", "5", "6"]
    assert [line.text for line in await bench.store.tail("a", after=seen)] == ["6"]
    assert [line.text for line in await bench.store.tail("b")] == ["b"]


async def test_lines_of_no_job_go_nowhere(bench: Bench) -> None:
    await bench.store.append(lines("x", job="nobody"), keep=3)
    await bench.store.append([], keep=3)
    assert await bench.store.tail("nobody") == []
    await bench.add(make_job("nobody"))
    assert await bench.store.tail("nobody") == []


async def test_a_log_goes_with_its_job(bench: Bench) -> None:
    await bench.add(make_job("a", state=State.COMPLETED, expires_at=NOW), make_job("b"))
    await bench.store.append(lines("x") + lines("y", job="b"), keep=3)
    await bench.store.purge(NOW, 10)
    await bench.add(make_job("a"))
    assert await bench.store.tail("a") == []
    assert len(await bench.store.tail("b")) == 1
