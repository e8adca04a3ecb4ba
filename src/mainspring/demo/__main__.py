"""`python -m mainspring.demo`."""

import sys

from mainspring.demo import main

sys.exit(main())
