"""Debounce: what it accepts."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.core.policy import Debounce
from mainspring.errors import DefinitionError


def test_windows_in_milliseconds() -> None:
    assert (Debounce("1s").window_ms, Debounce("1s").max_wait_ms) == (1_000, None)
    both = Debounce(0.5, key=str, max_wait="1m")
    assert (both.window_ms, both.max_wait_ms, both.key) == (500, 60_000, str)
    assert Debounce("1m", max_wait="1m").max_wait_ms == 60_000


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (-1, {}, "debounce window: -1"),
    ("often", {}, "debounce window: 'often'"),
    (None, {}, "debounce window: None"),
    ("1m", {"max_wait": "1s"}, "max_wait '1s' is shorter than the window '1m'"),
    ("1m", {"max_wait": "x"}, "debounce max_wait: 'x'"),
    ("1m", {"key": "user"}, "debounce key: 'user'"),
]


@pytest.mark.parametrize(("window", "options", "named"), BAD)
def test_bad_values_are_refused_by_name(window: Any, options: dict[str, Any], named: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Debounce(window, **options)
    assert named in str(caught.value)
