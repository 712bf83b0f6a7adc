"""What each move of a flow costs on SQLite, exactly; inside workerd: tests/workerd/test_flow_prices.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flow_prices
import pytest
from flow_prices import PRICES, costs

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.schema import migrate

TESTS = [each for name, each in vars(flow_prices).items() if name.startswith("test_")]
PAGE = Path(__file__).parents[2] / "docs/flows.md"


class Metered:
    """A storage that notes each statement, and how many rows of tables were changed."""

    def __init__(self, inner: SqliteStorage) -> None:
        self._inner, self.label, self.calls = inner, "", list[dict[str, Any]]()

    async def execute(self, statement: Statement) -> list[Row]:
        return (await self.batch([statement]))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        before = await self._inner.call(lambda db: db.total_changes)
        answers = await self._inner.batch(statements)
        changes = await self._inner.call(lambda db: db.total_changes) - before
        self.calls += [{"label": self.label, "sql": each.sql} for each in statements]
        self.calls[-1]["changes"] = changes
        return answers


async def test_every_move_of_a_flow_has_its_price_on_sqlite() -> None:
    found = {}
    for test in TESTS:
        storage = SqliteStorage(":memory:", synchronous="OFF")
        try:
            await storage.call(migrate)
            meter = Metered(storage)
            await test(meter, meter)
            found |= costs(meter.calls, "changes")
        finally:
            await storage.close()
    assert found == {label: (price.statements, price.rows, price.sends) for label, price in PRICES.items()}


@pytest.mark.parametrize("label", PRICES)
def test_the_page_tells_what_each_move_costs(label: str) -> None:
    price = PRICES[label]
    assert f"| {label} | {price.statements} | {price.written} |\n" in PAGE.read_text("utf-8")
