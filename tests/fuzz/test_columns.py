"""Whatever stands in a row's JSON columns, every call answers or refuses, and the other rows move on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

from fuzzing import JSON, fuzz_more, watched
from harness import Bound
from hypothesis import given
from hypothesis import strategies as st

from kumofire_fsm import KumofireError, RunMachine

RUN_COLUMNS = ("payload", "result", "error", "progress", "tags", "history")
JOB_COLUMNS = ("schedule", "template", "payload", "error", "history")
SHAPES = st.sampled_from(
    [
        "", "[", "{", "nul", "[[]]", '[["a"]]', '[["a", "b", "c"]]', '[["a", "b", -9e99]]', '[["a", "b", 1e400]]',
        '{"a": 1}', '"text"', "5", "-1", "1e400", "[1, 2]", '{"max_attempts": -1}', '{"max_attempts": 1e9}',
        '{"tags": 5}', '{"tags": [5]}', '{"tags": {"a": 1}}', '{"every_ms": 0, "anchor_ms": 0}',
        '{"every_ms": 1e300, "anchor_ms": 0}', '{"every_ms": 5, "anchor_ms": -99999999999999999}',
        '{"every_ms": 99999999999999999999, "anchor_ms": 0}', '{"every_ms": true, "anchor_ms": false}',
        '{"cron": "* * * * *", "timezone": ""}', '{"cron": "", "timezone": "UTC"}', "[" * 2000 + "]" * 2000,
        '{"cron": 5, "timezone": 5}', '{"every_ms": "5"}', '{"cron": [], "timezone": {}}', "[null]", "NaN",
    ]
)  # fmt: skip
STORED = SHAPES | JSON.map(json.dumps) | st.text(max_size=20)


async def answered(call: Awaitable[Any]) -> None:
    try:
        await call
    except KumofireError as exc:
        str(exc)


async def every_call(w: Bound, run: str, schedule: str) -> None:
    """Look at a run and a schedule, and move them in every way that the API has."""
    jobs = w.jobs
    for call in (
        jobs.get_status(run), jobs.list_runs(), jobs.list_runs(tag="t"), jobs.get_schedule(schedule),
        jobs.list_schedules(), jobs.count_runs(), jobs.upsert_schedule("echo", 2, schedule_key="s", every=60),
        jobs.update_schedule(schedule, tags=["a"]), jobs.update_schedule(schedule, timezone="UTC"),
        jobs.update_schedule(schedule, name="raises"), jobs.pause_schedule(schedule),
        jobs.resume_schedule(schedule), jobs.reschedule(run, delay=0), jobs.dispatch(),
    ):  # fmt: skip
        await answered(call)
    await w.deliver(run)
    for call in (jobs.cancel(run), jobs.redrive(run), jobs.end_schedule(schedule), jobs.dispatch()):
        await answered(call)
    await w.deliver(run)


@fuzz_more
@given(
    of_run=st.dictionaries(st.sampled_from(RUN_COLUMNS), STORED, max_size=2),
    of_job=st.dictionaries(st.sampled_from(JOB_COLUMNS), STORED, max_size=2),
    started=st.booleans(),
)
def test_broken_columns_break_no_call_and_no_neighbour(
    of_run: dict[str, str], of_job: dict[str, str], started: bool
) -> None:
    async def scenario() -> None:
        async with watched() as w:
            run, neighbour = await w.create("raises", 5, tags=["t"]), await w.create("echo", 1, delay=50)
            schedule = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="s", tags=["t"])
            other = await w.jobs.create_schedule("echo", 1, every=60)
            if started:
                await w.deliver(run)
            for table, row_id, columns in (
                ("kumofire_runs", run, of_run),
                ("kumofire_schedules", schedule.id, of_job),
            ):
                for column, text in columns.items():
                    await w.sql(f"UPDATE {table} SET {column} = ? WHERE id = ?", text, row_id)
            before = await w.sizes()
            await w.jobs.get_status(run)
            await w.jobs.list_runs()
            await w.jobs.get_schedule(schedule.id)
            await w.jobs.list_schedules()
            w.clock.advance(61)
            await w.jobs.dispatch()
            assert await w.deliver(neighbour) == ["ack"]
            assert await w.state(neighbour) == RunMachine.succeeded.id
            assert (await w.jobs.get_schedule(other.id)).last_at is not None
            await every_call(w, run, schedule.id)
            after = await w.sizes()
            assert after["kumofire_runs"] >= before["kumofire_runs"], "no row went away"
            assert after["kumofire_schedules"] == before["kumofire_schedules"]

    asyncio.run(scenario())
