"""Runs tests written as coroutines, and gives each a fresh application."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from harness import Kit


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
