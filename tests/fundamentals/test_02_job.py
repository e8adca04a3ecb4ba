"""A job is a stored call of a task. A worker runs it, and whoever enqueued it can wait for the result."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def greet(name: str) -> str:
    return f"Hello {name}!"


async def test_enqueue_run_and_read_the_result() -> None:
    async with app:
        job = await greet.enqueue("Ada")  # stored; nothing has run yet
        assert await job.status() == "pending"

        async with app.worker():
            assert await job.result(timeout=10) == "Hello Ada!"
        assert await job.status() == "completed"


async def test_a_job_keeps_the_history_of_its_runs() -> None:
    async with app, app.worker():
        job = await greet.enqueue("Grace")
        await job.result(timeout=10)
        [run] = (await job.get()).runs
        assert (run.attempt, run.outcome, run.error) == (1, "succeeded", None)
