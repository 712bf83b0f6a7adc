"""Changing a recurring job: only what is given changes, and what stays keeps its recurrence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes import START
from harness import Kit, echo

from kumofire_fsm import InvalidArgument
from kumofire_fsm.errors import InvalidSchedule

CRON = {"cron": "0 * * * *", "timezone": "Europe/Berlin"}
EVERY = {"every": timedelta(hours=1)}


def register(kit: Kit) -> None:
    kit.job("echo")(echo)
    kit.job("other")(echo)


def later(**units: float) -> datetime:
    return START + timedelta(**units)


@pytest.mark.parametrize(
    "rule", [CRON, EVERY, {**EVERY, "start_at": later(minutes=-10)}], ids=["cron", "every", "start_at"]
)
@pytest.mark.parametrize("due", [False, True])
async def test_an_unchanged_upsert_changes_nothing_also_at_the_due_moment(
    kit: Kit, rule: dict[str, Any], due: bool
) -> None:
    register(kit)
    async with kit.bound() as w:
        declared = {"schedule_key": "k", "max_attempts": 2, "tags": ["a"], **rule}
        made = await w.jobs.upsert_schedule("echo", {"p": 1}, **declared)
        kit.clock.advance(hours=1 if due else 0.1)
        before = await w.sql("SELECT * FROM kumofire_schedules")
        again = await w.jobs.upsert_schedule("echo", {"p": 1}, **declared)
        assert again == made
        assert await w.sql("SELECT * FROM kumofire_schedules") == before
        assert (await w.jobs.dispatch()).made == (1 if due else 0)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"payload": {"p": 2}}, {"payload": {"p": 2}}),
        ({"payload": None}, {"payload": None}),
        ({"name": "other"}, {"name": "other"}),
        ({"max_attempts": 9}, {"max_attempts": 9}),
        ({"tags": ["b"]}, {"tags": ("b",)}),
        ({"tags": None}, {"tags": ()}),
        ({"priority": "low"}, {"priority": "low"}),
        ({"priority": None}, {"priority": None}),
        ({"every": timedelta(hours=1), "payload": 5}, {"payload": 5}),
    ],
    ids=str,
)
@pytest.mark.parametrize("due", [False, True])
async def test_a_change_beside_the_rule_keeps_the_next_occurrence(
    kit: Kit, changes: dict[str, Any], shown: dict[str, Any], due: bool
) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule(
            "echo", {"p": 1}, every=3600, schedule_key="k", tags=["a"], priority="high"
        )
        kit.clock.advance(minutes=75 if due else 15)
        changed = await w.jobs.update_schedule(schedule_key="k", **changes)
        assert changed.next_at == made.next_at
        assert changed.updated_at == kit.clock.time
        assert {key: getattr(changed, key) for key in shown} == shown
        for kept in {"name", "payload", "max_attempts", "tags", "every", "priority"} - shown.keys():
            assert getattr(changed, kept) == getattr(made, kept)
        assert (await w.jobs.dispatch()).made == int(due)
        assert (await w.jobs.get_schedule(made.id)).next_at == later(hours=2 if due else 1)


@pytest.mark.parametrize(
    ("first", "changes", "rule", "next_at"),
    [
        (EVERY, {"every": 600}, (None, None, 600), later(minutes=25)),
        (EVERY, {"every": 600, "start_at": START}, (None, None, 600), later(minutes=20)),
        (EVERY, {"cron": "30 * * * *"}, ("30 * * * *", "UTC", None), later(minutes=30)),
        (CRON, {"every": 600}, (None, None, 600), later(minutes=25)),
        (CRON, {"cron": "30 9 * * *"}, ("30 9 * * *", "Europe/Berlin", None), later(hours=8.5)),
        (
            {"cron": "30 9 * * *"},
            {"timezone": "Asia/Tokyo"},
            ("30 9 * * *", "Asia/Tokyo", None),
            later(minutes=30),
        ),
    ],
)
async def test_a_change_of_the_rule_counts_from_now(
    kit: Kit, first: Any, changes: Any, rule: Any, next_at: datetime
) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, **first)
        kit.clock.advance(minutes=15)
        changed = await w.jobs.update_schedule(made.id, **changes)
        every = None if changed.every is None else changed.every.total_seconds()
        assert (changed.cron, changed.timezone, every) == rule
        assert changed.next_at == next_at


async def test_an_upsert_makes_the_schedule_what_it_says(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.upsert_schedule("echo", 1, schedule_key="k", max_attempts=5, tags=["a"], **CRON)
        changed = await w.jobs.upsert_schedule("other", 2, schedule_key="k", every=60)
        assert (changed.id, changed.name, changed.payload) == (made.id, "other", 2)
        assert (changed.cron, changed.timezone, changed.every) == (None, None, timedelta(seconds=60))
        assert (changed.max_attempts, changed.tags) == (None, ())
        back = await w.jobs.upsert_schedule("other", 2, schedule_key="k", cron="0 * * * *")
        assert (back.cron, back.timezone) == ("0 * * * *", "UTC")


@pytest.mark.parametrize(
    ("state", "after"), [("paused", "paused"), ("suspended", "active"), ("ended", "active")]
)
async def test_an_update_revives_what_is_suspended_or_ended_but_not_what_is_paused(
    kit: Kit, state: str, after: str
) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        if state == "suspended":
            await w.sql("UPDATE kumofire_schedules SET template = '{'")
            kit.clock.advance(60)
            assert (await w.jobs.dispatch()).suspended == 1
            await w.sql("UPDATE kumofire_schedules SET template = '{}'")
        else:
            await (w.jobs.pause_schedule if state == "paused" else w.jobs.end_schedule)(made.id)
        changed = await w.jobs.update_schedule(made.id, payload=2)
        assert (changed.state, changed.payload, changed.last_error) == (after, 2, None)
        assert (changed.next_at is None) == (after == "paused")


async def test_a_suspended_schedule_is_mended_by_an_upsert(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.upsert_schedule("echo", 1, schedule_key="k", every=60)
        await w.sql("UPDATE kumofire_schedules SET schedule = '{', template = '{'")
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).suspended == 1
        mended = await w.jobs.upsert_schedule("echo", 1, schedule_key="k", every=60)
        assert (mended.id, mended.state, mended.last_error) == (made.id, "active", None)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 1


@pytest.mark.parametrize("changes", [{"corn": "* * * * *"}, {"origin": "x"}, {"id": "x"}])
async def test_an_unknown_change_is_refused(kit: Kit, changes: dict[str, Any]) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        with pytest.raises(InvalidArgument, match="a schedule has no"):
            await w.jobs.update_schedule(made.id, **changes)


async def test_an_option_that_no_call_takes_is_refused_with_the_nearest_one(kit: Kit) -> None:
    register(kit)
    near = r"^a schedule has no option 'misfier' \(did you mean 'misfire'\?\); it has at, cron, "
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="k")
        for call in (
            lambda **options: w.jobs.create_schedule("echo", 1, every=60, **options),
            lambda **options: w.jobs.upsert_schedule("echo", 1, schedule_key="k", every=60, **options),
            lambda **options: w.jobs.update_schedule(made.id, **options),
        ):
            with pytest.raises(InvalidArgument, match=near):
                await call(misfier="all")
        with pytest.raises(InvalidArgument, match=near):
            kit.app.schedule(misfier="all")
        with pytest.raises(
            InvalidArgument, match=r"^prepare_create has no option 'dela' \(did you mean 'delay'\?\)"
        ):
            w.jobs.prepare_create("echo", 1, dela=5)
        assert await w.jobs.list_schedules() == [made]


async def test_a_zone_for_an_interval_is_refused(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        with pytest.raises(InvalidSchedule):
            await w.jobs.update_schedule(made.id, timezone="Europe/Berlin")


async def test_an_update_between_two_ticks_neither_repeats_nor_loses_an_occurrence(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        for n in range(2, 6):
            kit.clock.advance(60)
            assert (await w.jobs.dispatch()).made == 1
            await w.jobs.update_schedule(made.id, payload=n)
        runs = (await w.jobs.list_runs(schedule_id=made.id)).runs
        assert [run.scheduled_for for run in runs][::-1] == [later(minutes=m) for m in range(1, 5)]
        assert runs[0].scheduled_for.tzinfo is UTC
