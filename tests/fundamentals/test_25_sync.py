"""Code without an event loop calls the same functions through `app.sync`, and waits for their answer."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
def square(number: int) -> int:
    return number * number


def test_a_script_enqueues() -> None:
    job = app.sync(square.enqueue, 7)
    assert app.sync(job.status) == "pending"
    assert app.sync.jobs.count(status="pending") == 1
    app.sync.close()
