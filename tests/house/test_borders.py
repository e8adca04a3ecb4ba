"""Who may import whom: core ◄ stores ◄ client, leases ◄ triggers ◄ worker, admin ◄ app ◄ cli, web, testing."""

from __future__ import annotations

from pathlib import Path

from tests.house.source import PACKAGE, ROOT, imports, modules, name_of

LAYERS: list[set[str]] = [
    {"core"},
    {"stores"},
    {"client", "leases", "audit", "clients", "joining", "gates", "follow", "batching", "snapshots", "transactions"},
    {"triggers"},
    {"worker", "admin"},
    {"app", "registry", "sync", "discover", "builtins"},
    {"process"},
    {"cli", "__main__", "web", "testing", "demo", "integrations"},
]
"""From the bottom. The third and the sixth are one part each, in several files; the others are parts of their own."""
TOGETHER = (2, 5)
EVERYWHERE = {"errors", "events", "logs", "__version__"}
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


def test_imports_go_downwards() -> None:
    layers = known()
    assert {part_of(path) for path in modules()} <= layers.keys() | EVERYWHERE | {"__init__"}, "a part without a layer"
    wrong = [(name_of(path), other) for path in modules() for other in parts_imported(path) if not allowed(path, other)]
    assert not wrong


def allowed(path: Path, other: str) -> bool:
    mine, layers = part_of(path), known()
    if (
        mine in ("__init__", "errors", "events", other)
        or other in EVERYWHERE
        or {mine, other} in ({"cli", "demo"}, {"__main__", "cli"})
    ):
        return True
    # The package itself is the public face: what stands above the app may use it as any program does.
    theirs = layers["app"] if other == "__init__" else layers[other]
    return theirs < layers[mine] or (theirs == layers[mine] and theirs in TOGETHER)


def test_only_client_worker_and_admin_call_states() -> None:
    callers = {part_of(path) for path in modules() if imports_any(path, "mainspring.core.states")}
    assert callers <= CALLS_STATES


def test_the_core_is_pure() -> None:
    used = {path.name: {name.split(".")[0] for name in imports(path)} & NO_IO for path in modules(PACKAGE / "core")}
    assert not {name: io for name, io in used.items() if io}


def test_a_store_holds_no_policy() -> None:
    stores = modules(PACKAGE / "stores")
    assert not [name_of(p) for p in stores if imports_any(p, "mainspring.core.policy", "mainspring.core.states")]


def test_nothing_is_pickled() -> None:
    everything = modules() + modules(ROOT / "tests")
    assert not [name_of(p) for p in everything if imports_any(p, "pickle", "cloudpickle", "dill", "shelve", "marshal")]


def imports_any(path: Path, *names: str) -> bool:
    text = path.read_text()  # parsing hundreds of files takes seconds, and few mention any of these
    said = [name for name in names if name.rpartition(".")[2] in text]
    return any(f"{found}.".startswith(f"{name}.") for found in imports(path) for name in said) if said else False
