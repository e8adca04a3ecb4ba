"""The store on Redis and Valkey: one server, sentinels or a cluster. Scripts keep each step atomic."""

from mainspring.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
