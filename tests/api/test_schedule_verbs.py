"""Each verb takes a schedule's id or its key; runs made by hand stand outside the recurrence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes import START
from harness import Kit, echo

from kumofire_fsm import InvalidArgument, NewSchedule
from kumofire_fsm.errors import Conflict, InvalidSchedule, TooLarge, UnknownJob, UnknownSchedule
from kumofire_fsm.runs.creation import noted

VERBS = ("pause_schedule", "resume_schedule", "end_schedule")
ALL = (*VERBS, "get_schedule", "update_schedule", "trigger_now", "preview_schedule")
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("verb", ALL)
async def test_a_verb_takes_an_id_or_a_key_and_not_both(kit: Kit, verb: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        call = getattr(w.jobs, verb)
        for wrong in ((), (made.id, "k"), (5,), ("",)):
            with pytest.raises(InvalidArgument):
                await call(*wrong[:1], **({"schedule_key": "k"} if len(wrong) > 1 else {}))
        with pytest.raises(InvalidArgument):
            await call(schedule_key="")
        if verb != "get_schedule":
            for unknown in (call("0198c0de-0000-7000-8000-000000000000"), call(schedule_key="no such key")):
                with pytest.raises(UnknownSchedule, match=r"0198c0de|no such key"):
                    await unknown


@pytest.mark.parametrize(
    ("verb", "options", "state"),
    [
        ("pause_schedule", {}, "paused"),
        ("resume_schedule", {}, "active"),
        ("end_schedule", {}, "ended"),
        ("update_schedule", {"payload": 2}, "active"),
        ("get_schedule", {}, "active"),
    ],
)
@pytest.mark.parametrize("by", ["id", "key"])
async def test_a_verb_by_id_and_by_key_gives_the_schedule(
    kit: Kit, verb: str, options: dict[str, Any], state: str, by: str
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        place = {"schedule_id": made.id} if by == "id" else {"schedule_key": "k"}
        for _ in range(2):
            shown = await getattr(w.jobs, verb)(**place, **options)
            assert (shown.id, shown.state) == (made.id, state)
            assert shown == await w.jobs.get_schedule(made.id)


@pytest.mark.parametrize("state", ["active", "paused", "ended"])
@pytest.mark.parametrize("size", [1, 600])
async def test_a_run_triggered_by_hand_comes_at_once_and_uses_up_no_occurrence(
    kit: Kit, state: str, size: int
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        options: dict[str, Any] = {"max_attempts": 7, "tags": ["a"], "max_occurrences": 1, "jitter": 600}
        made = await w.jobs.create_schedule("echo", "x" * size, every=60, schedule_key="k", **options)
        if state == "paused":
            await w.jobs.pause_schedule(made.id)
        if state == "ended":
            await w.jobs.end_schedule(made.id)
        kit.clock.advance(60)
        before = await w.sql("SELECT * FROM kumofire_schedules")
        created = [await w.jobs.trigger_now(schedule_key="k") for _ in range(2)]
        assert all(each.is_new for each in created)
        assert await w.sql("SELECT * FROM kumofire_schedules") == before
        ids = [each.kumofire_job_run_id for each in created]
        assert w.queue.sent == [(run_id, 0) for run_id in ids]
        assert await w.deliver(*ids) == ["ack", "ack"]
        status = await w.status(ids[0])
        assert (status.schedule_id, status.scheduled_for, status.run_at) == (made.id, None, kit.clock.time)
        assert (status.result, status.max_attempts, status.tags) == ("x" * size, 7, ("a",))
        assert (await w.jobs.dispatch()).made == (1 if state == "active" else 0)


async def test_a_run_of_a_job_that_is_not_registered_here_cannot_be_triggered(kit: Kit) -> None:
    other = kit.another_app()
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        with pytest.raises(UnknownJob):
            await other.bind(db=w.storage, queue=w.queue).trigger_now(made.id)


async def test_a_preview_begins_with_what_is_due_and_ends_where_the_schedule_does(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, max_occurrences=3)
        assert await w.jobs.preview_schedule(made.id) == [START + n * MINUTE for n in (1, 2, 3)]
        kit.clock.advance(90)
        assert await w.jobs.preview_schedule(made.id, n=1) == [START + MINUTE]
        await w.jobs.dispatch()
        assert await w.jobs.preview_schedule(made.id) == [START + 2 * MINUTE, START + 3 * MINUTE]
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(60)
        assert await w.jobs.preview_schedule(made.id) == [START + 3 * MINUTE, START + 4 * MINUTE]
        await w.jobs.end_schedule(made.id)
        assert await w.jobs.preview_schedule(made.id) == []
        await w.jobs.update_schedule(made.id, max_occurrences=None)
        await w.sql("UPDATE kumofire_schedules SET schedule = '{'")
        with pytest.raises(InvalidSchedule):
            await w.jobs.preview_schedule(made.id)
        for n in (0, -1, 1.5):
            with pytest.raises(InvalidArgument):
                await w.jobs.preview_schedule(made.id, n=n)


@pytest.mark.parametrize("late_ms", [-1, 0, 1])
@pytest.mark.parametrize("missed", ["skip", "latest", "all"])
async def test_a_resume_about_when_an_occurrence_is_due_runs_it_unless_it_was_missed_and_skipped(
    kit: Kit, missed: Any, late_ms: int
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(milliseconds=60_000 + late_ms)
        await w.jobs.resume_schedule(made.id, missed=missed)
        kit.clock.advance(milliseconds=1)
        passed = missed == "skip" and late_ms >= 0
        assert (await w.jobs.dispatch()).made == (0 if passed else 1)
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.made, shown.skipped, shown.next_at) == (
            (0, 1, START + 2 * MINUTE) if passed else (1, 0, START + 2 * MINUTE)
        )


async def test_a_resume_takes_known_policies_only(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        with pytest.raises(InvalidArgument, match="'skip', 'latest' or 'all'"):
            await w.jobs.resume_schedule(made.id, missed="none")


async def test_an_update_that_loses_the_race_against_a_tick_looks_again(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        kit.clock.advance(60)
        read = w.storage.execute
        ticks = iter([True])

        async def execute(statement: Any) -> Any:
            rows = await read(statement)
            if statement.name == "schedules.read" and next(ticks, False):
                assert (await w.jobs.dispatch()).made == 1
            return rows

        w.storage.execute = execute
        changed = await w.jobs.update_schedule(made.id, payload=2)
        assert (changed.payload, changed.last_at, changed.next_at) == (2, START + MINUTE, START + 2 * MINUTE)


async def test_who_loses_every_race_is_told_of_the_conflict(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        read = w.storage.execute

        async def execute(statement: Any) -> Any:
            rows = await read(statement)
            await w.sql("UPDATE kumofire_schedules SET revision = revision + 1")
            return rows

        w.storage.execute = execute
        for lost in (
            w.jobs.update_schedule(made.id, payload=2),
            w.jobs.pause_schedule(made.id),
            w.jobs.sync_schedules([NewSchedule("echo", 2, schedule_key="k", every=60)]),
        ):
            with pytest.raises(Conflict, match="being changed by others; try again"):
                await lost


async def test_what_the_database_refuses_is_an_invalid_schedule(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        await w.sql(
            "CREATE TRIGGER no BEFORE UPDATE ON kumofire_schedules BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        for refused in (
            w.jobs.pause_schedule(made.id),
            w.jobs.sync_schedules([NewSchedule("echo", 2, schedule_key="k", every=60)]),
        ):
            with pytest.raises(InvalidSchedule, match="refused"):
                await refused


async def test_the_history_says_who_paused_resumed_and_ended_it_and_why(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        await w.jobs.pause_schedule(schedule_key="k", by="ann", note="the server is down")
        await w.jobs.pause_schedule(schedule_key="k", by="ben")  # it is paused already
        await w.jobs.resume_schedule(schedule_key="k", by="ann", missed="latest")
        await w.jobs.pause_schedule(schedule_key="k")
        with pytest.raises(TooLarge, match="by and note have"):
            await w.jobs.end_schedule(schedule_key="k", note="x" * 5000)
        ended = await w.jobs.end_schedule(schedule_key="k", note="no longer needed")
    assert [(entry.event, dict(entry.facts)) for entry in ended.history[1:]] == [
        ("pause", {"by": "ann", "note": "the server is down"}),
        ("resume", {"by": "ann"}),
        ("pause", {}),
        ("end", {"note": "no longer needed"}),
    ]


async def test_a_run_made_by_hand_says_who_made_it(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        with pytest.raises(TooLarge, match="by and note have"):
            await w.jobs.trigger_now(schedule_key="k", note="x" * 5000)
        created = await w.jobs.trigger_now(schedule_key="k", by="ann", note="a test")
        assert len((await w.jobs.list_runs()).runs) == 1
        status = await w.jobs.get_status(created.kumofire_job_run_id)
    assert [(entry.event, dict(entry.facts)) for entry in status.history] == [
        ("create", {"by": "ann", "note": "a test"}),
        ("enqueue", {}),
    ]


def test_what_is_said_of_a_creation_stands_beside_what_is_there() -> None:
    flow = '[["create","ready",1,{"step":"ask"}],["enqueue","queued",2]]'
    assert noted(flow, None) == flow
    assert noted(flow, '{"by":"ann"}') == flow.replace('"ask"', '"ask","by":"ann"')
