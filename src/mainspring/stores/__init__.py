"""Stores: one contract (`base`), one implementation per database. A store is dumb: it holds no policy.

This is where a URL becomes a store; a driver is imported only when its scheme is used.
"""

from __future__ import annotations

from collections.abc import Callable

from mainspring.errors import DefinitionError
from mainspring.stores.base import Store

REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
MONGODB = ("mongodb", "mongodb+srv")
SCHEMES = ("sqlite", *REDIS, *MONGODB)


def open_store(url: str, time: Callable[[], int] | None = None) -> Store:
    """The store that `url` names; not connected yet. `time` is what an embedded store takes for its clock.

    Raises `DefinitionError` for a scheme that is not known.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from mainspring.stores.sqlite import SQLiteStore

        return SQLiteStore(url, time=time)
    if scheme in REDIS:
        try:
            from mainspring.stores.redis import RedisStore
        except ModuleNotFoundError as e:
            if e.name != "hiredis":
                raise
            raise DefinitionError(
                f"a store on {scheme}: needs the package 'hiredis'. Install it: pip install 'mainspring[redis]'."
            ) from e

        return RedisStore(url, time=time)
    if scheme in MONGODB:
        try:
            from mainspring.stores.mongo import MongoStore
        except ModuleNotFoundError as e:
            if e.name not in ("pymongo", "bson"):
                raise
            raise DefinitionError(
                f"a store on {scheme}: needs the package 'pymongo'. Install it: pip install 'mainspring[mongodb]'."
            ) from e

        return MongoStore(url, time=time)
    example = "mainspring.db" if ":" in url else url
    raise DefinitionError(
        f"unknown store: {url!r}. Expected a URL that begins with one of {', '.join(s + ':' for s in SCHEMES)} "
        f'for example "sqlite:///{example}" or "sqlite://:memory:".'
    )
