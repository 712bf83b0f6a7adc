"""What each move of a flow costs by D1's own meters, exactly; on SQLite: tests/flows/test_prices.py."""

from __future__ import annotations

import flow_prices
from flow_prices import PRICES, Price, costs
from workerd_server import Server
from workerd_suites import suite_tests


def test_every_move_of_a_flow_has_its_price(worker: Server) -> None:
    found = {}
    for test in suite_tests(flow_prices):
        calls = worker.run_suite("flow_prices", test)
        found |= {label: Price(*each) for label, each in costs(calls, "changes", "rows_written").items()}
    assert found == PRICES
