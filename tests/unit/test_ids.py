"""Ids: order, uniqueness, and keys that do not meet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.ids import key_id, new_id, new_token


def test_new_ids_grow() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_new_ids_of_threads_do_not_meet() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [new_id() for _ in range(2_000)], range(4)))
    assert len({id for ids in found for id in ids}) == 8_000
    assert all(ids == sorted(ids) for ids in found)


def test_a_key_is_an_identity() -> None:
    assert key_id("t", "call", "a") == key_id("t", "call", "a")
    kinds = {key_id(task, kind, "a") for task in ("t", "u") for kind in ("call", "tick", "change")}
    assert len(kinds) == 6


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_keys_meet_only_where_all_parts_are_the_same(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (key_id(*one) == key_id(*other)) == (one == other)


def test_no_separator_makes_keys_meet() -> None:
    assert key_id("a", "call", "b:c") != key_id("a:call", "b", "c")
    assert key_id("ab", "c", "d") != key_id("a", "bc", "d")
    assert key_id("", "", "abc") != key_id("abc", "", "")


def test_tokens_are_fresh() -> None:
    assert len({new_token() for _ in range(10_000)}) == 10_000
