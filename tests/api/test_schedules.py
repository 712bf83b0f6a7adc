"""Recurring jobs: created, looked at, changed, paused and ended, by id and by key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes import START
from harness import Kit, echo, nothing

from kumofire_fsm import InvalidArgument, TransitionNotAllowed
from kumofire_fsm.errors import InvalidSchedule, TooLarge, UnknownJob, UnknownSchedule
from kumofire_fsm.schedules.client import Schedule

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"
MINUTE = timedelta(minutes=1)


def register(kit: Kit) -> None:
    kit.job("echo")(echo)
    kit.job("none")(nothing)


async def test_a_fresh_schedule_shows_everything_about_itself(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule(
            "echo",
            {"a": 1},
            cron="30 9 * * mon-fri",
            timezone="Europe/Berlin",
            schedule_key="k",
            max_attempts=7,
            tags=["t"],
            priority="high",
        )
        assert made == Schedule(
            id=made.id,
            schedule_key="k",
            name="echo",
            state="active",
            next_at=datetime(2026, 1, 1, 8, 30, tzinfo=UTC),
            last_at=None,
            cron="30 9 * * mon-fri",
            timezone="Europe/Berlin",
            every=None,
            at=None,
            start_at=None,
            end_at=None,
            max_occurrences=None,
            jitter=timedelta(0),
            misfire="latest",
            misfire_grace=timedelta(seconds=60),
            overlap="allow",
            payload={"a": 1},
            max_attempts=7,
            tags=("t",),
            origin=None,
            made=0,
            skipped=0,
            skipped_at=None,
            skipped_why=None,
            last_error=None,
            created_at=START,
            updated_at=START,
            history=made.history,
            priority="high",
        )
        assert await w.jobs.get_schedule(made.id) == made
        assert await w.jobs.get_schedule(schedule_key="k") == made
        assert await w.jobs.list_schedules() == [made]


@pytest.mark.parametrize(
    ("options", "next_at"),
    [
        ({"cron": "*/5 * * * *"}, START + 5 * MINUTE),
        ({"cron": "*/10 * * * * *"}, START + timedelta(seconds=10)),
        ({"cron": "0 0 29 2 *"}, datetime(2028, 2, 29, tzinfo=UTC)),
        ({"cron": "30 2 * * *", "timezone": "Asia/Tokyo"}, datetime(2026, 1, 1, 17, 30, tzinfo=UTC)),
        ({"every": 90}, START + timedelta(seconds=90)),
        ({"every": timedelta(hours=1)}, START + timedelta(hours=1)),
        ({"every": 60, "start_at": START - timedelta(seconds=50)}, START + timedelta(seconds=10)),
        ({"every": 60, "start_at": START + timedelta(days=1)}, START + timedelta(days=1)),
    ],
    ids=str,
)
async def test_the_first_occurrence_lies_after_now(
    kit: Kit, options: dict[str, Any], next_at: datetime
) -> None:
    register(kit)
    async with kit.bound() as w:
        assert (await w.jobs.create_schedule("none", **options)).next_at == next_at


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cron": "* * * * *", "every": 60},
        {"cron": "* * * *"},
        {"cron": "* * * * * * * *"},
        {"cron": "61 * * * *"},
        {"cron": "nonsense"},
        {"cron": ""},
        {"cron": 5},
        {"cron": "0 0 30 2 *"},
        {"cron": "0 0 31 4,6,9,11 *"},
        {"cron": "* * * * *", "timezone": "Mars/Olympus"},
        {"cron": "* * * * *", "timezone": ""},
        {"cron": "* * * * *", "timezone": "../../etc/passwd"},
        {"cron": "* * * * *", "timezone": 5},
        {"every": 0.999},
        {"every": timedelta(0)},
    ],
    ids=str,
)
async def test_a_rule_that_can_never_fire_is_refused_by_every_call(kit: Kit, options: dict[str, Any]) -> None:
    register(kit)
    async with kit.bound() as w:
        with pytest.raises(InvalidSchedule):
            await w.jobs.create_schedule("none", **options)
        with pytest.raises(InvalidSchedule):
            await w.jobs.upsert_schedule("none", schedule_key="k", **options)
        assert (await w.sizes())["kumofire_schedules"] == 0
        made = await w.jobs.create_schedule("none", cron="* * * * *", schedule_key="k")
        if options:
            with pytest.raises(InvalidSchedule):
                await w.jobs.update_schedule(made.id, **options)
        assert await w.jobs.get_schedule(made.id) == made


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (UnknownJob, {"name": "nobody"}),
        (InvalidArgument, {"every": -5}),
        (InvalidArgument, {"every": "60"}),
        (InvalidArgument, {"every": float("nan")}),
        (InvalidArgument, {"every": timedelta.max}),
        (InvalidArgument, {"start_at": datetime(2026, 1, 1)}),  # noqa: DTZ001 -- naive on purpose
        (InvalidArgument, {"schedule_key": ""}),
        (InvalidArgument, {"schedule_key": 5}),
        (TooLarge, {"schedule_key": "k" * 256}),
        (InvalidArgument, {"max_attempts": 0}),
        (InvalidArgument, {"max_attempts": True}),
        (InvalidArgument, {"priority": "urgent"}),
        (InvalidArgument, {"tags": "abc"}),
        (TooLarge, {"tags": ["x" * 65]}),
        (InvalidArgument, {"payload": {1, 2}}),
        (TooLarge, {"payload": "x" * 300_000}),
    ],
    ids=str,
)
async def test_other_arguments_are_checked_as_for_create(
    kit: Kit, error: type[Exception], options: dict[str, Any]
) -> None:
    register(kit)
    async with kit.bound() as w:
        with pytest.raises(error):
            await w.jobs.create_schedule(**{"name": "echo", "every": 60, **options})
        assert (await w.sizes())["kumofire_schedules"] == 0


async def test_a_taken_key_is_refused(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60, schedule_key="k")
        with pytest.raises(InvalidArgument, match="use upsert_schedule"):
            await w.jobs.create_schedule("none", every=90, schedule_key="k")
        assert await w.jobs.list_schedules() == [made]


async def test_unknown_schedules_are_none_or_raise(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        assert await w.jobs.get_schedule(UNKNOWN) is None
        assert await w.jobs.get_schedule(schedule_key="nokey") is None
        for call in ("update_schedule", "pause_schedule", "resume_schedule", "end_schedule"):
            with pytest.raises(UnknownSchedule, match=UNKNOWN):
                await getattr(w.jobs, call)(UNKNOWN)
        for call in ("update_schedule", "pause_schedule"):
            with pytest.raises(UnknownSchedule, match="nokey"):
                await getattr(w.jobs, call)(schedule_key="nokey")


async def test_schedules_are_listed_in_pages(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = []
        for _ in range(5):
            made.append(await w.jobs.create_schedule("none", every=60))
            kit.clock.advance(1)
        assert await w.jobs.list_schedules(limit=2) == made[:2]
        assert await w.jobs.list_schedules(after=made[1].id, limit=10) == made[2:]


@pytest.mark.parametrize("by", ["id", "key"])
async def test_pause_is_repeatable_and_resume_starts_from_the_next_occurrence(kit: Kit, by: str) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60, schedule_key="k")
        for _ in range(2):
            off = await w.jobs.pause_schedule(
                **({"schedule_id": made.id} if by == "id" else {"schedule_key": "k"})
            )
            assert (off.state, off.next_at) == ("paused", None)
        kit.clock.advance(600)
        assert (await w.jobs.dispatch()).made == 0
        kit.clock.advance(10)
        for _ in range(2):
            on = await w.jobs.resume_schedule(made.id)
            assert (on.state, on.next_at) == ("active", START + timedelta(seconds=660))
        assert [e.event for e in on.history] == ["create", "pause", "resume"]


async def test_an_ended_schedule_never_fires_and_only_an_update_revives_it(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60)
        for _ in range(2):
            assert (await w.jobs.end_schedule(made.id)).state == "ended"
        for call in (w.jobs.pause_schedule, w.jobs.resume_schedule):
            with pytest.raises(TransitionNotAllowed, match="is not allowed from 'ended'"):
                await call(made.id)
        kit.clock.advance(90)
        assert (await w.jobs.dispatch()).made == 0
        revived = await w.jobs.update_schedule(made.id, every=60)
        assert (revived.state, revived.next_at) == ("active", START + timedelta(seconds=120))
