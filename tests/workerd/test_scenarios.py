"""Scenarios on D1 inside workerd: failing databases, the handler's own SQL, stopped handlers, statement budgets."""

from __future__ import annotations

from typing import Any

import pytest
from workerd_server import Server
from workerd_suites import names_of_tests


def each_test(*suites: str) -> list[Any]:
    """Return (suite, test) for every test of these suites."""
    return [(suite, test) for suite in suites for test in names_of_tests(suite)]


@pytest.mark.parametrize(
    ("suite", "test"),
    each_test("faults_suite", "stopped_suite", "budget_suite", "versions_suite", "sizes_suite"),
)
def test_on_d1(worker: Server, suite: str, test: str) -> None:
    worker.run_suite(suite, test)


@pytest.mark.parametrize("form", ["wrapped", "raw"])
@pytest.mark.parametrize(("suite", "test"), each_test("commit_suite"))
def test_on_each_form_of_the_binding(worker: Server, suite: str, test: str, form: str) -> None:
    worker.run_suite(suite, test, form=form)
