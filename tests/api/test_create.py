"""Creating runs: what is stored, what is given back, and how they are looked at."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit, echo, nothing

from kumofire_fsm import Created, InvalidArgument, NewRun, RunStatus
from kumofire_fsm.errors import TransientStoreError
from kumofire_fsm.models import HistoryEntry


def register(kit: Kit) -> None:
    for name in ("a", "b"):
        kit.job(name, max_attempts=4)(echo)


async def test_a_fresh_run_shows_everything_about_itself(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        expires = START + timedelta(hours=1)
        created = await w.jobs.create("a", 1, delay=5, dedupe_key="k", expires_at=expires, tags=["x", "y"])
        run_id = created.kumofire_job_run_id
        assert created == Created(run_id, is_new=True)
        assert await w.jobs.get_status(run_id) == RunStatus(
            kumofire_job_run_id=run_id,
            name="a",
            state="queued",
            settled=False,
            attempt=0,
            max_attempts=4,
            run_at=START + timedelta(seconds=5),
            created_at=START,
            started_at=None,
            finished_at=None,
            expires_at=expires,
            scheduled_for=None,
            schedule_id=None,
            dedupe_key="k",
            last_error=None,
            error_type=None,
            result=None,
            progress=None,
            tags=("x", "y"),
            history=(HistoryEntry("create", "ready", START), HistoryEntry("enqueue", "queued", START)),
            payload=1,
        )


async def test_a_run_goes_from_create_to_succeeded(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await w.create("a", {"n": 1}, run_at=START + timedelta(seconds=60))
        assert w.queue.sent == [(run_id, 60)]
        kit.clock.advance(61)
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        done = START + timedelta(seconds=61)
        assert (status.state, status.settled, status.attempt, status.result) == (
            "succeeded",
            True,
            1,
            {"n": 1},
        )
        assert (status.started_at, status.finished_at) == (done, done)


@pytest.mark.parametrize("past", [timedelta(seconds=-1), timedelta(days=-3650)])
async def test_a_time_in_the_past_is_due_at_once(kit: Kit, past: timedelta) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await w.create("a", 1, run_at=START + past)
        assert w.queue.sent == [(run_id, 0)]
        assert await w.deliver(run_id) == ["ack"]


async def test_without_a_queue_a_run_waits_ready_and_no_hint_is_sent(kit: Kit) -> None:
    register(kit)
    async with kit.bound(with_queue=False) as w:
        run_id = await w.create("a", 1)
        assert (await w.status(run_id)).state in ("ready", "queued")
        assert w.queue.calls == []


async def test_many_runs_are_created_in_order_with_one_send(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        new = [
            NewRun("a", 1),
            NewRun("b", 2, delay=30),
            NewRun("a", 3, delay=3600),
            NewRun("b", 4, max_attempts=9),
        ]
        created = await w.jobs.create_many(new)
        ids = [each.kumofire_job_run_id for each in created]
        assert len(set(ids)) == 4
        assert all(each.is_new for each in created)
        assert [len(call) for call in w.queue.calls] == [3]
        assert w.queue.sent == [(ids[0], 0), (ids[1], 30), (ids[3], 0)]
        statuses = [await w.status(i) for i in ids]
        assert [(s.name, s.state, s.max_attempts) for s in statuses] == [
            ("a", "queued", 4), ("b", "queued", 4), ("a", "ready", 4), ("b", "queued", 9),
        ]  # fmt: skip
        assert await w.jobs.create_many([]) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_all_who_create_at_once_hear_that_the_database_failed(kit: Kit, when: str) -> None:
    register(kit)
    async with kit.bound() as w:
        w.storage.fail_once("runs.insert", when)
        creates = [w.jobs.create(name, n) for n, name in enumerate("abab")]
        async with asyncio.timeout(600):
            answers = await asyncio.gather(*creates, return_exceptions=True)
        assert [type(answer) for answer in answers] == [TransientStoreError] * 4
        assert (await w.sizes())["kumofire_runs"] == (0 if when == "before" else 4)
        assert w.queue.sent == []


async def populate(w: Bound) -> list[str]:
    """Create 23 runs, one a second: every third of job b, every fourth tagged; some settled."""
    ids = []
    for n in range(23):
        tags = ["four", f"n{n}"] if n % 4 == 0 else None
        ids.append(await w.create("b" if n % 3 == 0 else "a", n, tags=tags, delay=0 if n % 2 else 600))
        w.clock.advance(1)
    await w.deliver(ids[1], ids[3])
    await w.jobs.cancel(ids[0])
    return ids


async def listed(w: Bound, **filters: Any) -> list[str]:
    page = await w.jobs.list_runs(**{"limit": 500, **filters})
    assert page.cursor is None
    return [run.kumofire_job_run_id for run in page.runs]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, range(23)),
        ({"name": "b"}, range(0, 23, 3)),
        ({"name": "nobody"}, []),
        ({"tag": "four"}, range(0, 23, 4)),
        ({"tag": "n8"}, [8]),
        ({"tag": "n"}, []),
        ({"name": "b", "tag": "four"}, [0, 12]),
        ({"state": "succeeded"}, [1, 3]),
        ({"state": ["succeeded", "canceled"]}, [0, 1, 3]),
        ({"state": ("ready",)}, range(2, 23, 2)),
        ({"state": []}, []),
        ({"state": "succeeded", "name": "a"}, [1]),
        ({"schedule_id": "x"}, []),
        ({"created_before": START + timedelta(seconds=5)}, range(5)),
        ({"created_before": START}, []),
        ({"created_before": START + timedelta(days=1)}, range(23)),
    ],
    ids=str,
)
async def test_runs_are_listed_newest_first_by_every_filter(
    kit: Kit, filters: dict[str, Any], numbers: Any
) -> None:
    register(kit)
    async with kit.bound() as w:
        ids = await populate(w)
        assert await listed(w, **filters) == [ids[n] for n in reversed(list(numbers))]


@pytest.mark.parametrize("limit", [1, 5, 22, 23, 24])
@pytest.mark.parametrize(
    "filters", [{}, {"name": "a"}, {"state": "queued"}, {"created_before": START + timedelta(seconds=9)}]
)
async def test_a_walk_by_cursor_sees_every_run_once(kit: Kit, limit: int, filters: dict[str, Any]) -> None:
    register(kit)
    async with kit.bound() as w:
        await populate(w)
        expected = await listed(w, **filters)
        seen: list[str] = []
        cursor, pages = None, 0
        while cursor is not None or pages == 0:
            page = await w.jobs.list_runs(cursor=cursor, limit=limit, **filters)
            seen += [run.kumofire_job_run_id for run in page.runs]
            assert len(page.runs) <= limit
            assert len(seen) <= len(expected), "it goes in circles"
            cursor, pages = page.cursor, pages + 1
        assert seen == expected
        assert pages == -(-len(expected) // limit)


@pytest.mark.parametrize(
    "filters", [{"state": "asleep"}, {"state": ["queued", ""]}, {"limit": 0}, {"limit": 501}, {"limit": "5"}]
)
async def test_a_filter_that_makes_no_sense_is_refused(kit: Kit, filters: dict[str, Any]) -> None:
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument):
            await w.jobs.list_runs(**filters)


async def test_runs_are_counted_by_state(kit: Kit) -> None:
    register(kit)
    kit.job("none")(nothing)
    async with kit.bound() as w:
        assert await w.jobs.count_runs() == {}
        await populate(w)
        assert await w.jobs.count_runs() == {"ready": 11, "queued": 9, "succeeded": 2, "canceled": 1}
        assert await w.jobs.count_runs(name="b") == {"ready": 3, "queued": 3, "succeeded": 1, "canceled": 1}
        assert await w.jobs.count_runs(name="none") == {}


async def test_runs_of_one_moment_have_their_own_times(kit: Kit) -> None:
    kit.job("job")(nothing)
    times = [(0, None), (0, 60), (0, 90), (5, None), (5, 60), (500, 900), (0, None)]
    async with kit.bound() as w:
        now = kit.clock.time
        new = [
            NewRun("job", delay=delay, expires_at=None if ends is None else now + timedelta(seconds=ends))
            for delay, ends in times
        ]
        rows = [await w.row(each.kumofire_job_run_id) for each in await w.jobs.create_many(new)]
        began = kit.clock.now()
        assert [
            ((row["run_at"] - began) / 1000, row["expires_at"] and (row["expires_at"] - began) / 1000)
            for row in rows
        ] == times
        assert [row["state"] for row in rows] == ["queued"] * 5 + ["ready", "queued"]


async def test_runs_of_one_call_have_one_time_and_ids_in_the_order_of_the_list(kit: Kit) -> None:
    """So the first of them is the first that a worker takes."""
    register(kit)
    async with kit.bound(with_queue=False) as w:
        instants = iter(range(w.jobs._binding.now(), 2**60))
        w.jobs._binding.clock.now = lambda: next(instants)  # one that moves on at each look
        made = await w.jobs.create_many([NewRun("a", number) for number in range(50)])
        ids = [each.kumofire_job_run_id for each in made]
        assert ids == sorted(ids)
        statuses = [await w.jobs.get_status(each) for each in ids]
        assert [status.payload for status in statuses] == list(range(50))
        assert len({(status.created_at, status.run_at) for status in statuses}) == 1
