"""Who may import whom: core ◄ stores ◄ client, leases ◄ triggers ◄ worker, admin ◄ app ◄ cli, web, testing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.source import PACKAGE, imports, modules, name_of

LAYERS: list[set[str]] = [
    {"core"},
    {"stores"},
    {"client", "leases", "clients", "joining", "gates", "events", "follow", "batching", "snapshots"},
    {"triggers"},
    {"worker", "admin"},
    {"app", "registry", "sync"},
    {"process"},
    {"cli", "web", "testing", "demo", "integrations"},
]
"""From the bottom. The third and the sixth are one part each, in several files; the others are parts of their own."""
TOGETHER = (2, 5)
EVERYWHERE = {"errors", "__version__"}
CALLS_STATES = {"client", "joining", "follow", "worker", "admin", "process"}
"""Only these may decide what becomes of a job: client, worker (its parent process too) and admin."""
NO_IO = {"asyncio", "socket", "sqlite3", "subprocess", "threading", "selectors", "redis", "pymongo", "random"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def parts_imported(path: Path) -> set[str]:
    found = {name.split(".")[1] for name in imports(path) if name.startswith("mainspring.")}
    return {part if part in known() or part in EVERYWHERE else "__init__" for part in found}


def known() -> dict[str, int]:
    return {part: number for number, layer in enumerate(LAYERS) for part in layer}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_downwards(path: Path) -> None:
    mine, layers = part_of(path), known()
    if mine in ("__init__", "errors"):
        return
    assert mine in layers, f"{mine} has no layer: give it one"
    for other in parts_imported(path) - {mine} - EVERYWHERE:
        # The package itself is the public face: what stands above the app may use it as any program does.
        theirs = layers["app"] if other == "__init__" else layers[other]
        together = theirs == layers[mine] and theirs in TOGETHER
        assert theirs < layers[mine] or together or {mine, other} == {"cli", "demo"}, f"{mine} may not import {other}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_client_worker_and_admin_call_states(path: Path) -> None:
    if any(name.startswith("mainspring.core.states") for name in imports(path)):
        assert part_of(path) in CALLS_STATES


@pytest.mark.parametrize("path", modules(PACKAGE / "core"), ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    assert not used & NO_IO


@pytest.mark.parametrize("path", modules(PACKAGE / "stores"), ids=name_of)
def test_a_store_holds_no_policy(path: Path) -> None:
    used = set(imports(path))
    assert not any(name.startswith(("mainspring.core.policy", "mainspring.core.states")) for name in used)


@pytest.mark.parametrize("path", modules() + modules(PACKAGE.parents[1] / "tests"), ids=name_of)
def test_nothing_is_pickled(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
