"""The kit puts an app on a store in memory, with a clock that stands still: for your own tests."""

from mainspring import Mainspring
from mainspring.testing import kit

app = Mainspring("sqlite:///shop.db")  # as in production; no test touches this file
down = {"mail"}


@app.task(retries=3)
async def send_email(to: str) -> str:
    if down:
        raise ConnectionError("the mail server is down")
    return f"sent to {to}"


async def sign_up(name: str) -> None:
    """The code under test."""
    await send_email.options(delay="10m").enqueue(name)


async def test_a_new_customer_gets_a_letter() -> None:
    async with kit(app) as k:
        await sign_up("ada")
        await k.assert_enqueued(send_email, to="ada", at="10m")
        await k.refute_enqueued(send_email, to="grace")

        drained = await k.advance("10m")  # at once: it runs, fails, and waits for a retry
        assert drained.retrying == 1

        down.clear()
        await k.advance("1m")
        await k.assert_no_failures()
        assert await app.jobs.count(status="completed") == 1


def test_the_same_without_an_event_loop() -> None:
    with kit(app) as k:
        app.sync(sign_up, "ada")
        k.sync.assert_enqueued(send_email, to="ada")
