"""dramatiq on Redis with its results middleware."""

import command
import dramatiq
from bodies import FUNCTIONS
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

broker = RedisBroker(url=command.URL)
broker.add_middleware(Results(backend=RedisBackend(url=command.URL), store_results=True))
dramatiq.set_broker(broker)
TASKS = {name: dramatiq.actor(actor_name=name)(body) for name, body in FUNCTIONS.items()}


class Driver:
    def open(self):
        broker.client.ping()

    def close(self):
        broker.close()

    def enqueue(self, task, n, payload):
        TASKS[task].send(n, payload) if payload else TASKS[task].send(n)

    def worker(self, concurrency, processes):
        command.replace("dramatiq", "dramatiq_driver", "--processes", processes, "--threads", concurrency)


if __name__ == "__main__":
    command.main(Driver())
