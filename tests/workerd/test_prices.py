"""The price list of the design, by D1's own meters: statements and written rows of each piece of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import prices_suite
import pytest
from workerd_server import Server
from workerd_suites import suite_tests


class Price(NamedTuple):
    statements: int
    rows_written: int


# What each test of the suite labels, and what the list allows for it.
PRICES = {
    "test_one_run": {
        "create": Price(1, 2),
        "consume": Price(2, 3),
        "status": Price(1, 0),
        "idle tick": Price(2, 0),
    },
    "test_dedupe_forever": {
        "create": Price(2, 3),
        "create again": Price(2, 0),
        "claim": Price(1, 2),
        # A statement that may free a key names its column, so SQLite writes the key's index entry again.
        "settle": Price(1, 2),
    },
    "test_dedupe_while_active": {
        "create": Price(2, 3),
        "create again": Price(2, 0),
        "claim": Price(1, 2),
        "settle": Price(1, 1),
    },
    "test_one_retry": {
        "create": Price(1, 2),
        "first attempt": Price(2, 4),
        "second attempt": Price(2, 4),
    },
    "test_a_heartbeat": {
        "create": Price(1, 2),
        "start": Price(1, 2),
        "heartbeat": Price(1, 2),
        "settle after a heartbeat": Price(1, 1),
    },
    "test_a_hundred_runs": {
        "create 100": Price(1, 200),
        "consume 100": Price(5, 300),
        "create mixed": Price(4, 200),
        # 50 of them wait again for a deadline, which is an index entry each.
        "consume 100 mixed": Price(5, 350),
    },
    "test_dispatch_of_a_hundred_runs": {
        "create 100 later": Price(1, 200),
        "dispatch 100": Price(2, 200),
    },
    "test_dispatch_of_a_hundred_runs_by_default": {
        "create 100 later": Price(1, 200),
        "dispatch 100": Price(2, 200),
    },
    "test_dispatch_of_a_hundred_runs_with_dedupe_keys": {
        "create 100 later": Price(2, 300),
        "dispatch 100": Price(2, 300),  # as above: a sweep may expire a run
    },
    "test_dispatch_of_a_hundred_recurring_jobs": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500),
        "consume 100 recurring": Price(5, 300),
    },
    "test_dispatch_of_a_hundred_recurring_jobs_by_default": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500),
    },
    "test_lost_messages_are_sent_again": {
        "create 100": Price(1, 200),
        "redeliver 100": Price(2, 200),
    },
    "test_pruning": {
        "create 100": Price(1, 200),
        "consume 100": Price(5, 300),
        "prune 100": Price(2, 100),
    },
}


def test_every_piece_of_work_has_a_price() -> None:
    assert set(PRICES) == set(suite_tests(prices_suite))


@pytest.mark.parametrize("test", list(PRICES))
def test_price(worker: Server, test: str, record_property: Callable[[str, object], None]) -> None:
    calls = worker.run_suite("prices_suite", test)
    statements = Counter(call["label"] for call in calls if call["label"])
    rows: Counter[str] = Counter()
    for call in calls:
        rows[call["label"]] += call["rows_written"]
    found = {label: Price(count, rows[label]) for label, count in statements.items()}
    for label, price in found.items():
        what = f"{test.removeprefix('test_').replace('_', ' ')}: {label}"
        record_property("workerd", f"{what:76} {price.statements:4} statements {price.rows_written:4} rows")
    assert found == PRICES[test]
