"""A web application that takes orders for reports, and a worker inside of it that makes them.

Run it: python examples/fastapi_app.py   (asks itself, without a port)
Or:     pip install uvicorn && uvicorn --app-dir examples fastapi_app:api
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from mainspring import Context, JobNotFound, Mainspring

app = Mainspring(os.environ.get("MAINSPRING_STORE", "sqlite://:memory:"))


class Report(BaseModel):
    month: str
    pages: int


@app.task(queue="reports", timeout="5m", unique=lambda month: month)
async def make_report(ctx: Context, month: str, pages: int) -> Report:
    for page in range(pages):
        ctx.progress(100 * (page + 1) / pages)
        await asyncio.sleep(0)
    return Report(month=month, pages=pages)


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    """The worker lives as long as the application: it stops in good order before the last response is out."""
    async with app, app.worker(concurrency=10):
        yield


api = FastAPI(lifespan=lifespan)


class Wanted(BaseModel):
    month: str
    pages: int = 12


@api.post("/reports", status_code=202)
async def order(wanted: Wanted) -> dict[str, Any]:
    job = await make_report.enqueue(wanted.month, wanted.pages)
    return {"id": job.id, "new": job.created}


@api.get("/reports/{id}")
async def look(id: str) -> dict[str, Any]:
    job = app.job(id, make_report)
    try:
        status = await job.status()
    except JobNotFound as error:
        raise HTTPException(404, f"no report {id}") from error
    return {"status": status, "report": await job.result() if status == "completed" else None}


@api.delete("/reports/{id}")
async def give_up(id: str) -> dict[str, bool]:
    return {"cancelled": await app.job(id).cancel("the customer has changed her mind")}


async def main() -> None:
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://shop.example")
    async with api.router.lifespan_context(api), browser:  # a server does the first part by itself
        answer = (await browser.post("/reports", json={"month": "2030-01", "pages": 3})).json()
        async for event in app.job(answer["id"]).events():
            print(event.kind, event.status)
        print((await browser.get(f"/reports/{answer['id']}")).json())
        print(
            (await browser.get("/reports/unknown")).status_code, (await browser.post("/reports", json={})).status_code
        )


if __name__ == "__main__":
    asyncio.run(main())
