"""Starts a supervisor over `chaos_app`, with settings that a command line does not offer."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from mainspring.process.supervisor import Supervisor
from tests.chaos.chaos_app import app


def main() -> int:
    processes, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(level="INFO", format="%(asctime)s %(process)d %(message)s", stream=sys.stderr)
    return asyncio.run(Supervisor(app, "tests.chaos.chaos_app:app", processes, settings).run())


if __name__ == "__main__":
    sys.exit(main())
