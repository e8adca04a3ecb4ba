"""The MongoDB store: jobs as documents in the database of the application."""

from mainspring.stores.mongo.store import MongoStore

__all__ = ["MongoStore"]
