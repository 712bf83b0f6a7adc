"""The price list of the design, by D1's own meters: statements, written rows and sends of each piece of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import prices_suite
import pytest
from workerd_server import Server
from workerd_suites import suite_tests


class Price(NamedTuple):
    statements: int
    rows_written: int
    sends: int = 0
    """Calls of the queue, each of up to a hundred messages."""


# What each test of the suite labels, and what the list allows for it.
PRICES = {
    "test_one_run": {
        "create": Price(1, 2, 1),
        "consume": Price(2, 3),
        "status": Price(1, 0),
        "idle tick": Price(2, 0),
    },
    "test_a_prepared_run": {
        "commit": Price(1, 2),
        "send a hint": Price(1, 2, 1),
    },
    "test_dedupe_forever": {
        "create": Price(2, 3, 1),
        "create again": Price(2, 0),
        "claim": Price(1, 2),
        # A statement that may free a key names its column, so SQLite writes the key's index entry again.
        "settle": Price(1, 2),
    },
    "test_dedupe_while_active": {
        "create": Price(2, 3, 1),
        "create again": Price(2, 0),
        "claim": Price(1, 2),
        "settle": Price(1, 1),
    },
    "test_one_retry": {
        "create": Price(1, 2, 1),
        "first attempt": Price(2, 4),
        "second attempt": Price(2, 4),
    },
    "test_a_heartbeat": {
        "create": Price(1, 2, 1),
        "start": Price(1, 2),
        "heartbeat": Price(1, 2),
        "settle after a heartbeat": Price(1, 1),
    },
    "test_a_hundred_runs": {
        "create 100": Price(1, 200, 1),
        "consume 100": Price(5, 300),
        "create mixed": Price(4, 200, 4),
        # 50 of them wait again for a deadline, which is an index entry each.
        "consume 100 mixed": Price(5, 350),
    },
    "test_dispatch_of_a_hundred_runs": {
        "create 100 later": Price(1, 200),
        "dispatch 100": Price(2, 200, 1),
    },
    "test_dispatch_of_a_hundred_runs_by_default": {
        "create 100 later": Price(1, 200),
        "dispatch 100": Price(2, 200, 1),
    },
    "test_dispatch_of_a_hundred_runs_with_dedupe_keys": {
        "create 100 later": Price(2, 300),
        "dispatch 100": Price(2, 300, 1),  # as above: a sweep may expire a run
    },
    "test_dispatch_of_a_hundred_recurring_jobs": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500, 1),
        "consume 100 recurring": Price(5, 300),
    },
    "test_dispatch_of_a_hundred_recurring_jobs_by_default": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500, 1),
    },
    "test_overlaps_that_are_skipped": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500, 1),
        # Beside the jobs' 200 rows, the hints of the runs that wait are sent again.
        "dispatch 100 that overlap": Price(3, 400, 1),
    },
    "test_overlaps_that_wait": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500, 1),
        "dispatch 100 that overlap": Price(3, 400, 1),
    },
    "test_overlaps_that_cancel": {
        "create 100 schedules": Price(200, 200),
        "dispatch 100 recurring": Price(4, 500, 1),
        "dispatch 100 that overlap": Price(5, 600, 1),
    },
    "test_a_hundred_declared_schedules": {
        "first sync": Price(2, 400),
        "unchanged sync": Price(1, 0),
        "sync of changes": Price(2, 250),
    },
    "test_lost_messages_are_sent_again": {
        "create 100": Price(1, 200, 1),
        "redeliver 100": Price(2, 200, 1),
    },
    "test_a_paused_and_a_limited_job": {
        "pause": Price(2, 1),
        "create while paused": Price(1, 2, 1),
        "consume while paused": Price(2, 0),
        "tick while paused": Price(2, 0),
        "resume": Price(2, 1),
        "limit": Price(2, 1),
        "create within a limit": Price(1, 6, 1),
        "consume within a limit": Price(2, 9),
        # Two rounds of a claim and a settle, and a look at those that had to wait.
        "consume beyond a limit": Price(5, 18),
    },
    "test_pruning": {
        "create 100": Price(1, 200, 1),
        "consume 100": Price(5, 300),
        "prune 100": Price(2, 100),
    },
}


# What the original library pays for the same work; None where it was not counted.
ORIGINAL: dict[str, tuple[int, int | None, int | None]] = {
    "one run, created, consumed, succeeded": (18, 13, None),
    "dispatch of 100 due runs": (205, None, 100),
    "consume of 100 quick runs": (803, 700, None),
    "tick with nothing due": (5, None, None),
}
OURS = {
    "one run, created, consumed, succeeded": [("test_one_run", "create"), ("test_one_run", "consume")],
    "dispatch of 100 due runs": [("test_dispatch_of_a_hundred_runs", "dispatch 100")],
    "consume of 100 quick runs": [("test_a_hundred_runs", "consume 100")],
    "tick with nothing due": [("test_one_run", "idle tick")],
}


def test_every_piece_of_work_has_a_price() -> None:
    assert set(PRICES) == set(suite_tests(prices_suite))


@pytest.mark.parametrize("test", list(PRICES))
def test_price(worker: Server, test: str, record_property: Callable[[str, object], None]) -> None:
    found = prices(worker.run_suite("prices_suite", test))
    for label, price in found.items():
        what = f"{test.removeprefix('test_').replace('_', ' ')}: {label}"
        record_property("workerd", f"{what:76} {told(price)}")
    assert found == PRICES[test]


def test_the_same_work_is_dearer_in_the_original(record_property: Callable[[str, object], None]) -> None:
    for work, parts in OURS.items():
        paid = [PRICES[test][label] for test, label in parts]  # each is asserted above
        ours, original = Price(*map(sum, zip(*paid, strict=True))), ORIGINAL[work]
        record_property("workerd", f"{work:38} {told(ours)}; the original: {told(original)}")
        assert all(theirs is None or mine < theirs for mine, theirs in zip(ours, original, strict=True))


def prices(calls: list[dict[str, Any]]) -> dict[str, Price]:
    """Return what each label cost; a call of the queue is one without SQL."""
    labelled: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        if call["label"]:
            labelled.setdefault(call["label"], []).append(call)
    return {label: price(each) for label, each in labelled.items()}


def price(calls: list[dict[str, Any]]) -> Price:
    statements = [call for call in calls if call["sql"]]
    rows = sum(call["rows_written"] for call in statements)
    return Price(len(statements), rows, len(calls) - len(statements))


def told(price: tuple[int | None, ...]) -> str:
    statements, rows, sends = ("-" if number is None else number for number in price)
    return f"{statements:>4} statements {rows:>4} rows {sends:>3} sends"
