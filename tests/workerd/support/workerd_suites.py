"""Finds the tests of a suite: coroutine functions that run outside as well as inside the Worker."""

from __future__ import annotations

import inspect
from types import ModuleType


def suite_tests(suite: ModuleType) -> list[str]:
    """Return the names of a suite's tests, in the order of the file."""
    return [
        name
        for name, value in vars(suite).items()
        if name.startswith("test_") and inspect.iscoroutinefunction(value)
    ]
