"""Connections that are cut, half-open, black-holed or closed by the server: workers go on by themselves, and a job runs
twice only where its worker was lost to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.stores.redis.line import Line
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import CALL, ONE, QUICK, behind_proxy, rig_to, runs_add_up, turn, until, working
from tests.stores.redis.wire import link_to


@ONE
async def test_cut_while_idle(kind: str) -> None:
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            for _ in range(3):
                await idle(proxy)
                proxy.cut()
                await rig.goes_on()
            assert set(rig.ran.values()) == {1}


async def idle(proxy: Proxy) -> None:
    """Until the worker waits in both of its threads: a shared line and a blocked one each, and one that follows."""
    await until(lambda: proxy.open >= 4, "the worker to wait")


@pytest.mark.slow
@ONE
@pytest.mark.parametrize("how", ["cut", "half_open"])
async def test_spoiled_while_busy(kind: str, how: str) -> None:
    """A hundred jobs a round, while the connections break: each ends once in the store, and runs no more often than it
    was claimed."""
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            for _ in range(3):
                before = sum(rig.ran.values())
                asking = asyncio.create_task(rig.ask(100))
                await until(lambda before=before: sum(rig.ran.values()) > before + 10, "some runs")  # type: ignore[misc]
                getattr(proxy, how)()
                await rig.done(await asking)
            await runs_add_up(rig)


@pytest.mark.slow
@ONE
async def test_half_open_while_idle(kind: str) -> None:
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            await idle(proxy)
            proxy.half_open()
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}


@ONE
async def test_black_hole_while_idle(kind: str) -> None:
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            await idle(proxy)
            proxy.black_hole()
            await turn(3 * CALL)
            proxy.resume()
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}


@ONE
async def test_a_stop_is_not_held_up_by_waits_that_nobody_will_end(kind: str) -> None:
    """With a poll of 10 s the heartbeat listens for two minutes at a time."""
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig, poll=10) as worker:
            await idle(proxy)
            proxy.half_open()
            async with asyncio.timeout(60):
                await worker.stop()


@pytest.mark.slow
@ONE
async def test_an_idle_worker_finds_out_soon_that_all_its_connections_are_dead(kind: str) -> None:
    """Within its poll and two seconds, with calls that may take 6: a job of somebody else is picked up."""
    with behind_proxy(kind) as (server, proxy):
        async with rig_to(server.url) as rig:
            far = Mainspring(f"{proxy.url}?timeout=6s")
            picked_up = asyncio.Event()

            @far.task(name="job")
            async def job(n: int) -> None:
                picked_up.set()

            async with far.worker(**QUICK | {"poll": 1}):
                await until(lambda: proxy.open >= 4, "the worker to wait")
                proxy.half_open()
                await rig.ask()
                async with asyncio.timeout(60):
                    await picked_up.wait()
            await far.close()


@pytest.mark.slow
@ONE
async def test_black_hole_with_jobs_in_hand(kind: str) -> None:
    """For less than the lease: what runs keeps its job, and settles it when the store is back."""
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig, lease=10):
            rig.go_on.clear()
            numbers = await rig.ask(15)
            await until(lambda: all(rig.begun[n] for n in numbers), "them to begin")
            proxy.black_hole()
            rig.go_on.set()
            await turn(3 * CALL)
            proxy.resume()
            await rig.done(numbers)
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}
            assert all(job.claims == 1 for job in await rig.jobs())


@pytest.mark.slow
@ONE
async def test_a_black_hole_for_longer_than_the_lease(kind: str) -> None:
    """Handlers are told in time, and the jobs run again."""
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig) as worker:
            rig.go_on.clear()
            numbers = await rig.ask(5)
            await until(lambda: all(rig.begun[n] for n in numbers), "them to begin")
            ends = max(hold.job.due_at for hold in worker.desk.holds)
            proxy.black_hole()
            await until(lambda: worker.desk.running == 0, "the handlers to be told")
            assert worker.clock.now() <= ends
            proxy.resume()
            rig.go_on.set()
            await rig.done(numbers)
            assert [rig.ran[n] for n in numbers] == [1] * 5, "a run that was told that it is lost does not end"
            assert all(rig.begun[n] == 2 for n in numbers)


@pytest.mark.slow
@ONE
async def test_what_is_stalled_and_then_comes_runs_once(kind: str) -> None:
    """Calls that were given up take effect all the same, late: nothing runs twice by that."""
    with behind_proxy(kind) as (_, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            for _ in range(3):
                asking = asyncio.create_task(rig.ask(40))
                await turn(0)
                proxy.stall()
                await turn(1.5 * CALL)
                proxy.resume()
                await rig.done(await asking)
            await runs_add_up(rig)
            assert set(rig.ran.values()) == {1}


@pytest.mark.slow
@ONE
async def test_a_server_that_closes_idle_connections(kind: str) -> None:
    """`timeout 1`: a blocked read is not idle for the server, all else is."""
    with behind_proxy(kind, timeout="1") as (server, proxy):
        async with rig_to(proxy.url) as rig, working(rig, poll=10, beat=4, lease=20):
            before = proxy.accepted
            await until(lambda: "connected_clients:1\r" not in str(server.info("clients")), "them to be there")
            await until(lambda: int(server.info("clients")["connected_clients"]) <= 4, "the server to close some")
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}
            assert proxy.accepted > before


@pytest.mark.slow
@ONE
async def test_client_kill_of_everybody(kind: str) -> None:
    with behind_proxy(kind) as (server, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            for _ in range(3):
                await idle(proxy)
                kill_all(server)
                await rig.goes_on()
            numbers = await rig.ask(200)
            kill_all(server)
            await rig.done(numbers)
            await runs_add_up(rig)


def kill_all(server: RedisServer) -> None:
    for type in ("normal", "pubsub"):
        server.command("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")


@ONE
@pytest.mark.parametrize("mode", ["ALL", "WRITE"])
async def test_client_pause(kind: str, mode: str) -> None:
    with behind_proxy(kind) as (server, proxy):
        async with rig_to(proxy.url) as rig, working(rig):
            await idle(proxy)
            server.command("CLIENT", "PAUSE", round(3_000 * CALL), mode)
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}


@ONE
async def test_commands_on_a_line_that_broke_just_now_are_sent_on_the_next(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind_proxy(kind) as (_, proxy):
        async with link_to(proxy.url) as link:
            send_many, broke = Line.send_many, asyncio.Event()

            def breaks_once(line: Line, commands: Any) -> Any:
                if not broke.is_set():
                    broke.set()
                    line.hang_up()
                return send_many(line, commands)

            monkeypatch.setattr(Line, "send_many", breaks_once)
            assert await link.commands([("ECHO", "a"), ("ECHO", "b")]) == [b"a", b"b"]
