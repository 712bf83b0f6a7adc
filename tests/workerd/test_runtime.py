"""The harness itself: what runs inside workerd is the built wheel, on real D1, queues and cron ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from patience import until
from workerd_server import D1Error, Server

import kumofire_fsm

INSERT = (
    "INSERT INTO kumofire_runs (id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared, "
    "suspect, deliveries, created_at, history) VALUES ('{}', 'run', '{}', {}, 'j', 1, 0, 1, 0, 0, 0, 0, 1, '[]')"
)


@pytest.fixture
def fresh(worker: Server) -> Iterator[Server]:
    """The Worker with empty tables."""
    worker.call("rebuild")
    yield worker


def events_of(worker: Server, kind: str) -> list[Any]:
    """Return the facts that the Worker wrote down of one kind."""
    return [fact for each, fact in worker.call("events") if each == kind]


# -- what is installed ------------------------------------------------------------------------------


def test_the_built_wheel_is_what_runs(worker: Server, built_wheel: Path) -> None:
    facts = worker.call("facts")
    assert "site-packages/kumofire_fsm/" in facts["file"]
    assert facts["platform"] == "emscripten"
    assert facts["python"].startswith("3.14.")
    assert facts["version"] == kumofire_fsm.__version__
    assert built_wheel.name == f"kumofire_fsm-{facts['version']}-py3-none-any.whl"


def test_the_pinned_wheels_satisfy_what_the_wheel_requires(worker: Server) -> None:
    facts = worker.call("facts")
    installed = {canonicalize_name(name): version for name, version in facts["installed"].items()}
    for text in facts["requires"]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            assert requirement.specifier.contains(installed[canonicalize_name(requirement.name)]), text


def test_the_package_imports_under_the_rules_of_a_deploy(
    worker: Server, record_property: Callable[[str, object], None]
) -> None:
    # Randomness raises in Python while the modules are imported; below Python nothing was drawn either.
    assert worker.boot["entropyDraws"] == 0
    imports = ", ".join(f"{name} {taken} ms" for name, taken in worker.boot["importMs"].items())
    record_property("workerd", f"boot {worker.boot['bootMs']} ms; imports: {imports}")
    assert set(worker.boot["importMs"]) == {"statemachine", "kumofire_fsm", "entry"}


# -- D1 ---------------------------------------------------------------------------------------------


def test_the_migrations_apply(fresh: Server) -> None:
    tables = fresh.sql(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'kumofire_%' ORDER BY name"
    )
    expected = ["bodies", "controls", "edges", "paces", "runs", "schedules", "schema"]
    assert [row["name"] for row in tables] == [f"kumofire_{name}" for name in expected]


def test_an_illegal_move_by_raw_sql_is_refused(fresh: Server) -> None:
    fresh.sql(INSERT.format("r", "ready", 5))
    with pytest.raises(D1Error, match=r"the machine has no such edge.*SQLITE_CONSTRAINT"):
        fresh.sql("UPDATE kumofire_runs SET state = 'succeeded', wake_at = NULL")
    assert fresh.sql("SELECT state FROM kumofire_runs") == [{"state": "ready"}]


def test_an_illegal_insert_by_raw_sql_is_refused(fresh: Server) -> None:
    with pytest.raises(D1Error, match="a row may not be created in this state"):
        fresh.sql(INSERT.format("r", "running", 5))
    with pytest.raises(D1Error, match="a row may not be created in this state"):
        fresh.sql(INSERT.format("r", "ready", "NULL"))


def test_a_run_without_a_deadline_is_refused(fresh: Server) -> None:
    fresh.sql(INSERT.format("r", "ready", 5))
    with pytest.raises(D1Error, match="wake_at must be set exactly while a deadline runs"):
        fresh.sql("UPDATE kumofire_runs SET wake_at = NULL")


def test_a_check_that_raises_rolls_a_batch_back(fresh: Server) -> None:
    check = "SELECT iif(changes() = 1, 1, json('claim lost'))"
    statements = [["UPDATE kumofire_runs SET state = 'queued' WHERE id = 'none'", None], [check, None]]
    answer = fresh.call("sql", statements=[[INSERT.format("r", "ready", 5), None], *statements], batch=True)
    assert "malformed JSON" in answer["error"]
    assert fresh.sql("SELECT count(*) AS n FROM kumofire_runs") == [{"n": 0}]


# -- queues and cron --------------------------------------------------------------------------------


def test_a_batch_is_delivered_exactly_as_given(fresh: Server) -> None:
    bodies = [{"then": "ack"}, {"then": "retry", "delay": 7}, {"then": "nothing"}, "text"]
    dispositions = fresh.deliver("jobs", bodies, attempts=2)
    assert dispositions.outcome == "ok"
    assert dispositions.acked == ["m0", "m3"]
    assert dispositions.retried == {"m1": 7}
    seen = [(fact["id"], fact["attempts"], fact["body"]) for fact in events_of(fresh, "jobs")]
    assert seen == [(f"m{i}", 2, body) for i, body in enumerate(bodies)]


def test_a_consumer_that_raises_is_told(fresh: Server) -> None:
    assert fresh.deliver("jobs", [{"then": "raise"}]).outcome == "exception"


def test_the_real_queue_delivers_retries_and_gives_up(fresh: Server) -> None:
    fresh.call("send", messages=[[{"then": "ack"}, 0], [{"then": "retry", "in": "vain"}, 0]])
    until(lambda: events_of(fresh, "dead") != [])
    assert [fact["body"] for fact in events_of(fresh, "dead")] == [{"then": "retry", "in": "vain"}]
    attempts = [fact["attempts"] for fact in events_of(fresh, "jobs") if fact["body"]["then"] == "retry"]
    assert attempts == [1, 2, 3, 4]


def test_a_cron_tick_arrives(fresh: Server) -> None:
    assert fresh.tick("*/5 * * * *", time_ms=1_745_856_238_000).status == 200
    assert events_of(fresh, "cron") == [{"cron": "*/5 * * * *", "time": 1_745_856_238_000}]


# -- the harness ------------------------------------------------------------------------------------


def test_a_failure_inside_shows_where_and_the_values(worker: Server) -> None:
    with pytest.raises(AssertionError, match=r"(?s)in workerd: AssertionError.*found = 2"):
        worker.run_suite("broken_suite", "test_fails")
