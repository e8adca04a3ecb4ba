"""A handler can say more than "failed": it raises what shall become of the job."""

import pytest

from mainspring import Cancel, Context, DeadLetter, JobCancelled, JobFailed, Mainspring, Retry, Snooze
from mainspring.testing import FakeClock

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)


@app.task(retries=1)
async def publish(ctx: Context, article: str) -> str:
    if article == "draft" and not ctx.job.runs:
        raise Snooze("1h")  # not yet: come back in an hour. It costs no attempt
    if article == "limited" and ctx.attempt == 1:
        raise Retry.after("90s")  # a failure, to be tried again after exactly that time
    if article == "withdrawn":
        raise Cancel("the author has withdrawn it")
    if article == "broken":
        raise DeadLetter("it will never be valid")  # no retry can help
    return f"published at attempt {ctx.attempt}"


async def test_later_without_a_failure() -> None:
    async with app, app.worker():
        draft, limited = await publish.enqueue("draft"), await publish.enqueue("limited")
        await clock.advance("1h")
        assert await draft.result(timeout=10) == "published at attempt 1"
        assert await limited.result(timeout=10) == "published at attempt 2"


async def test_never_again() -> None:
    async with app, app.worker():
        withdrawn, broken = await publish.enqueue("withdrawn"), await publish.enqueue("broken")
        with pytest.raises(JobCancelled, match="the author has withdrawn it"):
            await withdrawn.result(timeout=10)
        with pytest.raises(JobFailed, match="it will never be valid"):
            await broken.result(timeout=10)
        assert await broken.status() == "dead"
