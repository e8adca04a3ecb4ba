"""JSON in and out: what is refused, and what an older reader leaves alone."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.codec import (
    BODY_FIELDS,
    DEPTH_LIMIT,
    PAYLOAD_LIMIT,
    decode_body,
    decode_value,
    encode_body,
    encode_value,
)
from mainspring.core.job import SCHEMA, Error, Job, Run
from mainspring.errors import InputError, PayloadTooLarge, StoreUnusable
from tests.factory import BOOM, NOW, make_ask, make_job

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(JSON)
def test_a_value_comes_back(value: Any) -> None:
    assert decode_value(encode_value(value, "input")) == value


def nested(levels: int, innermost: Any = 1) -> Any:
    for _ in range(levels):
        innermost = [innermost]
    return innermost


CYCLE: list[Any] = []
CYCLE.append({"x": CYCLE})
BAD = {
    "nan": float("nan"),
    "infinity": [float("-inf")],
    "set": {1},
    "bytes": b"x",
    "object": object(),
    "tuple key": {(1, 2): 3},
    "too large an integer": {"x": [2**63]},
    "too small an integer": -(2**63) - 1,
    "surrogate": "x\ud800",
    "surrogate key": {"\udfff": 1},
    "surrogate in a long text": "\ud800" + "x" * PAYLOAD_LIMIT,
    "cycle": CYCLE,
    "deep": nested(DEPTH_LIMIT + 1),
    "very deep": nested(100_000),
    "deep with a long number": nested(900, 10**18),
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_what_json_cannot_carry_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InputError, match=r"^the input of send") as caught:
        encode_value(value, "the input of send")
    assert not isinstance(caught.value, PayloadTooLarge)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), [10**18], "9" * 30, 1e300, nested(DEPTH_LIMIT, 10**18)])
def test_what_it_can_carry_is_not(value: Any) -> None:
    assert decode_value(encode_value(value, "x")) == value


@pytest.mark.parametrize("character", ["x", "é", "☃", "🎈"])
def test_the_limit_is_in_bytes(character: str) -> None:
    size = len(character.encode())
    fits = character * ((PAYLOAD_LIMIT - 2) // size)
    assert decode_value(encode_value(fits, "input")) == fits
    with pytest.raises(
        PayloadTooLarge, match=r"input too large: 262,\d{3} bytes of JSON, expected at most 262,144"
    ) as e:
        encode_value(fits + character, "input")
    assert e.value.limit == PAYLOAD_LIMIT < e.value.size


def body_of(job: Job) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode_body(job))
    return fields


FULL = make_job(
    "j", key="k", rule="merge", ask="a", first_asked_at=1, fingerprint="f", order=7, start_by=8, attempts=2,
    failed_at=3, error=BOOM, reason="r", has_result=True, again=make_ask("x", meta={"a": "b"}), cancelling="c",
    runs=(Run(claim=1, attempt=1, outcome="failed", started_at=1, ended_at=2, error=BOOM),), recorded=1, erase=True,
    verdict="timed_out", retry={"max_attempts": 2}, timeout=5, retention=6, meta={"tenant": "x"}, finished_at=NOW,
)  # fmt: skip


def test_a_body_comes_back_and_its_fields_are_those_of_the_job() -> None:
    header = {name: getattr(FULL, name) for name in FULL.__struct_fields__ if name not in BODY_FIELDS}
    assert Job(**header | decode_body(encode_body(FULL))) == FULL
    names = FULL.__struct_fields__
    assert names[names.index("schema") : names.index("extra")] == BODY_FIELDS


@pytest.mark.parametrize("text", ["", "[]", "{", '{"attempts": "x"}', "null"])
def test_what_is_no_body_is_refused(text: str) -> None:
    with pytest.raises(StoreUnusable, match="a stored job cannot be read"):
        decode_body(text)


def newer(job: Job = FULL) -> str:
    """The body of `job` as a version of the future would have written it."""
    body = msgspec.json.decode(encode_body(job))
    body |= {"schema": SCHEMA + 1, "lineage": {"parent": "p"}}
    body["error"]["frames"] = [1, 2]
    body["again"]["tenant"] = "x"
    body["runs"][0]["host"] = "h"
    body["runs"][0]["error"]["frames"] = [3]
    return json.dumps(body)


def reader(text: str, **changes: Any) -> dict[str, Any]:
    return body_of(make_job("j", **decode_body(text) | changes))


def test_fields_of_a_newer_version_survive_a_save() -> None:
    assert reader(newer()) == json.loads(newer())
    changed = reader(newer(), attempts=5, meta={"tenant": "y"})
    assert changed == json.loads(newer()) | {"attempts": 5, "meta": {"tenant": "y"}}


def test_they_follow_the_record_that_they_belong_to() -> None:
    run = Run(claim=2, attempt=1, outcome="failed", started_at=3, ended_at=4, error=Error(type="KeyError", message="k"))
    known = decode_body(newer())
    body = reader(newer(), runs=(*known["runs"], run), error=run.error, again=make_ask("y"))
    assert [("host" in r, "frames" in r["error"]) for r in body["runs"]] == [(True, True), (False, False)]
    assert "frames" not in body["error"]
    assert "tenant" not in body["again"]
    gone = reader(newer(), runs=(run,), error=None, again=None)
    assert "error" not in gone
    assert "again" not in gone
    assert "host" not in gone["runs"][0]


def test_a_body_of_this_version_carries_nothing_extra() -> None:
    assert "extra" not in decode_body(encode_body(FULL))
    assert "extra" not in body_of(FULL)
