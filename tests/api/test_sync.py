"""The API for programs without an event loop: the same methods, each waiting for its result."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from patience import until

from kumofire_fsm import Kumofire, NewRun, UnknownRun
from kumofire_fsm.errors import InvalidPayload, StoreError, WaitTimeout


def make_app() -> Kumofire:
    app = Kumofire()

    @app.job("double")
    async def double(ctx: Any, payload: int) -> int:
        return payload * 2

    return app


def all_end(before: set[threading.Thread]) -> None:
    """Wait until the threads that were not there before have ended."""

    def more() -> set[threading.Thread]:
        return set(threading.enumerate()) - before

    until(lambda: not more(), more)


def test_every_method_waits_for_its_result(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        run_id = jobs.create("double", 4, dedupe_key="k").kumofire_job_run_id
        assert [
            each.is_new
            for each in jobs.create_many([NewRun("double", 1), NewRun("double", 4, dedupe_key="k")])
        ] == [True, False]
        assert jobs.get_status(run_id).state == "queued"
        assert jobs.count_runs() == {"queued": 2}
        assert len(jobs.list_runs().runs) == 2
        assert jobs.cancel(run_id).state == "canceled"
        assert jobs.redrive(run_id).state == "ready"
        assert jobs.create_schedule("double", 1, every=60).state == "active"
        assert jobs.consume({"version": 1, "kumofireJobRunId": run_id}).ack is True
        assert jobs.wait(run_id, timeout=600).result == 8
        assert jobs.dispatch().complete is True


def test_errors_are_raised_in_the_caller(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        with pytest.raises(InvalidPayload):
            jobs.create("double", "many")
        with pytest.raises(UnknownRun):
            jobs.cancel("0198c0de-0000-7000-8000-000000000000")
        run_id = jobs.create("double", 1).kumofire_job_run_id
        with pytest.raises(WaitTimeout):
            jobs.wait(run_id, timeout=0.02)
        with pytest.raises(AttributeError):
            jobs.no_such_method()


def test_a_worker_runs_in_one_thread_and_is_stopped_from_another(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        worker = threading.Thread(target=jobs.run)
        worker.start()
        run_id = jobs.create("double", 21).kumofire_job_run_id
        assert jobs.wait(run_id, timeout=600).result == 42
        jobs.stop()
        worker.join(60)
        assert not worker.is_alive()


def test_many_threads_share_one_api(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        created: list[Any] = []
        threads = [
            threading.Thread(target=lambda: created.append(jobs.create("double", 1, dedupe_key="k")))
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(each.is_new for each in created) == [False] * 9 + [True]


def test_a_file_that_cannot_be_opened_raises_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(StoreError), make_app().open_sync(tmp_path / "missing" / "jobs.db"):
        pass
    all_end(before)


def test_leaving_ends_its_threads_and_the_file_can_be_opened_again(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        with make_app().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
            jobs.create("double", 1)
    all_end(before)


def test_an_error_in_the_body_closes_the_database_and_is_raised(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), make_app().open_sync(tmp_path / "jobs.db"):
        raise ZeroDivisionError
    all_end(before)


def test_its_names_are_those_of_the_api_for_completion(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        assert {"create", "get_status", "upsert_schedule", "list_runs", "dispatch"} <= set(dir(jobs))
