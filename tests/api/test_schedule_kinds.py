"""The kinds of recurrence and their bounds: once, from a start, to an end, so many times, with jitter."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit, nothing

from kumofire_fsm import InvalidArgument
from kumofire_fsm.calendar.recurrence import jitter_delay_ms
from kumofire_fsm.errors import InvalidSchedule

HOUR = timedelta(hours=1)


def later(**units: float) -> datetime:
    return START + timedelta(**units)


async def occurrences(kit: Kit, w: Bound, hours: int) -> list[datetime]:
    """Look every half hour; return which occurrences became runs, in order."""
    for _ in range(2 * hours):
        kit.clock.advance(minutes=30)
        await w.jobs.dispatch()
    return [run.scheduled_for for run in (await w.jobs.list_runs(limit=500)).runs][::-1]


@pytest.mark.parametrize(
    ("options", "expected", "state"),
    [
        ({"at": later(hours=2)}, [2], "ended"),
        ({"cron": "0 * * * *", "start_at": later(hours=3)}, [3, 4, 5, 6], "active"),
        ({"cron": "0 * * * *", "start_at": later(hours=3.5)}, [4, 5, 6], "active"),
        ({"cron": "0 * * * *", "start_at": later(hours=-30)}, [1, 2, 3, 4, 5, 6], "active"),
        ({"cron": "0 * * * *", "end_at": later(hours=2)}, [1, 2], "ended"),
        ({"cron": "0 * * * *", "end_at": later(hours=2.5)}, [1, 2], "ended"),
        ({"cron": "0 * * * *", "max_occurrences": 3}, [1, 2, 3], "ended"),
        ({"every": HOUR, "start_at": later(hours=0.5), "end_at": later(hours=2.5)}, [0.5, 1.5, 2.5], "ended"),
        ({"every": HOUR, "start_at": later(hours=3), "max_occurrences": 2}, [3, 4], "ended"),
        ({"every": HOUR, "end_at": later(hours=4), "max_occurrences": 9}, [1, 2, 3, 4], "ended"),
    ],
    ids=str,
)
async def test_a_rhythm_keeps_to_its_bounds(
    kit: Kit, options: dict[str, Any], expected: list[float], state: str
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", **options)
        assert await w.jobs.preview_schedule(made.id, n=3) == [later(hours=h) for h in expected[:3]]
        assert await occurrences(kit, w, 6) == [later(hours=h) for h in expected]
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.state, shown.made, shown.skipped) == (state, len(expected), 0)
        assert (shown.next_at is None) == (state == "ended")
        for name in ("at", "end_at", "max_occurrences"):
            assert getattr(shown, name) == options.get(name)
        if "start_at" in options:
            assert shown.start_at == options["start_at"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"at": START},
            rf"^at={re.escape(START.isoformat(' '))} has no occurrence after now; change it first$",
        ),
        ({"at": later(hours=-1)}, "has no occurrence after now"),
        ({"every": 60, "end_at": START}, "end_at must not lie before start_at|has no occurrence"),
        ({"every": 60, "start_at": later(hours=2), "end_at": later(hours=1)}, "end_at must not lie before"),
        (
            {"cron": "0 0 1 1 *", "end_at": later(days=30), "overlap": "skip"},
            rf"^cron='0 0 1 1 \*', timezone='UTC', end_at={re.escape(later(days=30).isoformat(' '))}, overlap='skip' has",
        ),
        ({"at": later(hours=1), "end_at": later(hours=2)}, "is one time"),
        ({"at": later(hours=1), "max_occurrences": 2}, "is one time"),
        ({"at": later(hours=1), "every": 60}, "only one"),
        ({"at": later(hours=1), "timezone": "UTC"}, "a timezone is for cron"),
        ({"every": 60, "max_occurrences": 0}, "from 1 on"),
        ({"every": 60, "max_occurrences": True}, "from 1 on"),
        ({"every": 60, "misfire": "never"}, "'skip', 'latest', 'all'; found 'never'"),
        ({"every": 60, "overlap": "forbid"}, "'allow', 'skip', 'queue', 'cancel_previous'; found 'forbid'"),
    ],
    ids=str,
)
async def test_what_can_never_fire_or_is_no_policy_is_refused(
    kit: Kit, options: dict[str, Any], said: str
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        for call in (w.jobs.create_schedule, w.jobs.upsert_schedule):
            with pytest.raises(InvalidSchedule, match=said):
                await call("none", schedule_key="k", **options)
        assert (await w.sizes())["kumofire_schedules"] == 0


@pytest.mark.parametrize("options", [{"jitter": -1}, {"jitter": "5"}, {"misfire_grace": -1}, {"end_at": 5}])
async def test_malformed_durations_and_instants_are_refused(kit: Kit, options: dict[str, Any]) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument):
            await w.jobs.create_schedule("none", every=60, **options)
        with pytest.raises(InvalidArgument, match="corn"):
            await w.jobs.create_schedule("none", corn="* * * * *")


async def test_jitter_delays_the_run_and_never_the_occurrence(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60, jitter=timedelta(minutes=10))
        kit.clock.advance(minutes=1)
        assert (await w.jobs.dispatch()).made == 1
        kit.clock.advance(minutes=1)
        assert (await w.jobs.dispatch()).made == 1
        runs = (await w.jobs.list_runs(schedule_id=made.id)).runs[::-1]
        for minute, run in enumerate(runs, 1):
            at = later(minutes=minute)
            delay = jitter_delay_ms(made.id, int(at.timestamp() * 1000), 600_000)
            assert (run.scheduled_for, run.run_at) == (at, at + timedelta(milliseconds=delay))
        near = [run for run in runs if run.run_at <= kit.clock.time + timedelta(seconds=90)]
        assert {run_id for run_id, _ in w.queue.sent} == {run.kumofire_job_run_id for run in near}


@pytest.mark.parametrize(
    ("first", "changes", "shown", "hours"),
    [
        ({"cron": "0 * * * *"}, {"end_at": later(hours=3)}, {"end_at": later(hours=3)}, [1, 2, 3]),
        ({"cron": "0 * * * *", "end_at": later(hours=2)}, {"end_at": None}, {"end_at": None}, [1, 2, 3, 4]),
        ({"every": 3600}, {"max_occurrences": 2}, {"every": HOUR}, [1, 2]),
        ({"every": 3600}, {"at": later(hours=2)}, {"every": None, "at": later(hours=2)}, [2]),
        ({"at": later(hours=2)}, {"every": 3600}, {"at": None, "every": HOUR}, [1, 2, 3, 4]),
        ({"every": 3600, "max_occurrences": 2}, {"at": later(hours=1)}, {"max_occurrences": None}, [1]),
        ({"every": 3600}, {"start_at": later(hours=1.5)}, {"every": HOUR}, [1.5, 2.5, 3.5]),
        ({"cron": "0 * * * *", "start_at": later(hours=3)}, {"start_at": None}, {}, [1, 2, 3, 4]),
        (
            {"cron": "0 * * * *", "start_at": later(hours=3)},
            {"cron": "30 * * * *"},
            {"start_at": later(hours=3)},
            [3.5],
        ),
        (
            {"every": 3600},
            {"misfire": "skip", "overlap": "queue"},
            {"misfire": "skip", "overlap": "queue"},
            [1],
        ),
        ({"every": 3600, "misfire": "all", "jitter": 5}, {"misfire": None}, {"misfire": "latest"}, [1]),
    ],
    ids=str,
)
async def test_an_update_changes_bounds_policies_and_kinds(
    kit: Kit, first: Any, changes: Any, shown: Any, hours: list[float]
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", **first)
        changed = await w.jobs.update_schedule(made.id, **changes)
        assert {name: getattr(changed, name) for name in shown} == shown
        assert (await w.jobs.preview_schedule(made.id, n=4))[: len(hours)] == [later(hours=h) for h in hours]


@pytest.mark.parametrize("change", [{"overlap": "skip"}, {"max_occurrences": 5}, {"end_at": later(days=9)}])
async def test_a_change_of_policies_or_bounds_loses_no_due_occurrence(kit: Kit, change: Any) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", cron="0 * * * *")
        kit.clock.advance(hours=1)
        await w.jobs.update_schedule(made.id, **change)
        assert (await w.jobs.dispatch()).made == 1


@pytest.mark.parametrize("options", [{"at": later(hours=1)}, {"every": 3600, "max_occurrences": 1}])
async def test_an_unchanged_upsert_leaves_what_is_over_as_it_is(kit: Kit, options: dict[str, Any]) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.jobs.upsert_schedule("none", schedule_key="k", **options)
        kit.clock.advance(hours=1)
        await w.jobs.dispatch()
        over = await w.jobs.get_schedule(schedule_key="k")
        assert over.state == "ended"
        kit.clock.advance(hours=1)
        assert await w.jobs.upsert_schedule("none", schedule_key="k", **options) == over
        with pytest.raises(InvalidSchedule, match="has no occurrence after now"):
            await w.jobs.upsert_schedule("none", schedule_key="k", tags=["new"], **options)


async def test_a_rhythm_with_every_option_is_shown_and_kept_by_the_same_upsert(kit: Kit) -> None:
    kit.job("none")(nothing)
    options: dict[str, Any] = {
        "cron": "0 5 * * *", "timezone": "Europe/Berlin", "start_at": later(days=1), "end_at": later(days=9),
        "max_occurrences": 3, "jitter": timedelta(seconds=30), "misfire": "all",
        "misfire_grace": timedelta(minutes=5), "overlap": "queue", "max_attempts": 2, "tags": ["a"],
        "priority": "low",
    }  # fmt: skip
    async with kit.bound() as w:
        made = await w.jobs.upsert_schedule("none", schedule_key="k", **options)
        assert {name: getattr(made, name) for name in options} == options | {"tags": ("a",)}
        assert made.next_at == datetime(2026, 1, 2, 4, tzinfo=UTC)
        before = await w.sql("SELECT * FROM kumofire_schedules")
        kit.clock.advance(days=1, hours=4)
        assert await w.jobs.upsert_schedule("none", schedule_key="k", **options) == made
        assert await w.sql("SELECT * FROM kumofire_schedules") == before
