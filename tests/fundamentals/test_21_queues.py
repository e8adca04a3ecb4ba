"""A queue can be paused for everybody, and a task may have a limit that holds over all workers."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task(queue="emails", max_concurrency=2)
async def send(to: str) -> str:
    return f"sent to {to}"


async def test_a_paused_queue_keeps_its_jobs() -> None:
    async with app, app.worker():
        await app.queues.pause("emails", reason="the provider is down")
        job = await send.enqueue("ada")
        assert await job.status() == "pending"
        assert (await app.queues.stats("emails")).pending == 1

        await app.queues.resume("emails")
        assert await job.result(timeout=10) == "sent to ada"
