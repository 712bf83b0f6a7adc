"""examples/worker as it stands, on the bindings that wrangler reads from its own wrangler.jsonc."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from patience import until
from workerd_project import Project
from workerd_server import Server

from kumofire_fsm import RunStatus, Schedule

MAIL = {"to": "ana@example.com", "subject": "Hi"}
MAILING = {"key": "mailing", "job": "email", "payload": MAIL}
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def project(migrated_example: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the example whose database is the Worker's."""
    return migrated_example.duplicate(tmp_path_factory.mktemp("example") / "worker")


@pytest.fixture(scope="module")
def example(project: Project, wheels: list[Path]) -> Iterator[Server]:
    """The example's Worker."""
    with project.running(wheels, project.folder / "src") as server:
        yield server


def create(example: Server, path: str, body: Any = None, **headers: str) -> str:
    """Post what creates a run; return its id."""
    reply = example.request(path, body, method="POST", headers=headers)
    assert reply.status == 202, reply.text
    run_id: str = reply.json()["kumofire_job_run_id"]
    return run_id


def get(example: Server, path: str) -> Any:
    reply = example.request(path)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply.text
    return reply.json()


def settled(example: Server, run_id: str) -> Any:
    """Return the status of a run once it is settled."""
    until(lambda: get(example, f"/jobs/{run_id}")["settled"], example.log)
    return get(example, f"/jobs/{run_id}")


def records(example: Server, **wanted: str) -> list[Any]:
    """Return the rows of the Worker's own table that have these values."""
    return [row for row in get(example, "/records") if wanted.items() <= row.items()]


# -- runs -------------------------------------------------------------------------------------------


def test_a_request_becomes_a_run_that_the_queue_works_on(example: Server) -> None:
    run_id = create(example, "/jobs/email", MAIL)
    status = settled(example, run_id)
    assert list(status) == [field.name for field in fields(RunStatus)]
    times = [status.pop(name) for name in ("created_at", "run_at", "started_at", "finished_at")]
    assert [datetime.fromisoformat(each) for each in times] == sorted(map(datetime.fromisoformat, times))
    entries = [(entry["event"], entry["state"]) for entry in status.pop("history")]
    assert entries == [
        ("create", "ready"),
        ("enqueue", "queued"),
        ("start", "running"),
        ("succeed", "succeeded"),
    ]
    assert status == {
        "kumofire_job_run_id": run_id,
        "name": "email",
        "state": "succeeded",
        "settled": True,
        "attempt": 1,
        "max_attempts": 5,
        "expires_at": None,
        "scheduled_for": None,
        "schedule_id": None,
        "dedupe_key": None,
        "last_error": None,
        "payload": {"to": "ana@example.com", "subject": "Hi", "text": ""},
        "payload_left_out": False,
        "result": {"to": "ana@example.com", "sent": False},
        "progress": None,
        "tags": [],
        "result_left_out": False,
        "error_type": None,
        "paused": False,
        "priority": "normal",
        "concurrency_key": None,
        "step": None,
        "unknown": None,
        "unreadable": [],
    }


def test_a_job_that_always_fails_is_tried_again_after_its_backoff_and_then_failed(example: Server) -> None:
    status = settled(example, create(example, "/jobs/fail-always"))
    assert (status["state"], status["attempt"], status["max_attempts"]) == ("failed", 3, 3)
    assert "attempt 3 of 3 fails, as every one does" in status["last_error"]
    entries = status["history"]
    assert [each["event"] for each in entries if each["event"] != "enqueue"] == [
        "create",
        *("start", "retry") * 3,
    ]
    begun, put_off = (
        [datetime.fromisoformat(each["at"]) for each in entries if each["event"] == event]
        for event in ("start", "retry")
    )
    first, second = (
        (start - retry).total_seconds() for retry, start in zip(put_off[:2], begun[1:], strict=True)
    )
    assert (first >= 1, second >= 2) == (True, True), (first, second)


def test_a_delayed_run_is_canceled_before_it_starts(example: Server) -> None:
    run_id = create(example, "/jobs/email?delay=3600", MAIL)
    for _ in range(2):  # doing it twice is harmless
        reply = example.request(f"/jobs/{run_id}", method="DELETE")
        assert (reply.status, reply.json()["state"]) == (200, "canceled")
    last = get(example, f"/jobs/{run_id}")["history"][-1]
    assert (last["event"], last["facts"]) == ("cancel", {"by": "http"})


def test_a_run_that_is_settled_is_not_canceled(example: Server) -> None:
    run_id = create(example, "/jobs/email", MAIL)
    settled(example, run_id)
    reply = example.request(f"/jobs/{run_id}", method="DELETE")
    assert (reply.status, reply.json()["error"]) == (409, "TransitionNotAllowed")
    assert "'cancel' is not allowed from 'succeeded'" in reply.json()["message"]


def test_twenty_simultaneous_requests_with_one_key_make_one_run(example: Server) -> None:
    text, headers = uuid4().hex, {"Idempotency-Key": uuid4().hex}
    with ThreadPoolExecutor(20) as pool:
        ask = lambda _: example.request("/jobs/save-record", {"text": text}, headers=headers)  # noqa: E731
        replies = list(pool.map(ask, range(20)))
    assert {reply.status for reply in replies} == {202}
    (run_id,) = {reply.json()["kumofire_job_run_id"] for reply in replies}
    assert [reply.json()["is_new"] for reply in replies].count(True) == 1
    status = settled(example, run_id)
    assert (status["dedupe_key"], status["attempt"]) == (headers["Idempotency-Key"], 1)
    assert len(records(example, text=text)) == 1


# -- effects ----------------------------------------------------------------------------------------


def test_a_record_is_saved_exactly_once_however_often_its_message_comes(example: Server) -> None:
    text = uuid4().hex
    run_id = create(example, "/jobs/save-record", {"text": text})
    hint = {"version": 1, "kumofireJobRunId": run_id}
    with ThreadPoolExecutor(4) as pool:  # beside the delivery of the queue's own message
        dispositions = list(pool.map(lambda _: example.deliver("jobs", [hint, hint]), range(4)))
    assert {disposition.outcome for disposition in dispositions} == {"ok"}
    status = settled(example, run_id)
    assert (status["state"], status["attempt"]) == ("succeeded", 1)
    assert example.deliver("jobs", [hint, hint]).acked == ["m0", "m1"]
    (row,) = records(example, text=text)
    assert row == {"id": row["id"], "kumofire_job_run_id": run_id, "text": text}


def test_an_order_and_the_run_that_confirms_it_are_stored_together(example: Server, project: Project) -> None:
    run_id = create(example, "/orders", {"item": "tea", "email": "ana@example.com"})
    assert project.rows("SELECT item FROM orders WHERE kumofire_job_run_id = ?", run_id) == [("tea",)]
    status = settled(example, run_id)
    assert (status["state"], status["result"]["to"]) == ("succeeded", "ana@example.com")
    # The hint came at once, and the run was told of it: no tick sends another.
    assert [each["event"] for each in status["history"]] == ["create", "enqueue", "start", "succeed"]


def test_an_order_that_d1_refuses_leaves_no_run(example: Server, project: Project) -> None:
    count = "SELECT count(*) FROM kumofire_runs"
    before = project.rows(count)
    reply = example.request("/orders", {"item": "", "email": "ana@example.com"})
    assert reply.status == 500
    assert "CHECK constraint failed" in reply.text
    assert project.rows(count) == before


# -- schedules --------------------------------------------------------------------------------------


def test_a_cron_tick_fires_a_recurring_job_whose_time_has_come(example: Server) -> None:
    text = uuid4().hex
    asked = {"key": text, "job": "save-record", "payload": {"text": text}, "every": 1}
    schedule = example.request("/schedules", asked).json()
    assert list(schedule) == [field.name for field in fields(Schedule)]
    assert (schedule["state"], schedule["every"], schedule["cron"]) == ("active", 1.0, None)

    def ticked() -> bool:
        assert example.tick().status == 200
        return bool(records(example, text=text))

    until(ticked, example.log)
    run_id = records(example, text=text)[0]["kumofire_job_run_id"]
    status = settled(example, run_id)
    assert (status["state"], status["schedule_id"]) == ("succeeded", schedule["id"])
    assert status["scheduled_for"] is not None

    reply = example.request(f"/schedules/{text}", method="DELETE")
    assert (reply.status, reply.json()["state"]) == (200, "paused")
    (listed,) = (each for each in get(example, "/schedules") if each["schedule_key"] == text)
    assert listed == reply.json()


def test_a_schedule_follows_the_clock_of_its_zone_and_a_second_request_changes_nothing(
    example: Server,
) -> None:
    asked = {"key": "report", "job": "email", "payload": MAIL, "cron": "30 6 * * *", "timezone": "Asia/Tokyo"}
    first, second = (example.request("/schedules", asked) for _ in range(2))
    assert (first.status, second.json()) == (200, first.json())
    assert first.json()["next_at"].endswith("T21:30:00Z")


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "error", "text"),
    [
        ("/jobs/email", b"{", "ValidationError", "Invalid JSON"),
        ("/jobs/email", {"to": "ana@example.com"}, "InvalidPayload", "subject"),
        ("/jobs/email", b"", "InvalidPayload", "email"),
        ("/jobs/email?delay=soon", MAIL, "ValidationError", "delay"),
        ("/jobs/email?delay=-1", MAIL, "InvalidArgument", "delay"),
        ("/jobs/email?dely=1", MAIL, "ValidationError", "Extra inputs are not permitted"),
        ("/orders", {"item": "tea"}, "ValidationError", "email"),
        ("/schedules", {**MAILING, "cron": "61 * * * *"}, "InvalidSchedule", "61"),
        ("/schedules", MAILING, "InvalidSchedule", "cron"),
        ("/schedules", {**MAILING, "every": 60, "payload": 7}, "InvalidPayload", "email"),
    ],
)
def test_bad_input_is_told(example: Server, path: str, body: Any, error: str, text: str) -> None:
    reply = example.request(path, body, method="POST")
    assert (reply.status, reply.json()["error"]) == (400, error), reply.text
    assert text in reply.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", f"/jobs/{UNKNOWN_ID}", "UnknownRun"),
        ("DELETE", f"/jobs/{UNKNOWN_ID}", "UnknownRun"),
        ("POST", "/jobs/nothing", "UnknownJob"),
        ("DELETE", "/schedules/nothing", "UnknownSchedule"),
        ("GET", "/", "no such path"),
        ("POST", "/jobs", "no such path"),
        ("GET", "/jobs/a/b", "no such path"),
    ],
)
def test_what_does_not_exist_is_not_found(example: Server, method: str, path: str, error: str) -> None:
    reply = example.request(path, method=method)
    assert (reply.status, reply.json()["error"]) == (404, error)


def test_another_method_is_not_allowed(example: Server) -> None:
    reply = example.request("/jobs/email", MAIL, method="PUT")
    assert (reply.status, reply.headers["allow"]) == (405, "POST, GET, DELETE")
