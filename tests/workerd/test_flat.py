"""What work costs beside rows that are not its own: by D1's own count, the same whatever their number."""

from __future__ import annotations

from collections.abc import Callable

import flat_suite
import pytest
from workerd_server import Server
from workerd_suites import suite_tests

# Rows that D1 may read for each piece of work, beside three thousand rows or twenty thousand.
READS = {
    "create": 7,
    "idle tick": 113,
    "consume": 18,
    "claim": 144,
    "next wake": 96,
    "status": 2,
    "newest": 25,
    "failed": 11,
    "prune": 12_005,
}


@pytest.mark.parametrize("test", suite_tests(flat_suite))
def test_rows_read(worker: Server, test: str, record_property: Callable[[str, object], None]) -> None:
    found: dict[str, dict[int, int]] = {}
    for call in worker.run_suite("flat_suite", test):
        label, _, number = call["label"].rpartition(" ")
        if label and call["sql"]:
            counts = found.setdefault(label, {})
            counts[int(number)] = counts.get(int(number), 0) + call["rows_read"]
    for label, counts in found.items():
        record_property(
            "workerd", f"{test.removeprefix('test_').replace('_', ' ')}: {label}: rows read {counts}"
        )
    assert all(len(set(counts.values())) == 1 for counts in found.values()), found
    assert found.keys() == READS.keys()
    assert all(max(counts.values()) <= READS[label] for label, counts in found.items()), found
