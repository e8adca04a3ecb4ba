"""Opening: what a URL may say, what is refused and how clearly, and several processes that begin at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.errors import DefinitionError, StoreUnusable, UnknownOption
from mainspring.stores.base import Query
from mainspring.stores.sqlite import SQLiteStore
from mainspring.stores.sqlite.connect import connect
from mainspring.stores.sqlite.schema import APPLICATION, VERSION, inspect, migrate
from mainspring.stores.sqlite.settings import Settings
from tests.factory import make_job
from tests.stores.sqlite.processes import Child, run_children


async def opened(path: Path) -> SQLiteStore:
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    return store


# -- the URL -----------------------------------------------------------------------------------------------------


async def test_a_relative_path_means_the_folder_of_its_birth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("sqlite:///here.db?synchronous=full&busy_timeout=1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    clone = store.clone()
    await store.open()
    await clone.open()
    await store.add([make_job("a")])
    assert await clone.get(["a"]) != [None]
    await store.close()
    await clone.close()
    assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///x.db?journal=off", "journal"),
        ("sqlite://:memory:?mode=ro", "mode"),
    ],
)
def test_an_unknown_option_is_named(url: str, told: str) -> None:
    with pytest.raises(UnknownOption, match=f"'{told}'.*Expected one of synchronous, busy_timeout, shared"):
        SQLiteStore(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://x.db",
        "sqlite:x.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///x.db?synchronous=extra",
        "sqlite:///x.db?busy_timeout=soon",
        "sqlite:///x.db?busy_timeout=-1s",
        "sqlite:///x.db?shared=yes",
    ],
)
def test_a_bad_url_is_refused_before_a_file_is_touched(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match="Expected"):
        SQLiteStore(url)
    assert list(tmp_path.iterdir()) == []


# -- what is not ours --------------------------------------------------------------------------------------------


def content(path: Path) -> bytes:
    return path.read_bytes()


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")


def marked_by_another(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


def from_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mainspring_meta (name TEXT PRIMARY KEY, value INTEGER)")
        connection.execute(f"INSERT INTO mainspring_meta VALUES ('schema', {VERSION + 1})")
        connection.commit()


def no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, today I ate a sandwich. " * 100)


def without_its_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")


def without_its_jobs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mainspring_meta (name TEXT PRIMARY KEY, value INTEGER)")
        connection.execute(f"INSERT INTO mainspring_meta VALUES ('schema', {VERSION})")
        connection.commit()


def without_its_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mainspring_jobs (seq INTEGER PRIMARY KEY)")


def with_an_empty_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mainspring_meta (name TEXT PRIMARY KEY, value INTEGER)")


UNUSABLE = [
    (from_the_future, f"has schema {VERSION + 1}.*knows up to {VERSION}.*Upgrade Mainspring"),
    (no_database, "not a database"),
    (without_its_tables, "damaged, all tables missing"),
    (without_its_jobs, "damaged, .*mainspring_jobs.*missing"),
    (without_its_version, "damaged, mainspring_meta missing"),
    (with_an_empty_version, "damaged, mainspring_meta missing"),
]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (foreign, r"belongs to something else .tables customers.*with \?shared=true"),
        (marked_by_another, r"belongs to something else .application id 7.*with \?shared=true"),
        *UNUSABLE,
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(
    make: Callable[[Path], None], told: str, path: Path
) -> None:
    await refused(make, told, path, f"sqlite:///{path}")


@pytest.mark.parametrize(("make", "told"), UNUSABLE, ids=lambda value: getattr(value, "__name__", ""))
async def test_what_cannot_be_used_cannot_be_shared_either(make: Callable[[Path], None], told: str, path: Path) -> None:
    await refused(make, told, path, f"sqlite:///{path}?shared=true")


async def refused(make: Callable[[Path], None], told: str, path: Path, url: str) -> None:
    make(path)
    before = content(path)
    with pytest.raises(StoreUnusable, match=told) as error:
        await SQLiteStore(url).open()
    assert str(path) in str(error.value)
    assert content(path) == before


async def test_a_damaged_file_is_told_from_a_busy_one(path: Path) -> None:
    store = await opened(path)
    await store.add([make_job() for _ in range(200)])
    await store.close()
    damage(path)
    store = await opened(path)
    with pytest.raises(StoreUnusable, match="damaged"):
        await store.get([f"{n}" for n in range(10)])
    await store.close()


def damage(path: Path) -> None:
    """Overwrite all pages but the first two dozen: the schema is whole, the rows are not."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        end = file.tell()
        with closing(sqlite3.connect(path)) as connection:
            [(root,)] = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_mainspring_jobs_1'"
            )
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
        file.seek(end)


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"the folder .*nowhere does not exist\. Create it"):
        await opened(tmp_path / "nowhere" / "jobs.db")


async def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="is a folder"):
        await opened(tmp_path)


async def test_a_failed_open_leaves_nothing_and_may_be_repeated(path: Path) -> None:
    foreign(path)
    store = SQLiteStore(f"sqlite:///{path}")
    with pytest.raises(StoreUnusable):
        await store.open()
    os.remove(path)
    await store.open()
    await store.add([make_job("a")])
    await store.close()


# -- read-only ---------------------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, and only we can write."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "jobs.db"


@pytest.mark.slow
async def test_a_file_that_may_not_be_written(public: Path) -> None:
    await (await opened(public)).close()
    [said] = await run_children(Child("powerless", public))
    assert said.startswith("StoreReadOnly"), said
    assert str(public) in said
    assert "write permission" in said


@pytest.mark.slow
async def test_a_folder_that_may_not_be_written(public: Path) -> None:
    [said] = await run_children(Child("powerless", public))
    assert said.startswith("StoreReadOnly"), said


# -- several at once ---------------------------------------------------------------------------------------------


async def test_stores_that_create_the_schema_at_once(path: Path) -> None:
    stores = [SQLiteStore(f"sqlite:///{path}") for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.add([make_job(f"{n}")]) for n, store in enumerate(stores)))
    assert None not in await stores[0].get([f"{n}" for n in range(8)])
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.slow
async def test_processes_that_create_the_schema_at_once(path: Path) -> None:
    await run_children(*(Child("open_once", path) for _ in range(4)))
    store = await opened(path)
    [found] = await store.count(Query())
    assert found.jobs == 4
    await store.close()


def test_tables_that_another_made_in_the_last_moment_are_not_made_again(path: Path) -> None:
    with closing(connect(Settings(str(path)))) as ours, closing(connect(Settings(str(path)))) as other:

        def just_before(statement: str) -> None:
            if statement == "BEGIN IMMEDIATE":
                ours.set_trace_callback(None)
                migrate(other)

        ours.set_trace_callback(just_before)
        migrate(ours)
        assert inspect(ours, shared=False) == VERSION


@pytest.mark.slow
async def test_a_store_that_is_not_closed_does_not_keep_its_process_alive(path: Path) -> None:
    await run_children(Child("forget", path))
