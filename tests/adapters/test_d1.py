"""What is sent to D1 again after a passing fault: only what may take effect twice. (The rest runs in workerd.)"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kumofire_fsm.adapters import d1
from kumofire_fsm.adapters.d1 import D1Storage
from kumofire_fsm.errors import KumofireError, RowRefused, StoreOverloaded, TransientStoreError
from kumofire_fsm.ports import Statement

READ = Statement("read", "SELECT 1 AS n", columns=("n",), reads=True)
AGAIN = Statement("again", "UPDATE once_or_twice", columns=("n",), idempotent=True)
ONCE = Statement("once", "UPDATE once", columns=("n",))
PASSING = "D1_ERROR: Network connection lost."


class Binding:
    """A D1 binding that fails as often as it is told, and counts what it is sent."""

    def __init__(self, failures: int, text: str) -> None:
        self.failures, self.text, self.sent = failures, text, 0

    def prepare(self, _sql: str) -> Binding:
        return self

    async def all(self) -> dict[str, Any]:
        self.sent += 1
        if self.sent <= self.failures:
            raise RuntimeError(self.text)
        return {"results": [{"n": self.sent}]}

    async def batch(self, statements: list[Any]) -> list[dict[str, Any]]:
        return [await self.all()] * len(statements)


def sent(monkeypatch: Any, *statements: Statement, failures: int, text: str = PASSING) -> tuple[int, Any]:
    """Return how often statements were sent, and the error that was raised in the end."""
    monkeypatch.setattr(d1, "FIRST_PAUSE_S", 0.0)
    binding = Binding(failures, text)
    storage = D1Storage(binding)
    try:
        asyncio.run(storage.execute(*statements) if len(statements) == 1 else storage.batch(statements))
    except KumofireError as exc:
        return binding.sent, type(exc)
    return binding.sent, None


@pytest.mark.parametrize("statements", [[READ], [AGAIN], [READ, AGAIN]], ids=["read", "again", "batch"])
def test_what_may_be_repeated_is_sent_up_to_three_times(monkeypatch, statements):
    assert sent(monkeypatch, *statements, failures=1) == (2, None)
    assert sent(monkeypatch, *statements, failures=2) == (3, None)
    assert sent(monkeypatch, *statements, failures=3) == (3, TransientStoreError)


@pytest.mark.parametrize(
    "statements", [[ONCE], [ONCE, READ], [AGAIN, ONCE, READ]], ids=["once", "batch", "among others"]
)
def test_what_may_not_be_repeated_is_sent_once(monkeypatch, statements):
    assert sent(monkeypatch, *statements, failures=1) == (1, TransientStoreError)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("D1 DB is overloaded. Too many requests queued.", StoreOverloaded),
        ("D1_ERROR: UNIQUE constraint failed: SQLITE_CONSTRAINT", RowRefused),
    ],
)
def test_what_is_refused_or_meets_too_much_load_is_not_sent_again(monkeypatch, text, error):
    assert sent(monkeypatch, READ, failures=1, text=text) == (1, error)
