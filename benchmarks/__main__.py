"""`python -m benchmarks`: the engine on SQLite, beside Huey on SQLite."""

import sys

from benchmarks.engine import main

sys.exit(main())
