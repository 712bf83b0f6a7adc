"""Writes kumofire_fsm/work/sync_jobs.pyi: the asynchronous API's methods as type checkers see them without await."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from pathlib import Path

from kumofire_fsm import EmbeddedJobs

__all__ = ["STUB", "sync_stub"]

STUB = Path(__file__).parents[2] / "kumofire_fsm" / "work" / "sync_jobs.pyi"
HEAD = "# Written by `make stubs` from the asynchronous API."
BORN = """
def __init__(
    self, jobs: Any, loop: asyncio.AbstractEventLoop, born: int, forgotten: list[str] | None = None
) -> None: ...
"""


def sync_stub() -> str:
    """Return the stub of `SyncJobs`."""
    methods: dict[str, list[ast.stmt]] = {"__init__": ast.parse(BORN).body}
    where: dict[str, str] = {"asyncio": "import asyncio", "Any": "from typing import Any"}
    for owner in reversed(EmbeddedJobs.__mro__[:-1]):
        module = ast.parse(Path(inspect.getfile(owner)).read_text("utf-8"))
        where |= _defined(module)
        (body,) = [each.body for each in module.body if getattr(each, "name", "") == owner.__name__]
        methods |= _methods(body)
    kept = [each for group in methods.values() for each in group]
    shape = ast.ClassDef("SyncJobs", [], [], kept, [], type_params=[])
    used = {node.id for node in ast.walk(shape) if isinstance(node, ast.Name)} - set(dir(builtins))
    lines = sorted({where[name] for name in used})
    text = ast.unparse(ast.fix_missing_locations(shape))
    return "\n".join([HEAD, "", *lines, "", text, ""])


def _methods(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Return the public methods of a class; of one with overloads, these alone."""
    found: dict[str, list[ast.stmt]] = {}
    for each in body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and not each.name.startswith("_"):
            found.setdefault(each.name, []).append(
                ast.FunctionDef(
                    each.name,
                    _plain(each.args),
                    [ast.Expr(ast.Constant(...))],
                    each.decorator_list,
                    each.returns,
                    type_params=[],
                )
            )
    return {name: group[:-1] if len(group) > 1 else group for name, group in found.items()}


def _plain(arguments: ast.arguments) -> ast.arguments:
    """Return the arguments with `...` in the place of a default that a stub does not tell: a constant's name."""
    arguments.kw_defaults = [
        ast.Constant(...) if isinstance(each, ast.Name) else each for each in arguments.kw_defaults
    ]
    return arguments


def _defined(module: ast.Module) -> dict[str, str]:
    """Return by name the line that makes what a module's annotations may name."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            found |= {each.name: f"from {node.module} import {each.name}" for each in node.names}
    return found


if __name__ == "__main__":
    sys.stdout.write(sync_stub())
