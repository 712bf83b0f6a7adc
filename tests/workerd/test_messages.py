"""Messages on the real queue and by hand: twice, early, late, malformed, refused, and of killed invocations."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from patience import until
from workerd_server import Server

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
LEASE_S = 70  # a timeout of a minute, and ten seconds
SHARED_LEASE_S = LEASE_S + 60  # and a minute to stand in line


@pytest.fixture
def jobs(scenarios: Server) -> Server:
    """The Worker with empty tables and real time."""
    scenarios.call("rebuild")
    return scenarios


def happens(jobs: Server, condition: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    until(condition, lambda: f"{jobs.call('events')}\n{jobs.log()[-3000:]}")


def hint(run_id: Any, version: int = 1) -> dict[str, Any]:
    return {"version": version, "kumofireJobRunId": run_id}


def create(jobs: Server, payload: Any = None, *, name: str = "note", **options: Any) -> str:
    """Create a run that its message reaches at once, on the real queue; return its id."""
    run_id: str = jobs.call("create", name=name, payload=payload, options=options)["id"]
    return run_id


def create_unsent(jobs: Server, payload: Any = None, **options: Any) -> str:
    """Create a run whose hint the queue refuses, so that only this test delivers it."""
    jobs.call("fail", queue="before")
    run_id = create(jobs, payload, **options)
    jobs.call("fail")
    return run_id


def state_of(jobs: Server, run_id: str) -> tuple[str, int]:
    status = jobs.call("status", id=run_id)
    return status["state"], status["attempt"]


def facts_of(jobs: Server, kind: str) -> list[Any]:
    return [fact for each, fact in jobs.call("events") if each == kind]


def calls(jobs: Server, run_id: str) -> list[int]:
    """Return the attempts in which the run's handler was called."""
    return [fact["attempt"] for fact in facts_of(jobs, "call") if fact["id"] == run_id]


def succeeded(jobs: Server, run_id: str) -> bool:
    return state_of(jobs, run_id)[0] == "succeeded"


# -- twice, early, late -----------------------------------------------------------------------------


def test_a_message_that_comes_twice_in_a_batch_calls_the_handler_once(jobs: Server) -> None:
    run_id = create_unsent(jobs)
    dispositions = jobs.deliver("jobs", [hint(run_id), hint(run_id)])
    assert (dispositions.outcome, dispositions.acked, dispositions.retried) == ("ok", ["m0", "m1"], {})
    assert (calls(jobs, run_id), state_of(jobs, run_id)) == ([1], ("succeeded", 1))


def test_a_message_that_comes_again_later_is_acknowledged(jobs: Server) -> None:
    run_id = create_unsent(jobs)
    for attempts in (1, 2):
        assert jobs.deliver("jobs", [hint(run_id)], attempts=attempts).acked == ["m0"]
    assert calls(jobs, run_id) == [1]


def test_a_message_that_comes_while_the_handler_works_waits_for_the_lease(jobs: Server) -> None:
    jobs.call("stand")
    run_id = create_unsent(jobs, {"seconds": 0.5})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(jobs.deliver, "jobs", [hint(run_id)])
        happens(jobs, lambda: calls(jobs, run_id) == [1])
        assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": LEASE_S}
        assert first.result().acked == ["m0"]
    assert jobs.deliver("jobs", [hint(run_id)]).acked == ["m0"]
    assert calls(jobs, run_id) == [1]


def test_many_copies_of_a_message_at_once_call_the_handler_once(jobs: Server) -> None:
    run_id = create_unsent(jobs, {"seconds": 0.1})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: jobs.deliver("jobs", [hint(run_id)]), range(8)))
    assert {answer.outcome for answer in answers} == {"ok"}
    assert (calls(jobs, run_id), state_of(jobs, run_id)) == ([1], ("succeeded", 1))


@pytest.mark.parametrize(("delay", "wait"), [(5, 5), (60, 60), (90, 90)])
def test_a_message_that_comes_early_waits_for_the_time_of_its_run(
    jobs: Server, delay: int, wait: int
) -> None:
    jobs.call("stand")
    run_id = create_unsent(jobs, delay=delay)
    assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": wait}
    jobs.call("stand", later=3)
    assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": min(delay - 3, 86_400)}
    jobs.call("stand", later=delay - 3)
    assert jobs.deliver("jobs", [hint(run_id)]).acked == ["m0"]
    assert calls(jobs, run_id) == [1]


@pytest.mark.parametrize("delay", [3600, 200_000])
def test_a_message_that_comes_long_before_the_time_of_its_run_is_not_needed(jobs: Server, delay: int) -> None:
    jobs.call("stand")
    run_id = create_unsent(jobs, delay=delay)
    assert jobs.deliver("jobs", [hint(run_id)]).acked == ["m0"]
    assert jobs.tick().status == 200
    assert state_of(jobs, run_id) == ("ready", 0)
    jobs.call("stand", later=delay - 90)
    assert jobs.tick().status == 200
    assert state_of(jobs, run_id) == ("queued", 0)
    assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": 90}


def test_a_message_of_a_settled_run_is_acknowledged(jobs: Server) -> None:
    done, failed, canceled = (
        create_unsent(jobs, payload, max_attempts=1) for payload in ({}, {"fails": 1}, {})
    )
    assert jobs.call("cancel", id=canceled) == "canceled"
    assert jobs.deliver("jobs", [hint(done), hint(failed)]).acked == ["m0", "m1"]
    dispositions = jobs.deliver("jobs", [hint(done), hint(failed), hint(canceled), hint(UNKNOWN_ID)])
    assert (dispositions.acked, dispositions.retried) == (["m0", "m1", "m2", "m3"], {})
    assert (calls(jobs, done), calls(jobs, failed), calls(jobs, canceled)) == ([1], [1], [])
    assert state_of(jobs, failed) == ("failed", 1)


def test_a_run_of_a_job_that_only_newer_code_knows_waits_for_it(jobs: Server) -> None:
    jobs.call("stand")
    jobs.call("fail", queue="before")
    run_id = create(jobs, name="novelty")
    for _ in range(5):
        assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": 60}
    assert state_of(jobs, run_id) == ("queued", 0)
    assert jobs.deliver("newer", [hint(run_id)]).acked == ["m0"]
    assert (calls(jobs, run_id), state_of(jobs, run_id)) == ([1], ("succeeded", 1))


# -- the dead-letter queue --------------------------------------------------------------------------


def test_only_what_cannot_be_read_ends_in_the_dead_letter_queue(jobs: Server) -> None:
    good, early, flaky = create(jobs), create(jobs, delay=1), create(jobs, {"fails": 1})
    bad = [{"id": 1}, "text", 7, [], hint(""), hint(["no id"]), hint(good, version=2), {"version": 1}]
    jobs.call("send", messages=[*bad, hint(good), hint(good), hint(early), hint(UNKNOWN_ID)])
    happens(jobs, lambda: len(facts_of(jobs, "dead")) >= len(bad))
    happens(jobs, lambda: succeeded(jobs, early) and succeeded(jobs, flaky))
    dead = facts_of(jobs, "dead")
    assert sorted(str(fact["body"]) for fact in dead) == sorted(map(str, bad))
    assert [calls(jobs, run_id) for run_id in (good, early, flaky)] == [[1], [1], [1, 2]]
    log = jobs.log()
    # Each was delivered three times, and told each time.
    assert log.count("this code reads messages of version 1; found 2; deploy code that knows it") == 3
    assert log.count("a message must be JSON; found 'text'") == 3


def test_a_run_with_more_attempts_than_its_message_gets_a_fresh_one(jobs: Server) -> None:
    run_id = create(jobs, {"fails": 4}, name="stubborn")
    happens(jobs, lambda: state_of(jobs, run_id) == ("retrying", 2))
    assert jobs.tick().status == 200, "its hint is under way: none is sent"
    happens(jobs, lambda: succeeded(jobs, run_id))
    assert (calls(jobs, run_id), state_of(jobs, run_id)) == ([1, 2, 3, 4, 5], ("succeeded", 5))
    assert facts_of(jobs, "dead") == []


def test_a_run_that_is_retried_has_one_message_whatever_the_ticks(jobs: Server) -> None:
    jobs.call("stand")
    run_id = create_unsent(jobs, {"fails": 4}, max_attempts=5)
    for attempt in range(1, 5):
        wait = jobs.deliver("jobs", [hint(run_id)]).retried["m0"]
        for passed in (0, wait + 60):
            jobs.call("stand", later=passed)
            assert jobs.tick().status == 200
            assert state_of(jobs, run_id) == ("retrying", attempt), "a tick that sends one enqueues it"
    assert jobs.deliver("jobs", [hint(run_id)]).acked == ["m0"]
    assert calls(jobs, run_id) == [1, 2, 3, 4, 5]


# -- a queue that refuses ---------------------------------------------------------------------------


def test_what_the_queue_refused_at_create_is_sent_by_a_tick(jobs: Server) -> None:
    jobs.call("stand")
    run_id = create_unsent(jobs)
    assert (state_of(jobs, run_id), calls(jobs, run_id)) == (("queued", 0), [])
    jobs.call("stand", later=1)
    assert jobs.tick().status == 200
    happens(jobs, lambda: succeeded(jobs, run_id))
    assert calls(jobs, run_id) == [1]


def test_what_the_queue_refused_at_a_dispatch_is_sent_by_the_next_tick(jobs: Server) -> None:
    jobs.call("stand")
    ids = [create(jobs, delay=3600) for _ in range(3)]
    jobs.call("stand", later=3600)
    jobs.call("fail", queue="before")
    assert jobs.tick().status == 200
    assert [state_of(jobs, run_id) for run_id in ids] == [("queued", 0)] * 3
    jobs.call("fail")
    jobs.call("stand", later=1)
    assert jobs.tick().status == 200
    happens(jobs, lambda: all(succeeded(jobs, run_id) for run_id in ids))
    assert [calls(jobs, run_id) for run_id in ids] == [[1]] * 3


def test_a_send_whose_answer_was_lost_calls_the_handler_once(jobs: Server) -> None:
    jobs.call("stand")
    jobs.call("fail", queue="after")
    run_id = create(jobs)
    happens(jobs, lambda: succeeded(jobs, run_id))
    jobs.call("fail")
    jobs.call("stand", later=1)
    assert jobs.tick().status == 200
    time.sleep(0.2)
    assert (calls(jobs, run_id), state_of(jobs, run_id)) == ([1], ("succeeded", 1))


# -- killed invocations -----------------------------------------------------------------------------


def test_a_run_whose_invocation_was_killed_is_rescued_by_the_tick(jobs: Server) -> None:
    jobs.call("stand")
    run_id = create(jobs, {"kills": 1})
    happens(jobs, lambda: calls(jobs, run_id) == [1])
    assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": LEASE_S}
    jobs.call("stand", later=30)
    assert jobs.deliver("jobs", [hint(run_id)]).retried == {"m0": LEASE_S - 30}
    jobs.call("stand", later=LEASE_S - 30)
    assert jobs.tick().status == 200
    jobs.call("stand", later=2)
    happens(jobs, lambda: succeeded(jobs, run_id))
    assert (calls(jobs, run_id), state_of(jobs, run_id)) == ([1, 2], ("succeeded", 2))


def test_a_poison_run_among_ten_fails_alone(jobs: Server) -> None:
    jobs.call("stand")
    ids = [create_unsent(jobs, {"kills": 9 if i == 4 else 0}, max_attempts=2) for i in range(10)]
    poison, others = ids[4], [*ids[:4], *ids[5:]]
    # Twice together; each alone; the poison run alone once more, in its last attempt.
    outcomes = []
    for _ in range(5):
        outcomes.append(jobs.deliver("jobs", [hint(run_id) for run_id in ids]).outcome)
        jobs.call("stand", later=SHARED_LEASE_S)
        jobs.call("fail", queue="before")  # the messages are delivered by hand
        assert jobs.tick().status == 200
        jobs.call("fail")
        jobs.call("stand", later=4)
    assert outcomes == ["exception"] * 4 + ["ok"]
    assert [state_of(jobs, run_id) for run_id in others] == [("succeeded", 1)] * 9
    assert state_of(jobs, poison) == ("failed", 2)
    assert calls(jobs, poison) == [1, 1, 1, 2]


# -- a Worker's options -----------------------------------------------------------------------------


def test_a_worker_with_a_concurrency_works_on_several_runs_at_once(jobs: Server) -> None:
    ids = [create_unsent(jobs, {"seconds": 0.3}) for _ in range(10)]
    dispositions = jobs.deliver("wide", [hint(run_id) for run_id in ids])
    assert len(dispositions.acked) == 10
    begun, ended = (sorted(fact["at"] for fact in facts_of(jobs, kind)) for kind in ("call", "slept"))
    assert begun[-10:][1] < ended[-10:][0], "the second begins before the first has ended"
    assert [calls(jobs, run_id) for run_id in ids] == [[1]] * 10


# -- in time, without a tick ------------------------------------------------------------------


def test_delays_and_backoffs_are_kept_without_a_tick(
    jobs: Server, record_property: Callable[[str, object], None]
) -> None:
    delayed, retried = create(jobs, delay=5), create(jobs, {"fails": 1})
    happens(jobs, lambda: succeeded(jobs, delayed) and succeeded(jobs, retried))
    due = datetime.fromisoformat(jobs.call("status", id=delayed)["run_at"])
    late = started(jobs, delayed)[0] - due.timestamp()
    first, second = started(jobs, retried)
    record_property("workerd", f"a delay of 5 s is {late:.2f} s late")
    record_property("workerd", f"a backoff of 2 s is {second - first - 2:.2f} s late")
    assert 0 <= late < 60
    assert 0 <= second - first - 2 < 60


def started(jobs: Server, run_id: str) -> list[float]:
    """Return when the attempts of a run started, in seconds."""
    return [fact["at"] / 1000 for fact in facts_of(jobs, "call") if fact["id"] == run_id]
