"""A fleet on a store of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.places import PLACES, Place


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    make, _ = PLACES[getattr(request, "param", "sqlite")]
    with make(tmp_path) as place:
        yield place


@pytest.fixture
def chaos(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet(tmp_path, place.url)
    monkeypatch.setenv("MAINSPRING_CHAOS_URL", fleet.url)
    monkeypatch.setenv("MAINSPRING_CHAOS_TRACE", str(fleet.trace_file))
    return fleet
