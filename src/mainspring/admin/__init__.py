"""Operating what is stored: jobs, dead letters, queues, schedules, workers. Command line and web call nothing
else.

No policy lives here: what a job becomes is decided in `core.states`, and saved by swap.
"""

from mainspring.admin.dead_letters import DeadFilters, DeadLetters
from mainspring.admin.jobs import Jobs
from mainspring.admin.queue_stats import QueueStats
from mainspring.admin.queues import Queues
from mainspring.admin.schedule_list import SchedulePage
from mainspring.admin.schedule_view import Execution, ScheduleInfo
from mainspring.admin.schedules import Schedules
from mainspring.admin.selection import JobFilters, JobPage
from mainspring.admin.workers import WorkerInfo, Workers
from mainspring.audit import AuditEntry, AuditPage
from mainspring.leases import LockInfo, LockPage

__all__ = [
    "AuditEntry",
    "AuditPage",
    "DeadFilters",
    "DeadLetters",
    "Execution",
    "JobFilters",
    "JobPage",
    "Jobs",
    "LockInfo",
    "LockPage",
    "QueueStats",
    "Queues",
    "ScheduleInfo",
    "SchedulePage",
    "Schedules",
    "WorkerInfo",
    "Workers",
]
