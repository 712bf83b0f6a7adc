"""A row that another writer has broken is marked, or refused with a typed error, and hides nobody."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from column_values import columns, put
from commands import kumofire
from fakes import START
from harness import Bound, Kit, echo, nothing

from kumofire_fsm import InvalidArgument, Kumofire
from kumofire_fsm.errors import InvalidPayload, InvalidSchedule
from kumofire_fsm.models import HistoryEntry

NOW = int(START.timestamp() * 1000)
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
HUGE = [2**62, -(2**62), 2**63 - 1, -(2**63), NOW * 1000, NOW * 1_000_000]
MINUTE = timedelta(minutes=1)
EVERY_COLUMN = columns()


async def spoil(w: Bound, table: str, row_id: str, **spoilt: Any) -> None:
    for name, value in spoilt.items():
        (column,) = (each for each in EVERY_COLUMN if (each.table, each.name) == (f"kumofire_{table}", name))
        assert await put(w, column, value, "id = ?", row_id) == 1


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("column", ["run_at", "started_at", "finished_at", "expires_at", "scheduled_for"])
async def test_an_instant_beyond_the_calendar_is_marked_in_its_run_alone(
    kit: Kit, caplog: pytest.LogCaptureFixture, column: str, value: int
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await w.create_in_order("echo", range(3))
        before = [await w.status(run_id) for run_id in ids]
        await spoil(w, "runs", ids[1], **{column: value})
        caplog.clear()
        status = await w.status(ids[1])
        assert status.unreadable == (column,)
        assert getattr(status, column) == (LAST if value > 0 else FIRST)
        assert [record.message for record in caplog.records] == [
            f"run {ids[1]} cannot be read in: {column}; it is shown without"
        ]
        page = (await w.jobs.list_runs()).runs
        listed = [
            replace(each, payload=None, payload_left_out=True) for each in (before[2], status, before[0])
        ]
        assert list(page) == listed
        assert [run.unreadable for run in page] == [(), (column,), ()]


def test_the_nearest_instants_can_be_shown_in_every_zone() -> None:
    for hours in (-14, 14):
        for at in (FIRST, LAST):
            assert (at + timedelta(hours=hours)).year in (1, 9999)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("column", ["next_at", "last_at", "skipped_at", "updated_at"])
async def test_an_instant_beyond_the_calendar_is_marked_in_its_schedule_alone(
    kit: Kit, column: str, value: int
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = [await w.jobs.create_schedule("echo", n, every=60) for n in range(3)]
        await spoil(w, "schedules", made[1].id, **{column: value})
        shown = await w.jobs.get_schedule(made[1].id)
        assert shown is not None
        assert (shown.unreadable, getattr(shown, column)) == ((column,), LAST if value > 0 else FIRST)
        assert {each.id: each for each in await w.jobs.list_schedules()} == {
            made[0].id: made[0], made[1].id: shown, made[2].id: made[2],
        }  # fmt: skip


async def test_a_rule_in_microseconds_is_marked_and_suspended_and_the_others_fire(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = [await w.jobs.create_schedule("echo", n, every=60) for n in range(3)]
        rule = json.dumps({"every_ms": 60_000_000, "anchor_ms": NOW * 1000})
        await spoil(w, "schedules", made[1].id, schedule=rule)
        shown = await w.jobs.get_schedule(made[1].id)
        assert shown is not None
        assert (shown.unreadable, shown.every, shown.start_at) == (("schedule",), MINUTE * 1000, None)
        assert len(await w.jobs.list_schedules()) == 3
        kit.clock.advance(60)
        report = await w.jobs.dispatch()
        assert (report.made, report.suspended) == (2, 1)


async def test_a_stored_interval_of_a_millisecond_makes_no_run(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        await spoil(w, "schedules", made.id, schedule=f'{{"every_ms":1,"anchor_ms":{NOW}}}')
        kit.clock.advance(60)
        for _ in range(4):
            report = await w.jobs.dispatch()
            assert report.made == 0
            kit.clock.advance(0.5)
        shown = await w.jobs.get_schedule(made.id)
        assert shown is not None
        assert (shown.state, shown.made) == ("suspended", 0)
        assert "every=0:00:00.001000 is too often: the least is one second" in str(shown.last_error)
        for call in (w.jobs.resume_schedule, w.jobs.preview_schedule):
            with pytest.raises(InvalidSchedule, match="too often"):
                await call(made.id)
        with pytest.raises(InvalidSchedule, match="too often"):
            await w.jobs.update_schedule(made.id, tags=["a"])
        assert (await w.jobs.update_schedule(made.id, every=30)).state == "active"


EVERY = {"every_ms": 60_000, "anchor_ms": NOW}
NEVER_GIVEN: list[dict[str, Any]] = [
    EVERY | {"every_ms": 999}, EVERY | {"every_ms": 2**62}, EVERY | {"every_ms": True}, EVERY | {"anchor_ms": -1},
    EVERY | {"anchor_ms": 2**62}, {"at_ms": 2**62}, {"at_ms": -1}, {"at_ms": NOW, "end_at": NOW}, EVERY | {"start_at": 2**62},
    EVERY | {"end_at": -1}, EVERY | {"max_occurrences": 0}, EVERY | {"max_occurrences": 2**60}, EVERY | {"jitter_ms": -1},
    EVERY | {"jitter_ms": 2**62}, EVERY | {"jitter_ms": None}, EVERY | {"grace_ms": -1}, EVERY | {"grace_ms": None},
    EVERY | {"misfire": "never"}, EVERY | {"overlap": []}, {"cron": "*/90 * * * *", "timezone": "UTC"},
    {"cron": "0 0 31 2 *", "timezone": "UTC"}, {"cron": "* * * * *", "timezone": "localtime"}, {"cron": "* * * * *"}, {},
]  # fmt: skip


@pytest.mark.parametrize("stored", NEVER_GIVEN, ids=str)
async def test_a_stored_recurrence_that_nobody_could_give_is_suspended_and_makes_no_run(
    kit: Kit, stored: dict[str, Any]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, schedule_key="k", every=60)
        await spoil(w, "schedules", made.id, schedule=json.dumps(stored))
        found = await w.jobs.get_schedule(made.id)
        assert found is not None
        assert found.unreadable == ("schedule",)
        kit.clock.advance(60)
        report = await w.jobs.dispatch()
        assert (report.made, report.suspended) == (0, 1)
        with pytest.raises(InvalidSchedule):
            await w.jobs.resume_schedule(made.id)
        mended = await w.jobs.upsert_schedule("echo", 1, schedule_key="k", every=60)
        assert (mended.state, mended.unreadable, mended.last_error) == ("active", (), None)


@pytest.mark.parametrize(
    ("stored", "said", "gives"),
    [
        ({"end_at": 2**62}, "end_at", {"end_at": None}),
        ({"start_at": 2**62}, "start_at", {"start_at": None}),
        ({"jitter_ms": 2**80}, "jitter", {"jitter": 5}),
        ({"max_occurrences": "3"}, "max_occurrences", {"max_occurrences": 3}),
        ({"overlap": 5}, "overlap", {"overlap": "skip"}),
        ({"anchor_ms": 2**62}, "start_at", {"start_at": START}),
        ({"anchor_ms": 2**62}, "start_at", {"every": 60}),
    ],
)
async def test_a_change_drops_nothing_that_cannot_be_read_without_a_word(
    kit: Kit, stored: dict[str, Any], said: str, gives: dict[str, Any]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        await spoil(w, "schedules", made.id, schedule=json.dumps(EVERY | stored))
        with pytest.raises(InvalidSchedule, match=f"what is stored of {said} cannot be read"):
            await w.jobs.update_schedule(made.id, tags=["a"])
        changed = await w.jobs.update_schedule(made.id, tags=["a"], **gives)
        assert (changed.tags, changed.unreadable, changed.state) == (("a",), (), "active")


@pytest.mark.parametrize(
    "template",
    ["[", "[]", "7", '{"tags":5}', '{"tags":{"a":1}}', '{"tags":[5]}', '{"max_attempts":0}', '{"max_attempts":true}', '{"priority":"urgent"}', '{"priority":["low"]}', '{"tags":["' + "x" * 65 + '"]}'],
)  # fmt: skip
async def test_broken_attempts_and_tags_are_marked_and_lost_by_no_change(kit: Kit, template: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, max_attempts=2, tags=["t"])
        await spoil(w, "schedules", made.id, template=template)
        found = await w.jobs.get_schedule(made.id)
        assert found is not None
        assert set(found.unreadable) <= {"template"}
        for call in (w.jobs.trigger_now, lambda each: w.jobs.update_schedule(each, payload=2)):
            with pytest.raises(InvalidSchedule, match="its template is broken"):
                await call(made.id)
        with pytest.raises(InvalidSchedule, match="its template is broken"):
            await w.jobs.update_schedule(made.id, tags=["a"], max_attempts=3)
        changed = await w.jobs.update_schedule(made.id, tags=["a"], max_attempts=3, priority="low")
        assert (changed.tags, changed.max_attempts, changed.unreadable) == (("a",), 3, ())
        assert changed.priority == "low"


async def test_a_broken_payload_is_not_taken_over_by_another_job(kit: Kit) -> None:
    kit.job("echo")(echo)
    kit.job("other")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        await spoil(w, "schedules", made.id, payload="{")
        with pytest.raises(InvalidPayload, match="does not fit 'other'"):
            await w.jobs.update_schedule(made.id, name="other")
        changed = await w.jobs.update_schedule(made.id, name="other", payload=2)
        assert (changed.name, changed.payload) == ("other", 2)


@pytest.mark.parametrize("column", [{"catch_up": "everything"}, {"made": -5}])
async def test_what_a_schedule_says_of_its_past_is_checked_before_it_fires(
    kit: Kit, column: dict[str, Any]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, max_occurrences=3)
        await spoil(w, "schedules", made.id, **column)
        kit.clock.advance(3600)
        report = await w.jobs.dispatch()
        assert (report.made, report.suspended) == (0, 1)


@pytest.mark.parametrize(
    "history",
    ["[", "{}", "7", "[7]", '[["a"]]', '[[1, "b", 2]]', '[["a", 5, 2]]', '[["a", "b", "c"]]', '[["a", "b", 1, [1]]]', '[["a", "b", 1, {}, 2]]', '[["a", "b", 1e300]]'],
)  # fmt: skip
async def test_a_history_that_is_none_is_marked_and_one_entry_says_so(kit: Kit, history: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run_id, schedule = await w.create("echo", 1), await w.jobs.create_schedule("echo", 1, every=60)
        await spoil(w, "runs", run_id, history=history)
        await spoil(w, "schedules", schedule.id, history=history)
        for shown in (await w.status(run_id), await w.jobs.get_schedule(schedule.id)):
            assert shown is not None
            if history != "{}":  # an object without entries is a history without entries
                assert (shown.unreadable, shown.history) == (
                    ("history",),
                    (HistoryEntry("unreadable", None, None),),
                )


async def test_a_handler_is_told_of_a_broken_row_by_a_typed_error_that_is_its_attempts(kit: Kit) -> None:
    seen = []

    @kit.job("look", max_attempts=2)
    async def look(ctx: Any) -> str:
        seen.append(ctx.attempt)
        return ctx.run.id

    async with kit.bound() as w:
        ids = [await w.create("look", tags=["t"]) for _ in range(2)]
        await spoil(w, "runs", ids[0], tags="[7]", scheduled_for=2**62)
        await w.deliver(*ids)
        status = await w.status(ids[0])
        assert (status.state, seen) == ("retrying", [1, 1])
        assert str(status.last_error).startswith(
            f"RowUnreadable: run {ids[0]}: its row holds what cannot be read in "
        )
        assert await w.state(ids[1]) == "succeeded"


@pytest.mark.parametrize("column", ["tags", "error", "payload", "history", "job", "dedupe_key"])
async def test_a_text_that_is_no_utf_8_hides_nobody_and_is_read_with_a_mark(kit: Kit, column: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await w.create_in_order("echo", range(3), tags=["t"])
        await w.sql(f"UPDATE kumofire_runs SET {column} = CAST(x'5bff5d' AS TEXT) WHERE id = ?", ids[1])
        assert [run.kumofire_job_run_id for run in (await w.jobs.list_runs()).runs] == ids[::-1]
        await w.status(ids[1])
        kit.clock.advance(1)
        dispositions = await w.deliver(*ids)
        assert (dispositions[0], dispositions[2]) == ("ack", "ack")
        assert [await w.state(run_id) for run_id in (ids[0], ids[2])] == ["succeeded"] * 2


async def test_what_was_written_without_an_answer_that_could_be_read_is_undone_and_written_again(
    kit: Kit,
) -> None:
    """A claim gives back texts: one of them that is no UTF-8 must not leave the others claimed by nobody."""
    calls = []

    @kit.job("note")
    async def note(ctx: Any, payload: int) -> None:
        calls.append((payload, ctx.attempt))

    async with kit.bound() as w:
        ids = await w.create_in_order("note", range(4))
        await w.sql("UPDATE kumofire_runs SET tags = CAST(x'ff' AS TEXT) WHERE id = ?", ids[2])
        assert await w.deliver(*ids) == ["ack"] * 4
        assert calls == [(0, 1), (1, 1), (2, 1), (3, 1)]
        assert {(await w.row(run_id))["starts"] for run_id in (ids[0], ids[1], ids[3])} == {1}


async def test_pages_go_on_behind_a_run_whose_id_is_none_of_ours(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        ids = [await w.create("none") for _ in range(4)]
        columns = "machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared, suspect, "
        columns += "deliveries, created_at, history"
        for new in ("", "zebra", "0"):
            await w.sql(
                f"INSERT INTO kumofire_runs (id, {columns}) SELECT ?, {columns} FROM kumofire_runs LIMIT 1",
                new,
            )
        found, cursor = [], None
        while True:
            page = await w.jobs.list_runs(limit=1, cursor=cursor)
            found += [run.kumofire_job_run_id for run in page.runs]
            if (cursor := page.cursor) is None:
                break
        assert found == ["zebra", *sorted(ids, reverse=True), "0", ""]
        with pytest.raises(InvalidArgument, match="cursor must be"):
            await w.jobs.list_runs(cursor="zebra")


def test_the_commands_show_a_broken_row_with_its_mark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    app = Kumofire()
    app.job("echo")(echo)
    with app.open_sync(tmp_path / "jobs.db") as jobs:
        run_id = jobs.create("echo", 1).kumofire_job_run_id
        schedule = jobs.create_schedule("echo", 1, schedule_key="k", every=60)
        jobs.create_schedule("echo", 1, schedule_key="whole", every=60)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db, db:
        db.execute("UPDATE kumofire_runs SET run_at = ? WHERE id = ?", (2**62, run_id))
        broken = "UPDATE kumofire_schedules SET last_at = ?, schedule = '{}' WHERE id = ?"
        db.execute(broken, (2**62, schedule.id))
    shown = kumofire(tmp_path, "runs", "show", run_id, "--db", "jobs.db")
    assert shown.code == 0
    assert "unreadable    run_at" in shown.out
    assert "to run at     9999-12-31" in shown.out
    listed = kumofire(tmp_path, "schedules", "list", "--db", "jobs.db")
    assert listed.code == 0
    _, first, second = (line.split() for line in listed.out.splitlines())
    assert first[-7:] == ["k", "echo", "(unreadable:", "schedule,", "last_at)", "0", "0"]
    assert second[-9:] == ["whole", "echo", "every", "1", "min", "00", "s", "0", "0"]
