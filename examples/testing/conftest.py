"""What the shop's tests share: a double of the outside, and the tables of the shop."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kumofire_fsm.testing import SyncVirtualJobs


@dataclass
class Double:
    """The bank, the mail and the warehouse."""

    declines: int = 0
    unpacked: set[int] = field(default_factory=set[int])
    sent: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def charge(self, key: str, cents: int) -> str:
        if self.declines:
            self.declines -= 1
            raise ConnectionError("the bank is down")
        return f"{cents} by {key[-4:]}"

    async def send(self, to: str, text: str) -> None:
        self.sent.append((to, text))

    async def is_packed(self, number: int) -> bool:
        return number not in self.unpacked


@pytest.fixture
def outside() -> Double:
    return Double()


@pytest.fixture
def kumofire_env(outside: Double) -> Double:
    return outside


@pytest.fixture
def jobs(kumofire_jobs: SyncVirtualJobs) -> SyncVirtualJobs:
    kumofire_jobs.sql("CREATE TABLE receipts (number INTEGER, receipt TEXT)")
    return kumofire_jobs
