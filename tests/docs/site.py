"""`python -m tests.docs.site FOLDER`: build the site of the documents. A warning is an error, the network is shut."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from sphinx.cmd.build import main as sphinx

from tests.docs.pages import ROOT


def build(target: Path) -> int:
    """The exit code of Sphinx. Each build is a whole one: what a page includes or links to may have changed."""
    socket.socket.connect = _refuse  # type: ignore[method-assign]
    socket.getaddrinfo = _refuse
    with tempfile.TemporaryDirectory() as scratch:
        options = ["-q", "-E", "-W", "--keep-going", "-b", "html", "-d", scratch]
        code = int(sphinx([*options, str(ROOT / "docs"), str(target)]))
    if code == 0:
        shutil.copyfile(target / "README.html", target / "index.html")  # what servers show of a folder
    return code


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise OSError(f"the build asked for the network: {args[-1]!r}. It must do without.")


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve()))
