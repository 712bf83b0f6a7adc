"""Which tests one process takes together: all that share a server; of long proofs single tests; else a file."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

__all__ = ["Units", "place", "unit"]

LONG: Final = (
    "simulation/test_mutants.py",
    "workerd/",
    "simulation/",
    "api/test_year.py",
    "processes/",
    "machines/test_lint_guards.py",
    "schedules/test_cron_properties.py",
)
"""What takes longest, the longest first: so the processes of `make test` end together."""

_SINGLE: Final = ("simulation/", "workerd/", "processes/")
_SERVERS: Final = {
    f"workerd/test_{each}.py": server
    for server, files in {
        "worker": ("flat", "flow_prices", "prices", "runtime", "scenarios", "storage"),
        "scenarios": ("messages", "throughput"),
        "example": ("deploy", "example"),
        "jobs app": ("worker",),
    }.items()
    for each in files
}
"""The server of each file of tests that has one; it takes many seconds to start."""


def place(path: str) -> int:
    """Return where the tests of a file stand in the order, by its path below tests/."""
    return next((place for place, start in enumerate(LONG) if path.startswith(start)), len(LONG))


def unit(nodeid: str) -> str:
    """Return the name of what a test belongs to, and is run with, by its id."""
    path = nodeid.split("::", 1)[0]
    below = path.removeprefix("tests/")
    if below in _SERVERS:
        return _SERVERS[below]
    return nodeid if below.startswith(_SINGLE) else path


class Units(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole units, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
