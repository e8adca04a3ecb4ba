"""Synchronous code (a script, a Flask or Django view) enqueues and waits; the worker runs in a process of its own.

Run it: python examples/from_sync_code.py
"""

import os
import subprocess
import sys
import tempfile

from mainspring import Mainspring

# The worker below gets the folder from the environment; a real app names its file once.
folder = os.environ.get("EXAMPLE_FOLDER") or tempfile.mkdtemp()
app = Mainspring(f"sqlite:///{folder}/jobs.db")


@app.task
def square(number: int) -> int:
    """A plain function: it runs in a thread of the worker."""
    return number * number


def main() -> None:
    command = [sys.executable, "-m", "mainspring.cli", "worker", "from_sync_code:app"]
    here = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(command, cwd=here, env={**os.environ, "EXAMPLE_FOLDER": folder})
    try:
        jobs = app.sync.enqueue_many([square.job(n) for n in range(10)])
        print([app.sync(job.result, timeout=20) for job in jobs])
    finally:
        worker.terminate()
        worker.wait(timeout=20)
    print("worker ended with", worker.returncode)


if __name__ == "__main__":
    main()
