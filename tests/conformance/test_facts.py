"""`facts`: what a store says of what it stands on."""

from __future__ import annotations

import pytest

from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Store


async def test_each_fact_is_told_once_and_the_kind_of_the_store_first(store: Store) -> None:
    facts = await store.facts()
    names = [fact.name for fact in facts]
    assert names[0] == "store"
    assert len(names) == len(set(names))


async def test_what_could_not_be_read_says_why(store: Store) -> None:
    assert not [fact for fact in await store.facts() if (fact.value is None) != bool(fact.why)]


async def test_a_closed_store_says_nothing(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.facts()
