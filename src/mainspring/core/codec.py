"""JSON in and out: inputs and results as people give them, and the body of a job as stores keep it.

The only place with `Any`. Inputs and results are JSON values in every store, of at most 256 KB, and what JSON cannot
carry (NaN, integers beyond 64 bits) is refused at the earliest point. A body keeps the fields that this version does
not know.
"""

from __future__ import annotations

import json
import re
from operator import attrgetter
from typing import Any

import msgspec

from mainspring.core.job import SCHEMA, Ask, Error, Job, Rule, Run
from mainspring.errors import InputError, PayloadTooLarge, StoreUnusable

PAYLOAD_LIMIT = 256 * 1024
"""Bytes of JSON that an input or a result may have, in every store."""

DEPTH_LIMIT = 200
"""Levels of lists and objects in an input or a result. Readers recurse too, and their stack may be deeper than ours."""

encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""The form in which all payload is stored: text that was made by it comes out of it again, letter by letter."""
_LONG_DIGITS = re.compile(r"\d{19}")


def encode_value(value: Any, what: str, limit: int = PAYLOAD_LIMIT) -> str:
    """`value` as JSON text. Raises `InputError` for what JSON cannot carry, `PayloadTooLarge` over `limit` bytes."""
    try:
        text = encode_json(value)
    except (TypeError, ValueError, RecursionError) as e:
        raise InputError(
            f"{what} is not JSON: {e}. "
            "Expected strings, finite numbers, booleans, null, lists and objects with text keys."
        ) from e
    if text.count("[") + text.count("{") > DEPTH_LIMIT and _depth(value) > DEPTH_LIMIT:
        raise InputError(f"{what} is nested deeper than {DEPTH_LIMIT} levels. Flatten it, or pass it as text.")
    if _LONG_DIGITS.search(text):
        _check_integers(value, what)
    _check_text(text, what, limit)
    return text


def _check_text(text: str, what: str, limit: int) -> None:
    # A character is one to four bytes: count them only where it can matter.
    if len(text) * 4 > limit:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as e:
            raise InputError(f"{what} is not valid text: {e}. Expected text without lone surrogates.") from e
        if size > limit:
            raise PayloadTooLarge(what, size, limit)
    elif not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise InputError(f"{what} is not valid text: {e}. Expected text without lone surrogates.") from e


def _depth(value: Any) -> int:
    """Levels of nesting, by level and not by recursion."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, (list, tuple, dict))]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def decode_value(text: str) -> Any:
    """The value of JSON text that `encode_value` made."""
    return msgspec.json.decode(text)


def _check_integers(value: Any, what: str) -> None:
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{what} has an integer beyond 64 bits: {value}. Pass it as text.")
    elif isinstance(value, dict):
        for item in value.values():
            _check_integers(item, what)
    else:
        for item in value:
            _check_integers(item, what)


class Body(msgspec.Struct, omit_defaults=True):
    """The opaque part of a job, as stored. The fields are those of `Job`, in its order."""

    schema: int = SCHEMA
    key: str | None = None
    rule: Rule | None = None
    ask: str = ""
    asked_at: int = 0
    first_asked_at: int | None = None
    scheduled_at: int = 0
    fingerprint: str | None = None
    order: int | None = None
    start_by: int | None = None
    attempts: int = 0
    failed_at: int | None = None
    error: Error | None = None
    reason: str = ""
    finished_at: int | None = None
    has_result: bool = False
    runs: tuple[Run, ...] = ()
    recorded: int = 0
    again: Ask | None = None
    cancelling: str | None = None
    erase: bool = False
    verdict: str | None = None
    misfit_since: int | None = None
    retry: dict[str, Any] | None = None
    timeout: int | None = None
    retention: int | None = None
    kept: int | None = None
    meta: dict[str, str] = {}


BODY_FIELDS = Body.__struct_fields__
_body_of = attrgetter(*BODY_FIELDS)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Body).decode


def encode_body(job: Job) -> str:
    """The body of `job` as JSON text, with the fields of newer versions that it was read with."""
    if not job.extra:
        return _encode(Body(*_body_of(job))).decode()
    return _encode(body_fields(job)).decode()


def body_fields(job: Job) -> dict[str, Any]:
    """The same as plain values, for a store that keeps the body as a document."""
    body: dict[str, Any] = msgspec.to_builtins(Body(*_body_of(job)))
    return _overlay(job.extra, body) if job.extra else body


def decode_body(text: str) -> dict[str, Any]:
    """The body's fields, as keyword arguments of `Job`. Raises `StoreUnusable` for what is no body."""
    try:
        body = _decode(text)
    except msgspec.DecodeError as e:
        raise StoreUnusable(f"a stored job cannot be read: {e}. Expected a job body of schema 1 to {SCHEMA}.") from e
    fields = dict(zip(BODY_FIELDS, _body_of(body), strict=True))
    if body.schema > SCHEMA:
        fields["extra"] = unknown_fields(msgspec.json.decode(text))
    return fields


def unknown_fields(stored: dict[str, Any]) -> dict[str, Any]:
    """What a stored body has that this version does not know: `Job.extra`."""
    return _unknown(stored)


_NESTED: dict[type, dict[str, type]] = {Body: {"error": Error, "runs": Run, "again": Ask}, Run: {"error": Error}}


def _unknown(stored: dict[str, Any], known: type[msgspec.Struct] = Body) -> dict[str, Any]:
    """What `stored` has and `known` has not, in nested records too; each of those under its identity."""
    nested = _NESTED.get(known, {})
    extra = {name: value for name, value in stored.items() if name not in known.__struct_fields__}
    for name, kind in nested.items():
        rows = stored.get(name) or []
        found = {_identity(row): _unknown(row, kind) for row in (rows if isinstance(rows, list) else [rows])}
        if any(found.values()):
            extra[name] = {identity: fields for identity, fields in found.items() if fields}
    return extra


def _overlay(extra: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """`body` with the unknown fields back in their places; a nested record that was replaced meanwhile gets none."""
    merged = dict(body)
    for name, value in extra.items():
        if name not in ("error", "runs", "again"):
            merged[name] = value
        elif isinstance(body.get(name), (list, tuple)):
            merged[name] = [_overlay(value.get(_identity(row), {}), row) for row in body[name]]
        elif name in body:
            merged[name] = _overlay(value.get(_identity(body[name]), {}), body[name])
    return merged


def _identity(row: dict[str, Any]) -> Any:
    """What tells a run, an ask or an error from others of its kind."""
    return row.get("claim") or row.get("id") or (row.get("type"), row.get("message"))
