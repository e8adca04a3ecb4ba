"""The MongoDB store beside Celery on MongoDB and beside bare bulk operations, on one server in one run."""
