"""`KumofireWorker`: an application on it, over HTTP, on the real queue and with real cron ticks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from workerd_server import Bindings, Server

HERE = Path(__file__).resolve().parent
SECONDS_MAX = 20
BINDINGS = Bindings(
    databases={"JOBS_DB": "jobs"},
    producers={"JOBS_QUEUE": "jobs"},
    consumers={
        "jobs": {"maxBatchSize": 10, "maxBatchTimeout": 0, "maxRetries": 10},
        "unbound": {"maxBatchSize": 10, "maxBatchTimeout": 0},
    },
    variables={"GREETING": "hello"},
)
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def application(node: Path, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Worker of jobs_app; beside it stands `tables` of app."""
    with Server(
        node,
        tmp_path_factory.mktemp("jobs_app"),
        wheels=wheels,
        sources=[HERE / "app", HERE / "jobs_app"],  # of the two entry.py the last one counts
        bindings=BINDINGS,
    ) as server:
        yield server


@pytest.fixture
def jobs(application: Server) -> Server:
    """The Worker with empty tables."""
    application.call("rebuild")
    return application


def create(jobs: Server, name: str, payload: Any = None, **options: Any) -> str:
    """Create a run; return its id."""
    run_id: str = jobs.call("create", name=name, payload=payload, options=options)["id"]
    return run_id


def status_of(jobs: Server, run_id: str) -> Any:
    reply = jobs.request(f"/status?id={run_id}")
    assert reply.status == 200, reply.text
    return reply.json()


def settled(jobs: Server, run_id: str) -> Any:
    """Return the run's status once it is settled."""
    end = time.monotonic() + SECONDS_MAX
    while not (status := status_of(jobs, run_id))["settled"]:
        assert time.monotonic() < end, f"{status}\n{jobs.log()[-4000:]}"
        time.sleep(0.05)
    return status


def hint(run_id: str, version: int = 1) -> dict[str, Any]:
    return {"version": version, "kumofireJobRunId": run_id}


# -- runs -------------------------------------------------------------------------------------------


def test_a_run_is_created_queued_and_consumed(jobs: Server) -> None:
    status = settled(jobs, create(jobs, "echo", {"say": "grüße"}))
    assert (status["state"], status["attempt"]) == ("succeeded", 1)
    # The variable comes from ctx.env, which is the Worker's own.
    assert status["result"] == {"say": "grüße", "greeting": "hello"}


def test_a_run_that_fails_is_tried_again_by_the_queue(jobs: Server) -> None:
    status = settled(jobs, create(jobs, "flaky"))
    assert (status["state"], status["attempt"], status["result"]) == ("succeeded", 3, "attempt 3")


def test_a_failed_attempt_retries_its_message(jobs: Server) -> None:
    run_id = jobs.call("create", name="flaky", refused=True)["id"]
    dispositions = jobs.deliver("jobs", [hint(run_id)])
    assert (dispositions.outcome, dispositions.acked, dispositions.retried) == ("ok", [], {"m0": 1})
    assert status_of(jobs, run_id)["attempt"] == 1


def test_a_run_without_attempts_left_fails(jobs: Server) -> None:
    status = settled(jobs, create(jobs, "hopeless"))
    assert (status["state"], status["attempt"]) == ("failed", 2)
    assert "never" in str(status["last_error"])


def test_a_delayed_run_starts_by_itself(jobs: Server) -> None:
    status = settled(jobs, create(jobs, "echo", {}, delay=2))
    assert status["state"] == "succeeded"
    waited = datetime.fromisoformat(status["started_at"]) - datetime.fromisoformat(status["created_at"])
    assert 2 <= waited.total_seconds() < 8


def test_a_run_in_the_far_future_stays_ready(jobs: Server) -> None:
    run_id = create(jobs, "echo", {}, delay=3600)
    assert jobs.tick().status == 200
    status = status_of(jobs, run_id)
    assert (status["state"], len(status["history"])) == ("ready", 1)


def test_a_run_is_canceled(jobs: Server) -> None:
    run_id = create(jobs, "echo", {}, delay=3600)
    assert jobs.call("cancel", id=run_id)["state"] == "canceled"
    assert settled(jobs, run_id)["state"] == "canceled"


def test_simultaneous_requests_with_one_key_make_one_run(jobs: Server) -> None:
    arguments = {"name": "echo", "payload": {}, "options": {"dedupe_key": "k"}}
    with ThreadPoolExecutor(20) as pool:
        created = list(pool.map(lambda _: jobs.call("create", **arguments), range(20)))
    assert len({each["id"] for each in created}) == 1
    assert sum(each["is_new"] for each in created) == 1
    assert settled(jobs, created[0]["id"])["attempt"] == 1
    assert sum(jobs.call("counts").values()) == 1


# -- cron -------------------------------------------------------------------------------------------


def test_a_tick_sends_what_the_queue_refused(jobs: Server) -> None:
    run_id = jobs.call("create", name="echo", payload={}, refused=True)["id"]
    assert status_of(jobs, run_id)["state"] == "queued"
    time.sleep(1.1)  # it is due a second after the refusal
    assert jobs.tick().status == 200
    assert settled(jobs, run_id)["state"] == "succeeded"


def test_a_tick_with_nothing_due_works(jobs: Server) -> None:
    reply = jobs.tick()
    assert (reply.status, reply.text) == (200, "ok")


# -- messages ---------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_retried_and_never_acknowledged(jobs: Server) -> None:
    run_id = jobs.call("create", name="echo", payload={}, refused=True)["id"]
    foreign = [{"id": 1}, "text", None, 7, [], hint(""), hint(run_id, version=2)]
    dispositions = jobs.deliver("jobs", [*foreign, hint(run_id)])
    assert dispositions.outcome == "ok"
    assert sorted(dispositions.retried) == [f"m{i}" for i in range(len(foreign))]
    assert dispositions.acked == [f"m{len(foreign)}"]
    assert not dispositions.ack_all
    assert status_of(jobs, run_id)["state"] == "succeeded"


def test_a_message_of_a_run_that_is_gone_is_acknowledged(jobs: Server) -> None:
    assert jobs.deliver("jobs", [hint(UNKNOWN_ID)]).acked == ["m0"]


def test_a_database_that_fails_retries_the_messages(jobs: Server) -> None:
    jobs.call("drop", table="kumofire_runs")
    dispositions = jobs.deliver("jobs", [hint(UNKNOWN_ID), hint(UNKNOWN_ID)])
    assert (dispositions.outcome, dispositions.acked, dispositions.retried) == (
        "ok",
        [],
        {"m0": 10, "m1": 10},
    )


def test_a_consumer_without_its_binding_retries_the_messages(jobs: Server) -> None:
    dispositions = jobs.deliver("unbound", [hint(UNKNOWN_ID), "text"])
    assert (dispositions.outcome, dispositions.acked, dispositions.retried) == (
        "ok",
        [],
        {"m0": 30, "m1": 30},
    )


# -- bindings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "text"),
    [
        ("WithoutDatabase", "with the binding NO_DB?"),
        ("WithoutQueue", "with the binding NO_QUEUE?"),
        ("Swapped", "BindingError: a D1 binding is needed, with prepare() and batch()"),
    ],
)
def test_a_binding_that_is_missing_or_another_is_told(jobs: Server, worker: str, text: str) -> None:
    reply = jobs.request("/misbound", {"worker": worker})
    assert reply.status == 500
    assert text in reply.text
