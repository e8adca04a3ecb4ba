"""A task is a typed function."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def greet(name: str) -> str:
    return f"Hello {name}!"


async def test_calling_a_task_calls_the_function() -> None:
    assert await greet("Ada") == "Hello Ada!"


def test_a_task_has_a_name_of_its_own() -> None:
    assert greet.name == "greet"
    assert list(app.tasks) == ["greet"]
