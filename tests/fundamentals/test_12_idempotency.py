"""With an idempotency key, the same request twice is one job, and one run."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")
charged: list[int] = []


@app.task(idempotency_key=lambda order: f"order-{order}")
async def charge(order: int, amount: int) -> None:
    charged.append(amount)


async def test_a_double_click_is_one_payment() -> None:
    async with app, app.worker():
        first = await charge.enqueue(order=7, amount=100)
        await first.result(timeout=10)

        again = await charge.enqueue(order=7, amount=100)  # also when the first has ended long ago
        assert again.id == first.id
        assert not again.created
    assert charged == [100]
