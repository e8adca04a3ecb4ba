"""Ids: time-ordered ones for jobs without a key, digests for jobs with one.

A uuid7 of this library is monotonic within a process, so a bulk of jobs keeps its order. The digest covers task, kind
and key with their lengths, so that two tasks with the same key text, or an unlucky separator, never meet.
"""

from __future__ import annotations

import hashlib
import secrets

import uuid_utils


def new_id() -> str:
    """A time-ordered unique id (uuid7), greater than all that this process made before."""
    return str(uuid_utils.uuid7())


def key_id(task: str, kind: str, key: str) -> str:
    """The id of the job that holds `key`: a digest of (task, kind, key). `kind` is call, tick or change."""
    parts = b"".join(len(p).to_bytes(4, "big") + p for p in (task.encode(), kind.encode(), key.encode()))
    return "k" + hashlib.blake2b(parts, digest_size=16).hexdigest()


def new_token() -> str:
    """A fence token: random, so that it is fresh even where a store has lost its last writes."""
    return secrets.token_hex(8)
