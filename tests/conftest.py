"""Runs tests written as coroutines, gives each a fresh application, and begins with the long tests."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

HERE = Path(__file__).parent
LONG = (
    "simulation/test_mutants.py",
    "workerd/",
    "simulation/",
    "api/test_year.py",
    "processes/",
    "machines/test_lint_guards.py",
    "schedules/test_cron_properties.py",
)
"""What takes longest, the longest first: so the processes of `make test` end together."""

SHARED = {
    f"{path}.py": group
    for group, paths in {
        "worker": ("flat", "prices", "runtime", "scenarios", "storage"),
        "scenarios": ("messages", "throughput"),
        "example": ("deploy", "example"),
        "jobs app": ("worker",),
    }.items()
    for path in (f"workerd/test_{each}" for each in paths)
} | {"drawing/test_mermaid_parser.py": "mermaid"}
"""Tests that share a server, which takes many seconds to start, by file."""


def _place(item: pytest.Item) -> int:
    path = item.path.relative_to(HERE).as_posix()
    return next((place for place, start in enumerate(LONG) if path.startswith(start)), len(LONG))


@pytest.hookimpl(tryfirst=True)  # the scheduler reads the groups in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests; keep what shares a server together; measure no coverage of long searches.

    The simulator's histories run several times longer under the tracer, and what they reach the other tests
    reach as well.
    """
    items.sort(key=_place)
    for item in items:
        path = item.path.relative_to(HERE).as_posix()
        if path in SHARED:
            item.add_marker(pytest.mark.xdist_group(SHARED[path]))
        if path.startswith(("simulation/", "api/test_year.py")):
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def kit() -> Kit:
    """An application on a virtual clock, seeded entropy and a backoff without jitter."""
    return Kit()
