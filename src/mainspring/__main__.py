"""`python -m mainspring`: the command line, for where its script is not on PATH."""

from mainspring.cli import main

if __name__ == "__main__":
    main()
