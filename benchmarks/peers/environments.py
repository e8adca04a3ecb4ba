"""One virtual environment per peer, for their dependencies conflict. Made once, by pip, outside the repository's own.

Raises `Absent` with the reason where a peer cannot be had on this machine; the run then goes on without it.
"""

from __future__ import annotations

import glob
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mainspring
from benchmarks.peers.systems import System

STAMP = "peers.txt"
MINUTES = 10
ASK = """
import importlib.metadata as m, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class Absent(Exception):
    """This peer cannot be installed here, and why."""


@dataclass(frozen=True)
class Environment:
    system: System
    python: Path
    versions: dict[str, str]

    @property
    def described(self) -> str:
        """`taskiq 0.13.0, taskiq-redis 1.2.4, hiredis 3.5.0`; the Python only where it is another."""
        shown = [f"{name} {version}" for name, version in self.versions.items() if name != "python"]
        other = self.versions["python"] != ".".join(map(str, sys.version_info[:3]))
        return ", ".join(shown + ([f"on Python {self.versions['python']}"] if other else []))


def environment(system: System, folder: Path) -> Environment:
    """The environment of a system, made now if it is not there. Raises `Absent`."""
    if not system.packages:
        versions = _versions(Path(sys.executable), list(system.clients))
        ours = {"mainspring": mainspring.__version__} if system.queue else {}
        return Environment(system, Path(sys.executable), ours | versions)
    home = folder / system.environment
    python = home / "bin" / "python"
    if not _made(home, system):
        _make(home, system)
    names = [
        re.split(r"[\[<>=!~]", package)[0]
        for package in system.packages
        if package not in ("packaging", "typing_extensions")
    ]
    return Environment(system, python, _versions(python, list(dict.fromkeys([*names, "redis", "coredis", "kombu"]))))


def _made(home: Path, system: System) -> bool:
    stamp = home / STAMP
    return stamp.exists() and stamp.read_text().split() == list(system.packages)


def _make(home: Path, system: System) -> None:
    print(f"== {system.environment}: virtual environment in {home}", flush=True)
    _call([_interpreter(system), "-m", "venv", "--clear", str(home)], system)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call([*pip, *system.packages], system)
    (home / STAMP).write_text("\n".join(system.packages) + "\n")


def _call(command: list[str], system: System) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MINUTES * 60)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise Absent(f"not installed: {lines[-1] if lines else error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"not installed: {type(error).__name__}") from error


def _interpreter(system: System) -> str:
    """This Python, or the newest one on this machine where the system needs a newer one."""
    if sys.version_info >= system.python:
        return sys.executable
    for minor in range(14, system.python[1] - 1, -1):
        for path in (shutil.which(f"python3.{minor}"), *_pyenv(minor)):
            if path and _runs(path, minor):
                return path
    raise Absent(f"needs Python {'.'.join(map(str, system.python))} or newer, and there is none on this machine")


def _pyenv(minor: int) -> list[str]:
    return sorted(glob.glob(str(Path.home() / f".pyenv/versions/3.{minor}.*/bin/python3.{minor}")), reverse=True)


def _runs(path: str, minor: int) -> bool:
    """Whether this is that Python: a shim of a version manager may be on PATH without one behind it."""
    asked = [path, "-c", f"import sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"]
    return subprocess.run(asked, capture_output=True).returncode == 0


def _versions(python: Path, names: list[str]) -> dict[str, str]:
    shown = subprocess.run([str(python), "-c", ASK, *names], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(shown.stdout)
    return found
