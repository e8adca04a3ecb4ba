"""`python -m mainspring.cli` is `mainspring`."""

from mainspring.cli import main

main()
