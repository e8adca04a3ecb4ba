"""A plain `def` is a task too: it runs in a thread, so it may block. An `async def` runs on the worker's event loop."""

import threading

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
def resize(picture: str) -> bool:
    return threading.current_thread() is not threading.main_thread()


async def test_a_plain_function_runs_in_a_thread() -> None:
    async with app, app.worker():
        job = await resize.enqueue("cat.png")
        assert await job.result(timeout=10) is True
