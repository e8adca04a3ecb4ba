"""For tests: an app on a store in memory and a clock that stands still, and tools to run its jobs and to look at them.

async with kit(app) as k:
    await signup("ada@example.com")
    await k.assert_enqueued(send_email, to="ada@example.com")
    await k.drain()
    await k.advance("1d")  # everything that is due in that time runs, in order
"""

from mainspring.errors import NotDrained
from mainspring.testing.apps import Kit, kit
from mainspring.testing.assertions import Enqueued
from mainspring.testing.clock import START, FakeClock
from mainspring.testing.draining import drain
from mainspring.testing.store import Hang, Outages, unreliable
from mainspring.testing.wanted import subset
from mainspring.worker.drain import Drained

__all__ = [
    "START",
    "Drained",
    "Enqueued",
    "FakeClock",
    "Hang",
    "Kit",
    "NotDrained",
    "Outages",
    "drain",
    "kit",
    "subset",
    "unreliable",
]
