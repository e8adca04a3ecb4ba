"""One database on a MongoDB server that others use too: a name for it, a copy of its documents, and its removal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from tests.servers.mongo import lasting_client

AT_ONCE = 10_000
AS_THEY_ARE = CodecOptions(document_class=RawBSONDocument)
"""Byte for byte: no type and no order of fields changes on the way."""


def name_for(folder: Path) -> str:
    """A database for a test that has this folder: the same for the same folder, and no other. At most 63 bytes."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '-', folder.name)[-40:]}-{digest}"


def copy(url: str, name: str) -> Callable[[], None]:
    """Copies all documents of the database; what it answers puts them back in place of those that are there then.

    Indexes, views and the collections themselves stay, and capped collections stay as they are: what has them open goes
    on. Nobody may write at the time, neither of the copy nor of its return.
    """
    copied = {each.name: list(each.find()) for each in _ordinary(url, name)}

    def restore() -> None:
        for collection in _ordinary(url, name):
            collection.delete_many({})
            documents = copied.get(collection.name, [])
            for start in range(0, len(documents), AT_ONCE):
                collection.insert_many(documents[start : start + AT_ONCE])

    return restore


def drop(url: str, name: str) -> None:
    """Remove the database."""
    lasting_client(url).drop_database(name)


def _ordinary(url: str, name: str) -> Iterator[Collection[dict[str, Any]]]:
    """The collections that hold documents which may be replaced: neither views, nor capped, nor the server's own."""
    database = lasting_client(url)[name]
    for found in database.list_collections(filter={"type": "collection"}):
        if found["options"].get("capped") or found["name"].startswith("system."):
            continue
        yield database.get_collection(found["name"], AS_THEY_ARE)
