"""The plugin of pytest: fixtures for tests of an application's jobs.

It is loaded wherever the package and pytest are installed, so it imports nothing before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.testing import SyncVirtualJobs, VirtualClock

__all__ = ["kumofire_app", "kumofire_clock", "kumofire_env", "kumofire_jobs", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of pytest's configuration that names the application."""
    parser.addini("kumofire_app", "the application whose jobs kumofire_jobs works: MODULE:APP", default="")


@pytest.fixture
def kumofire_app(pytestconfig: pytest.Config) -> Kumofire:
    """The application that the option kumofire_app names; define a fixture of this name to give another."""
    where = str(pytestconfig.getini("kumofire_app"))
    if not where:
        pytest.fail(
            "kumofire_jobs does not know the application: set `kumofire_app = MODULE:APP` in pytest's "
            "configuration, or define a fixture kumofire_app that returns it",
            pytrace=False,
        )
    from kumofire_fsm.cli.loading import load_app

    return load_app(where)


@pytest.fixture
def kumofire_clock() -> VirtualClock:
    """The time of kumofire_jobs: it stands at the beginning of 2026 until something moves it."""
    from kumofire_fsm.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def kumofire_env() -> Any:
    """What handlers find in ``ctx.env``: None; define a fixture of this name to give something."""
    return None


@pytest.fixture
def kumofire_jobs(
    kumofire_app: Kumofire, kumofire_clock: VirtualClock, kumofire_env: Any
) -> Iterator[SyncVirtualJobs]:
    """The application's jobs on a database of the test's own, in virtual time; an async test awaits calls."""
    from kumofire_fsm.testing import virtual_jobs

    with virtual_jobs(kumofire_app, clock=kumofire_clock, env=kumofire_env) as jobs:
        yield jobs
