"""`KumofireWorker`: an application on it, over HTTP, on the real queue and with real cron ticks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from patience import until
from workerd_server import Bindings, Server

HERE = Path(__file__).resolve().parent
BINDINGS = Bindings(
    databases={"JOBS_DB": "jobs"},
    producers={"JOBS_QUEUE": "jobs"},
    consumers={
        "jobs": {"maxBatchSize": 10, "maxBatchTimeout": 0, "maxRetries": 10},
        "unbound": {"maxBatchSize": 10, "maxBatchTimeout": 0},
    },
    variables={"GREETING": "hello"},
)
CALLERS = [
    {"name": "any", "scriptPath": str(HERE / "callers" / "any.mjs")},
    {"name": "old", "scriptPath": str(HERE / "callers" / "any.mjs"), "compatibilityDate": "2026-04-20"},
    {"name": "shop", "scriptPath": str(HERE / "callers" / "shop.mjs")},
]
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
        callers=CALLERS,
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
    until(
        lambda: status_of(jobs, run_id)["settled"], lambda: f"{status_of(jobs, run_id)}\n{jobs.log()[-4000:]}"
    )
    return status_of(jobs, run_id)


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
    assert 2 <= waited.total_seconds() < 60


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


def test_timing_is_an_option_of_the_worker(jobs: Server) -> None:
    assert jobs.call("timing")["lost_ms"] == 5000


# -- service bindings -------------------------------------------------------------------------------


def called(jobs: Server, method: str, *values: Any, by: str = "any") -> Any:
    """Call a method from a Worker in JavaScript; return {value} or {error: {name, code, message}}."""
    reply = jobs.ask(by, "/", {"method": method, "values": values})
    assert reply.status == 200, reply.text
    return reply.json()


def refused(jobs: Server, method: str, *values: Any) -> tuple[str, str, str]:
    error = called(jobs, method, *values)["error"]
    return error["name"], error["code"], error["message"]


def test_a_worker_in_javascript_creates_a_run_and_sees_how_it_ends(jobs: Server) -> None:
    options = {"dedupe_key": "m1", "tags": ["shop"], "priority": "high", "concurrency_key": "ana"}
    values = ["mail", {"to": "ana", "text": "grüße"}, options]
    created = called(jobs, "create", *values)["value"]
    assert created | {"kumofire_job_run_id": "..."} == {
        "kumofire_job_run_id": "...",
        "is_new": True,
        "payload_differs": False,
        "replaced": False,
    }
    run_id = created["kumofire_job_run_id"]
    assert settled(jobs, run_id)["state"] == "succeeded"
    status = called(jobs, "status", run_id)["value"]
    assert (status["state"], status["settled"], status["result"]) == ("succeeded", True, "to ana: grüße")
    assert (status["tags"], status["priority"], status["last_error"]) == (["shop"], "high", None)
    assert [entry["event"] for entry in status["history"]] == ["create", "enqueue", "start", "succeed"]
    assert datetime.fromisoformat(status["finished_at"]) > datetime.fromisoformat(status["created_at"])
    again = called(jobs, "create", *values)["value"]
    assert (again["kumofire_job_run_id"], again["is_new"]) == (run_id, False)


def test_it_creates_a_run_for_later_and_cancels_it(jobs: Server) -> None:
    options = {"run_at": "2030-01-01T00:30:00.000Z", "expires_at": "2030-01-02T00:00:00+01:00", "tags": None}
    run_id = called(jobs, "create", "echo", {}, options)["value"]["kumofire_job_run_id"]
    status = called(jobs, "status", run_id)["value"]
    assert (status["state"], status["run_at"]) == ("ready", "2030-01-01T00:30:00Z")
    canceled = called(jobs, "cancel", run_id, {"by": "shop", "note": "sold out"})["value"]
    assert canceled["state"] == "canceled"
    assert canceled["history"][-1]["facts"] == {"by": "shop", "note": "sold out"}


def test_it_signals_an_instance_of_a_flow(jobs: Server) -> None:
    run_id = called(jobs, "create", "parcel", {"city": "Rome"})["value"]["kumofire_job_run_id"]
    assert called(jobs, "status", run_id)["value"]["step"] == "under_way"
    told = called(jobs, "signal", run_id, "deliver", {"signed": "ana"}, {"key": "w1", "by": "post"})["value"]
    assert (told["settled"], told["step"]) == (True, "delivered")


def test_its_errors_have_a_name_and_a_code(jobs: Server) -> None:
    run_id = called(jobs, "create", "echo", {}, {"delay": 3600})["value"]["kumofire_job_run_id"]
    called(jobs, "cancel", run_id)
    parcel = called(jobs, "create", "parcel", {"city": "Rome"})["value"]["kumofire_job_run_id"]
    found = {
        method_and_values: refused(jobs, method_and_values[0], *values)[:2]
        for method_and_values, values in {
            ("create", "an unknown job"): ["ech"],
            ("create", "a payload that does not fit"): ["echo", 7],
            ("cancel", "an unknown run"): [UNKNOWN_ID],
            ("signal", "a signal that does not fit"): [parcel, "deliver", {"signed": 7}],
            ("signal", "an unknown signal"): [parcel, "eat"],
            ("signal", "no flow"): [run_id, "deliver"],
        }.items()
    }
    assert found == {
        ("create", "an unknown job"): ("UnknownJob", "not_found"),
        ("create", "a payload that does not fit"): ("InvalidPayload", "invalid_argument"),
        ("cancel", "an unknown run"): ("UnknownRun", "not_found"),
        ("signal", "a signal that does not fit"): ("InvalidPayload", "invalid_argument"),
        ("signal", "an unknown signal"): ("UnknownSignal", "not_found"),
        ("signal", "no flow"): ("UnknownSignal", "not_found"),
    }
    called(jobs, "signal", parcel, "deliver", {"signed": "ana"})
    name, code, message = refused(jobs, "signal", parcel, "deliver", {"signed": "ben"})
    assert (name, code, message.split(":")[0]) == ("TransitionNotAllowed", "conflict", f"run {parcel}")
    assert called(jobs, "status", UNKNOWN_ID) == {"value": None}


def test_a_bad_call_is_told_and_stores_nothing(jobs: Server) -> None:
    said = [
        refused(jobs, method, *values)
        for method, *values in [
            ["create"],
            ["create", "echo", {}, {}, 1],
            ["create", "echo", {}, ["k"]],
            ["create", "echo", {}, {"dedupekey": "k"}],
            ["create", "echo", {}, {"run_at": "tomorrow"}],
            ["create", "echo", {}, {"run_at": 1_800_000_000_000}],
            ["create", "echo", {}, {"delay": "5"}],
            ["status", 7],
            ["cancel", UNKNOWN_ID, {"why": "so"}],
        ]
    ]
    assert {each[:2] for each in said} == {("InvalidArgument", "invalid_argument")}
    assert [each[2] for each in said] == [
        "create: missing a required argument: 'job'",
        "create: too many positional arguments",
        "the options of create are an object; found ['k']",
        (
            "create has no option 'dedupekey' (did you mean 'dedupe_key'?); it has concurrency_key, dedupe, "
            "dedupe_key, delay, expires_at, max_attempts, on_conflict, priority, run_at, tags"
        ),
        "run_at must be an ISO time such as 2026-11-01T00:30:00Z; found 'tomorrow'",
        "run_at must be an ISO time such as 2026-11-01T00:30:00Z; found 1800000000000",
        "delay must be a timedelta or seconds; found '5'",
        "an id is a text such as 0198c0de-...; found 7",
        "cancel has no option 'why'; it has by, note",
    ]
    assert jobs.call("counts") == {}


def test_a_caller_that_older_rules_serve_has_the_name_in_the_message(jobs: Server) -> None:
    error = called(jobs, "cancel", UNKNOWN_ID, by="old")["error"]
    assert error["message"].startswith("UnknownRun: no run has the id ")


def test_a_database_that_fails_is_told_to_the_caller(jobs: Server) -> None:
    jobs.call("drop", table="kumofire_runs")
    name, code, message = refused(jobs, "status", UNKNOWN_ID)
    assert (name, code, "no such table" in message) == ("StatementRefused", "failed", True), message


def test_the_worker_that_the_documentation_shows_creates_and_looks(jobs: Server) -> None:
    page = (HERE.parents[1] / "docs" / "cloudflare.md").read_text("utf-8")
    assert f"```js\n{(HERE / 'callers' / 'shop.mjs').read_text('utf-8')}```" in page
    created = jobs.ask("shop", "/", {"to": "ana", "text": "hello"})
    assert (created.status, created.json()["is_new"]) == (202, True)
    seen = jobs.ask("shop", f"/{created.json()['kumofire_job_run_id']}")
    assert (seen.status, seen.json()) == (200, {"state": "queued", "result": None})
    assert jobs.ask("shop", f"/{UNKNOWN_ID}").status == 404
    refused = jobs.ask("shop", "/", "no mail")
    assert (refused.status, refused.json()["error"]) == (400, "InvalidPayload")
