"""The storage suites: the same tests on an embedded database, and inside workerd on D1."""

from __future__ import annotations

import pytest
import statements_suite
import storage_suite
from workerd_server import Server
from workerd_suites import suite_tests

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.store.schema import migrate

SUITES = {"storage_suite": storage_suite, "statements_suite": statements_suite}
# The forms of the D1 binding that the adapter takes: "wrapped" by the SDK, or the "raw" proxy.
FORMS = ["wrapped", "raw"]
TESTS = [(name, test) for name, suite in SUITES.items() for test in suite_tests(suite)]


@pytest.mark.parametrize(("suite", "test"), TESTS)
async def test_on_sqlite(suite: str, test: str) -> None:
    storage = SqliteStorage(":memory:", synchronous="OFF")
    try:
        await storage.call(migrate)
        await getattr(SUITES[suite], test)(storage)
    finally:
        await storage.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("suite", "test"), TESTS)
def test_on_d1(worker: Server, suite: str, test: str, form: str) -> None:
    worker.run_suite(suite, test, form=form)
