"""RQ: a pool of its default workers, which fork one process per job; at most ten, for there are two cores."""

import bodies
import command
import probe
from redis import Redis
from rq import Queue

MOST = 10
NAMES = {name: f"bodies.{name}_sync" for name in bodies.FUNCTIONS}


class Driver:
    def open(self):
        self.queue = Queue(connection=Redis.from_url(command.URL))

    def close(self):
        self.queue.connection.close()

    def enqueue(self, task, n, payload):
        self.queue.enqueue(NAMES[task], n, payload) if payload else self.queue.enqueue(NAMES[task], n)

    def bulk(self, task, numbers, payload):
        args = (payload,) if payload else ()
        self.queue.enqueue_many([Queue.prepare_data(NAMES[task], (n, *args)) for n in numbers])

    def worker(self, concurrency, processes):
        options = ["--num-workers", min(MOST, concurrency), "--url", command.URL, "--logging-level", "WARNING", "-q"]
        command.replace("rq", "worker-pool", *options, "--worker-class", "rq_driver.Quiet", "default")


def __getattr__(name):
    """The default worker, whose children count their jobs in its slot. Made when the pool asks for it."""
    if name != "Quiet":
        raise AttributeError(name)
    from rq.worker import Worker

    class Quiet(Worker):
        def work(self, *args, **kwargs):
            probe.share()
            return super().work(*args, **kwargs)

    return Quiet


if __name__ == "__main__":
    command.main(Driver())
