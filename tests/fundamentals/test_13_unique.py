"""With a unique key, one job per key lives at a time. When it has ended, the next call runs again."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task(unique=lambda shop: shop)
async def count_stock(shop: str) -> str:
    return f"counted {shop}"


async def test_one_at_a_time() -> None:
    async with app:
        north = await count_stock.enqueue("north")
        assert not (await count_stock.enqueue("north")).created  # one waits already
        assert (await count_stock.enqueue("south")).created  # another key

        async with app.worker():
            await north.result(timeout=10)
            next_one = await count_stock.enqueue("north")  # it has ended: the job runs once more
            await next_one.result(timeout=10)
        assert next_one.id == north.id
        assert len((await north.get()).runs) == 2
