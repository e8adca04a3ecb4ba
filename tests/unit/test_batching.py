"""Natural batches, and what overtakes what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mainspring.batching import Batcher


class Desk:
    """A `send` whose batches are answered when the test says so."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.gates: list[asyncio.Future[None]] = []

    async def send(self, items: list[int]) -> Sequence[int]:
        self.sent.append(items)
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return [item * 10 for item in items]


async def turns(desk: Desk, batches: int) -> None:
    async with asyncio.timeout(60):
        while len(desk.sent) < batches:
            await asyncio.sleep(0)


async def test_what_comes_while_a_batch_is_in_flight_is_the_next_one() -> None:
    desk = Desk()
    batcher = Batcher(desk.send, most=10)
    answers = [batcher.submit(1)]
    await turns(desk, 1)
    answers += [batcher.submit(2), batcher.submit(3)]
    await asyncio.sleep(0)
    assert desk.sent == [[1]]
    desk.gates[0].set_result(None)
    await turns(desk, 2)
    desk.gates[1].set_result(None)
    assert (desk.sent, await asyncio.gather(*answers)) == ([[1], [2, 3]], [10, 20, 30])


async def test_a_batch_that_is_not_answered_in_time_holds_nobody_up() -> None:
    desk = Desk()
    batcher = Batcher(desk.send, most=10, patience=0.001)
    stuck = batcher.submit(1)
    await turns(desk, 1)
    next_ = batcher.submit(2)
    await turns(desk, 2)
    desk.gates[1].set_result(None)
    assert await next_ == 20
    assert not stuck.done()
    draining = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0)
    assert not draining.done(), "it is still to be answered"
    desk.gates[0].set_result(None)
    await draining
    assert await stuck == 10


async def test_without_a_patience_the_order_is_kept() -> None:
    desk = Desk()
    batcher = Batcher(desk.send, most=10)
    batcher.submit(1)
    await turns(desk, 1)
    last = batcher.submit(2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert desk.sent == [[1]]
    desk.gates[0].set_result(None)
    await turns(desk, 2)
    desk.gates[1].set_result(None)
    assert await last == 20


async def test_a_caller_that_sends_for_itself_holds_nobody_up_either() -> None:
    desk = Desk()
    batcher = Batcher(desk.send, most=10, patience=0.001)
    stuck = asyncio.create_task(batcher.put(1))
    await turns(desk, 1)
    followers = [asyncio.create_task(batcher.put(n)) for n in (2, 3)]
    await turns(desk, 2)
    assert desk.sent == [[1], [2, 3]]
    desk.gates[1].set_result(None)
    assert await asyncio.gather(*followers) == [20, 30]
    again = asyncio.create_task(batcher.put(4))
    await turns(desk, 3)
    desk.gates[2].set_result(None)
    assert await again == 40
    draining = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0)
    assert not draining.done(), "it is still to be answered"
    desk.gates[0].set_result(None)
    await draining
    assert await stuck == 10


async def test_so_many_go_out_beside_each_other_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.batching.BESIDE", 2)
    desk = Desk()
    batcher = Batcher(desk.send, most=1, patience=0)
    answers = [batcher.submit(n) for n in range(4)]
    await turns(desk, 2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert desk.sent == [[0], [1]]
    desk.gates[1].set_result(None)
    await turns(desk, 3)
    for gate in (0, 2):
        desk.gates[gate].set_result(None)
    await turns(desk, 4)
    desk.gates[3].set_result(None)
    assert await asyncio.gather(*answers) == [0, 10, 20, 30]
