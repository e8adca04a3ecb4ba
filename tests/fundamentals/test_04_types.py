"""Arguments and results may have any type that Pydantic reads and writes as JSON."""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


class Order(BaseModel):
    id: int
    items: list[str]


@dataclass
class Delivery:
    order: int
    boxes: int
    takes: timedelta


@app.task
async def deliver(order: Order) -> Delivery:
    return Delivery(order=order.id, boxes=len(order.items), takes=timedelta(hours=2))


async def test_models_come_back_as_models() -> None:
    async with app, app.worker():
        job = await deliver.enqueue(Order(id=7, items=["lamp", "desk"]))
        assert await job.result(timeout=10) == Delivery(order=7, boxes=2, takes=timedelta(hours=2))
