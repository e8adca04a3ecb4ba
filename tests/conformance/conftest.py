"""A fresh, open store for every test, of every subject."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from mainspring.stores.base import Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import EVERY, Subject
from tests.factory import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=EVERY)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    found: Subject = request.param
    yield found
    found.drop(tmp_path)


@pytest.fixture
async def store(subject: Subject, tmp_path: Path, clock: FakeClock) -> AsyncGenerator[Store, None]:
    store = subject.make(tmp_path, clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def bench(store: Store, clock: FakeClock) -> Bench:
    return Bench(store, clock)
