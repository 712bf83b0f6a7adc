"""The statements of stats and doctor: they run on an empty database, and give what they name."""

from __future__ import annotations

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.overview import (
    FAILED_LOOK,
    count_failed,
    latest_failed,
    read_groups,
    read_known,
    read_recent,
    suspended,
)
from kumofire_fsm.values.limits import ERROR_LINE

from .conftest import NOW

STATEMENTS = {
    each.name: each
    for each in (
        read_groups(NOW), count_failed(), read_recent(), latest_failed(), suspended(["suspended"]),
        read_known(),
    )
}  # fmt: skip
RUN = RunMachine.spec


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_gives_the_columns_that_it_names(store, name):
    statement = STATEMENTS[name]
    arguments = () if statement.argument is None else {"1": statement.argument}
    cursor = store.db.execute(statement.sql, arguments)
    assert tuple(column[0] for column in cursor.description) == statement.columns, "D1 gives rows by name"
    assert statement.reads


def test_groups_say_how_many_are_due_and_which_is_the_first(store):
    for wake_at, run_at in ((NOW - 5, NOW - 7), (NOW - 9, NOW - 11), (NOW + 1, NOW + 1)):
        store.put(RUN, "queued", job="mail", wake_at=wake_at, run_at=run_at)
    store.put(RUN, "succeeded", job="mail", finished_at=NOW)
    assert store.run(read_groups(NOW)) == [
        ("runs", "queued", "mail", "run", 3, 2, NOW - 9, NOW - 11),
    ]


def test_failed_runs_are_counted_by_job_and_their_errors_are_cut(store):
    for job in ("mail", "mail", "pay"):
        last = store.put(RUN, "failed", job=job, finished_at=NOW, error="e" * 1000)
    assert store.run(count_failed()) == [("mail", 2), ("pay", 1)]
    found = store.run(latest_failed())
    assert (len(found), found[0]) == (3, (last, "pay", NOW, "e" * ERROR_LINE))
    assert FAILED_LOOK == 1_000
