"""For tests: an app on a store in memory and a clock that stands still, and tools to run its jobs and look at them.

async with kit(app) as k:
    await signup("ada@example.com")
    await k.assert_enqueued(send_email, to="ada@example.com")
    await k.drain()
    await k.advance("1d")  # everything that is due in that time runs, in order
"""

from mainspring.testing.clock import START, FakeClock

__all__ = ["START", "FakeClock"]
