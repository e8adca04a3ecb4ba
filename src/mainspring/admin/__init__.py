"""Operating what is stored: jobs, dead letters, queues. The command line and the web call nothing else.

No policy lives here: what a job becomes is decided in `core.states`, and saved by swap.
"""

from mainspring.admin.dead_letters import DeadLetters
from mainspring.admin.jobs import Jobs
from mainspring.admin.queue_stats import QueueStats
from mainspring.admin.queues import Queues
from mainspring.admin.selection import JobFilters, JobPage

__all__ = ["DeadLetters", "JobFilters", "JobPage", "Jobs", "QueueStats", "Queues"]
