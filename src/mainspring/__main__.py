"""`python -m mainspring`, and the command `mainspring`. A Ctrl-C while it is still imported is one as later."""

import sys


def main() -> None:
    """The entry point `mainspring`."""
    try:
        from mainspring.cli import main as command_line  # takes most of a short command's time

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
