"""What a type checker must see of schedules. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type

from mainspring import Context, JobHandle, Mainspring
from mainspring.admin import ScheduleInfo

app = Mainspring("sqlite://:memory:")


@app.cron("0 9 * * 1", timezone="America/New_York", max_retries=3, retry_delay="5m")
async def weekly(ctx: Context) -> int:
    return 1


@app.every("5m", fixed_delay=True, input={"n": 1})
@app.task(queue="reports")
def often(n: int) -> str:
    return "x" * n


@app.cron("@daily", overlap="sometimes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def wrong_policy() -> None: ...


@app.cron("@daily", no_such_option=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
async def wrong_option() -> None: ...


async def right() -> None:
    assert_type(await weekly.enqueue(), JobHandle[int])
    assert_type(await often.enqueue(2), JobHandle[str])
    assert_type(await app.schedules.create("n", often, {"n": 2}, every="1h"), ScheduleInfo)
    assert_type(app.schedules.preview(cron="@daily", count=3), list[datetime])
    assert_type(await app.schedules.get("n"), ScheduleInfo | None)


async def wrong() -> None:
    await often.enqueue("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.schedules.create("n", often, every=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.schedules.update("n", catch_up="two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.schedules.preview(cron=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
