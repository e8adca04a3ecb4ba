"""The SQLite store: a file, or memory. See `store` for the verbs, `schema` for the tables, `choose` for the claim."""

from mainspring.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
