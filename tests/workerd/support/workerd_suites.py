"""Finds the tests of a suite: coroutine functions that run inside the Worker."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

from workerd_parts import HERE


def suite_tests(suite: ModuleType) -> list[str]:
    """Return the names of a suite's tests, in the order of the file."""
    return [
        name
        for name, value in vars(suite).items()
        if name.startswith("test_") and inspect.iscoroutinefunction(value)
    ]


def names_of_tests(suite: str) -> list[str]:
    """Return the same for a suite that can be imported inside the Worker only."""
    module = ast.parse((HERE / "suites" / f"{suite}.py").read_text("utf-8"))
    found = [node.name for node in module.body if isinstance(node, ast.AsyncFunctionDef)]
    return [name for name in found if name.startswith("test_")]
