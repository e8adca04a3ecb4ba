"""JSON as native values: the text that went in comes out, letter by letter, over real BSON."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.codec import encode_json
from mainspring.stores.mongo.link import CODEC
from mainspring.stores.mongo.payload import DEEPEST, WRAP, map_of, native, native_map, text_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = TEXT | st.sampled_from(["$set", "$", "a.b", ".", "", "json", "_id", "__proto__", "a\0b"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)
MAPS = st.dictionaries(NAMES, VALUES, max_size=5)


def stored(value: Any) -> Any:
    """What a server would give back."""
    return bson.decode(bson.encode({"value": value}, codec_options=CODEC), CODEC)["value"]


@given(VALUES)
def test_any_value_comes_back_as_the_text_it_was(value: Any) -> None:
    text = encode_json(value)
    assert text_of(stored(native(text))) == text


@given(MAPS)
def test_any_object_comes_back(value: dict[str, Any]) -> None:
    assert encode_json(map_of(stored(native_map(value)))) == encode_json(value)


def nested(levels: int) -> Any:
    value: Any = "end"
    for n in range(levels):
        value = [value] if n % 2 else {"in": value}
    return value


AS_THEY_ARE = {
    "words": {"to": "ada@example.org", "lines": ["a", "b"], "urgent": True, "nothing": None},
    "the largest integers": {"n": [2**63 - 1, -(2**63), 2**53 + 1]},
    "floats": {"n": [0.1, -0.0, 1.0, 1e300, 5e-324]},
    "dots and empty names": {"a.b": 1, "": {"c.": 2}},
    "a dollar inside": {"price": "$5", "us$": "$set"},
    "NUL in a text": {"text": "a\0b"},
    "other letters": {"grüße": "日本 🎉"},
    "some nesting": nested(DEEPEST - 1),
    "what looks like a wrapping": {"json": 1, "more": 2},
}
AS_TEXT = {
    "a dollar first": {"$set": {"a": 1}},
    "a dollar first, deep": {"a": [{"b": {"$where": "1"}}]},
    "NUL in a name": {"a\0b": 1},
    "deep nesting": nested(DEEPEST + 1),
    "deeper than MongoDB goes": nested(190),
    "a wrapping": {"json": "[1]"},
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_people_can_query(name: str) -> None:
    value = AS_THEY_ARE[name]
    assert native(encode_json(value)) == value
    assert text_of(stored(native(encode_json(value)))) == encode_json(value)


@pytest.mark.parametrize("name", AS_TEXT)
def test_what_mongodb_would_not_carry_is_kept_as_text(name: str) -> None:
    text = encode_json(AS_TEXT[name])
    assert native(text) == {WRAP: text}
    assert text_of(stored(native(text))) == text


@pytest.mark.parametrize("text", ['{"a": 1}', '{"a":1.50}', '{"a":1,"a":2}', '"\\u00e4"', "1E2", "[1,]", "nonsense"])
def test_text_that_another_encoder_wrote_stays_as_it_is(text: str) -> None:
    assert text_of(stored(native(text))) == text


def test_the_largest_input_is_carried() -> None:
    text = encode_json({"rows": [{"name": f"name {n}", "n": n} for n in range(7_000)]})
    assert 200_000 < len(text) < 256 * 1024
    assert json.loads(text_of(stored(native(text)))) == json.loads(text)
