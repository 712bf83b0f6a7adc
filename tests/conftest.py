"""Runs tests written as coroutines, gives each a fresh application, and begins with the long tests."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from harness import Kit
from scheduling import Units, place

HERE = Path(__file__).parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let each process take whole units; see there."""
    return Units(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests; measure no coverage of long searches.

    The simulator's histories run several times longer under the tracer, and what they reach the other tests
    reach as well.
    """
    paths = {item: item.path.relative_to(HERE).as_posix() for item in items}
    items.sort(key=lambda item: place(paths[item]))
    for item, path in paths.items():
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
