"""`python -m tests.docs.run_page PAGE`: run the Python blocks of a page, as a reader would who types them in.

The blocks of a page are one program, with `await` at its top level; one that has an entry of its own
(`if __name__ == "__main__"`, `asyncio.run`) is a program of its own. Line numbers are those of the page.
A block that is a file is written to it. One that is a program is run as well, those with tests are by pytest.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import subprocess
import sys
import types
from pathlib import Path

from tests.docs.pages import MONGODB, Block, blocks

PLUGINS = ["-p", "pytest_asyncio.plugin", "-p", "pytest_mainspring"]


def main(page: Path) -> None:
    runnable = [block for block in blocks(page) if block.run and (block.language == "python" or block.file)]
    shared = [block for block in runnable if block.file or not _is_program(block)]
    asyncio.run(_run(page, shared))
    for block in runnable:
        if "__main__" in block.code if block.file else _is_program(block):
            exec(_compiled(page, block, flags=0), vars(_module("__main__")))
    tests = [block.file for block in runnable if Path(block.file).name.startswith("test_")]
    if tests:
        # A reader need not have the plugins that our own tests need; a page that has settings for them is about them.
        env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        plugins = PLUGINS if any(block.file == "pyproject.toml" for block in runnable) else []
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, *tests]
        subprocess.run(command, env=env, check=True)


async def _run(page: Path, shared: list[Block]) -> None:
    namespace = vars(_module("page"))
    for block in shared:
        if block.file:
            _write(block)
            continue
        code = _compiled(page, block, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        answer = eval(code, namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            await answer


def _write(block: Block) -> None:
    file = Path(block.file)
    file.parent.mkdir(exist_ok=True)
    file.write_text(block.code)


def _compiled(page: Path, block: Block, flags: int) -> types.CodeType:
    written = block.code.replace(MONGODB, os.environ.get("DOCS_MONGODB", MONGODB))
    placed = "\n" * (block.line - 1) + written
    code: types.CodeType = compile(placed, str(page), "exec", flags=flags, dont_inherit=True)
    return code


def _is_program(block: Block) -> bool:
    return "asyncio.run(" in block.code or "__main__" in block.code


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module


if __name__ == "__main__":
    main(Path(sys.argv[1]))
