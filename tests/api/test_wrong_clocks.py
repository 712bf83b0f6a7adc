"""A clock that was wrong for a moment, or new rules of a zone: what they left behind is mended, and told once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fakes import START
from harness import Bound, Kit, echo, nothing

from kumofire_fsm import NewSchedule, SyncReport
from kumofire_fsm.calendar import rules
from kumofire_fsm.embedded._ahead import Ahead
from kumofire_fsm.embedded._lease_trust import LeaseTrust
from kumofire_fsm.errors import InvalidSchedule, TransitionNotAllowed
from kumofire_fsm.reports import DispatchReport
from kumofire_fsm.work._dispatcher import LOOK_MINUTES

YEAR = timedelta(days=365)
MINUTELY = [{"every": 60}, {"cron": "* * * * *"}]


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Give the warnings about schedules so far; every one must have been expected."""
    caplog.set_level(logging.WARNING, "kumofire_fsm")
    expected: list[str] = []
    yield expected
    messages = [each.getMessage() for each in caplog.get_records("call")]
    found = [message for message in messages if "by its rule" in message]
    assert found == expected


def warning(key: str, was: datetime, now: datetime) -> str:
    return (
        f"schedule {key} of job 'echo': its next occurrence was to come at {was.isoformat()}, and by its rule "
        f"comes at {now.isoformat()}; the clock was wrong when that was stored, or its zone has other rules since"
    )


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


async def wrongly_dispatched(kit: Kit, w: Bound, ahead: timedelta = YEAR) -> DispatchReport:
    """Dispatch while the clock is ahead for three seconds."""
    kit.clock.advance(ahead.total_seconds())
    report = await w.jobs.dispatch()
    kit.clock.advance(3 - ahead.total_seconds())
    return report


async def until_a_look(kit: Kit, w: Bound) -> None:
    """Wait for the tick that also looks at what is not due, ticking each minute."""
    while int(kit.clock.time.timestamp()) // 60 % LOOK_MINUTES:
        await w.jobs.dispatch()
        kit.clock.advance(60)


@pytest.mark.parametrize("rule", MINUTELY, ids=["every", "cron"])
@pytest.mark.parametrize("ahead", [timedelta(hours=1), YEAR], ids=["an hour", "a year"])
async def test_a_next_occurrence_that_lies_far_ahead_is_derived_again_at_no_further_cost(
    kit: Kit, told: list[str], rule: dict[str, Any], ahead: timedelta
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", **rule)
        assert (await wrongly_dispatched(kit, w, ahead)).made == 1
        stored = (await w.jobs.get_schedule(schedule_key="s")).next_at
        assert stored == START + ahead + timedelta(minutes=1)
        await until_a_look(kit, w)
        assert [run.scheduled_for for run in (await w.jobs.list_runs()).runs] == [START + ahead]
        told.append(warning("s", stored, minute(30)))
        w.storage.clear()
        assert (await w.jobs.dispatch()).made == 0
        assert w.storage.names == ["schedules.due", "schedules.advance", "runs.sweep"]
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == minute(30)
        for number in range(30, 35):
            kit.clock.advance(60)
            assert (await w.jobs.dispatch()).made == 1
            assert (await w.jobs.get_schedule(schedule_key="s")).last_at == minute(number)


async def test_a_next_occurrence_is_derived_again_although_a_clock_was_ahead_twice_by_an_hour_and_by_a_year(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60)
        for ahead in (timedelta(hours=1), YEAR):
            assert (await wrongly_dispatched(kit, w, ahead)).made == 1
        stored = (await w.jobs.get_schedule(schedule_key="s")).next_at
        await until_a_look(kit, w)
        told.append(warning("s", stored, minute(30)))
        await w.jobs.dispatch()
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == minute(30)


async def test_what_a_clock_made_that_was_ahead_stands_before_what_it_makes_when_it_is_ahead_again(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60, overlap="skip")
        assert (await wrongly_dispatched(kit, w, timedelta(hours=1))).made == 1
        stored = (await w.jobs.get_schedule(schedule_key="s")).next_at
        await until_a_look(kit, w)
        told.append(warning("s", stored, minute(30)))
        await w.jobs.dispatch()
        assert (await wrongly_dispatched(kit, w, timedelta(hours=1))).made == 0


async def test_a_tick_that_looks_costs_what_any_tick_costs(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        for number in range(5):
            await w.jobs.create_schedule("echo", number, every=86_400 * (number + 1))
        await until_a_look(kit, w)
        w.storage.clear()
        assert await w.jobs.dispatch() == DispatchReport()
        assert w.storage.names == ["schedules.due", "runs.sweep"]


async def test_of_many_schedules_those_that_are_right_stay_as_they_are(kit: Kit, told: list[str]) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule(
            "echo", 1, schedule_key="monthly", cron="0 0 1 * *", start_at=START + timedelta(days=31)
        )
        for number in range(20):
            await w.jobs.create_schedule("echo", 1, schedule_key=f"{number}", every=600, jitter=60)
        await wrongly_dispatched(kit, w)
        await w.jobs.create_schedule("echo", 1, schedule_key="new", every=86_400)
        await until_a_look(kit, w)
        before = {each.schedule_key: each.next_at for each in await w.jobs.list_schedules()}
        await w.jobs.dispatch()
        after = {each.schedule_key: each.next_at for each in await w.jobs.list_schedules()}
        moved = {key for key, at in after.items() if at != before[key]}
        assert moved == {"monthly", *(f"{number}" for number in range(20))}
        told += [warning(key, before[key], after[key]) for key in after if key in moved]
        assert after["monthly"] == START + timedelta(days=31)


async def test_a_next_occurrence_lies_behind_those_that_a_clock_which_was_ahead_has_made(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        every = {"schedule_key": "s", "every": 60, "misfire": "all", "max_occurrences": 63}
        await w.jobs.create_schedule("echo", 1, **every)
        for _ in range(2):  # one was ahead by an hour for a moment, and then again
            await wrongly_dispatched(kit, w, timedelta(hours=1))
        before = await w.jobs.get_schedule(schedule_key="s")
        assert (before.made, before.next_at) == (60, minute(61))
        await until_a_look(kit, w)
        await w.jobs.dispatch()
        assert await w.jobs.get_schedule(schedule_key="s") == before
        assert {run.scheduled_for for run in (await w.jobs.list_runs(limit=100)).runs} == {
            minute(number) for number in range(1, 61)
        }
        while kit.clock.time <= minute(64):
            await w.jobs.dispatch()
            kit.clock.advance(60)
        ended = await w.jobs.get_schedule(schedule_key="s")
        assert (ended.state, ended.made, ended.last_at) == ("ended", 63, minute(63))
        assert (await w.sizes())["kumofire_runs"] == 63


async def test_the_first_occurrence_that_is_no_run_yet_comes_next_whatever_is_made_behind_it(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60, misfire="all")
        for ahead in (35, 250, 500):
            await wrongly_dispatched(kit, w, timedelta(minutes=ahead))
        stored = (await w.jobs.get_schedule(schedule_key="s")).next_at
        assert stored == minute(501)
        await until_a_look(kit, w)
        told.append(warning("s", stored, minute(36)))
        await w.jobs.dispatch()
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == minute(36)


async def test_an_occurrence_that_a_clock_which_was_ahead_has_made_comes_again_once_its_run_is_deleted(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule(
            "echo", 1, schedule_key="s", cron="0 0 1 1 *", start_at=START + YEAR, misfire="all"
        )
        await wrongly_dispatched(kit, w)
        (early,) = (await w.jobs.list_runs()).runs
        await until_a_look(kit, w)
        await w.jobs.dispatch()
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == START + 2 * YEAR
        await w.sql("DELETE FROM kumofire_runs WHERE id = ?", early.kumofire_job_run_id)
        told.append(warning("s", START + 2 * YEAR, START + YEAR))
        await w.jobs.dispatch()
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == START + YEAR


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_previous"])
async def test_a_run_of_a_far_occurrence_stands_in_nobodys_way(
    kit: Kit, told: list[str], overlap: Any
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60, overlap=overlap)
        await wrongly_dispatched(kit, w)
        (far,) = (await w.jobs.list_runs()).runs
        await until_a_look(kit, w)
        told.append(warning("s", START + YEAR + timedelta(minutes=1), minute(30)))
        await w.jobs.dispatch()
        kit.clock.advance(60)
        assert await w.jobs.dispatch() == DispatchReport(made=1, sent=1)
        assert await w.state(far.kumofire_job_run_id) == far.state


async def one_under_way(kit: Kit, w: Bound) -> None:
    """The first run of a schedule, whose next one waits for it."""
    await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60, overlap="queue", misfire="all")
    kit.clock.advance(60)
    assert (await w.jobs.dispatch()).made == 1


async def next_has_its_turn(kit: Kit, w: Bound) -> None:
    """The next one is made once all that was under way has ended."""
    await w.jobs.dispatch()
    for run in (await w.jobs.list_runs()).runs:
        await w.deliver(run.kumofire_job_run_id)
    kit.clock.advance(60)
    assert (await w.jobs.dispatch()).made == 1


async def test_an_occurrence_that_waits_for_its_turn_until_a_far_time_has_it_soon(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await one_under_way(kit, w)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 0
        await w.sql("UPDATE kumofire_schedules SET wake_at = wake_at + ?", YEAR // timedelta(milliseconds=1))
        await until_a_look(kit, w)
        told.append(warning("s", minute(2) + YEAR + timedelta(seconds=5), minute(2)))
        await next_has_its_turn(kit, w)


async def test_an_occurrence_that_a_clock_an_hour_ahead_made_wait_for_its_turn_has_it_soon(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await one_under_way(kit, w)
        await wrongly_dispatched(kit, w, timedelta(hours=1))
        until = minute(61) + timedelta(seconds=5)
        assert (await w.sql("SELECT wake_at FROM kumofire_schedules")) == [(int(until.timestamp()) * 1000,)]
        await until_a_look(kit, w)
        told.append(warning("s", until, minute(2)))
        await next_has_its_turn(kit, w)


NEW = NewSchedule("echo", 1, schedule_key="s", every=60)


async def test_an_upsert_of_the_same_rule_mends_it(kit: Kit, told: list[str]) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        first = await w.jobs.upsert_schedule("echo", 1, schedule_key="s", every=60)
        await wrongly_dispatched(kit, w)
        told.append(warning("s", START + YEAR + timedelta(minutes=1), minute(1)))
        mended = await w.jobs.upsert_schedule("echo", 1, schedule_key="s", every=60)
        assert (mended.id, mended.next_at) == (first.id, minute(1))
        assert await w.jobs.upsert_schedule("echo", 1, schedule_key="s", every=60) == mended


async def test_a_sync_mends_it_and_says_so(kit: Kit, told: list[str]) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.sync_schedules([NEW])
        await wrongly_dispatched(kit, w)
        told.append(warning("s", START + YEAR + timedelta(minutes=1), minute(1)))
        assert await w.jobs.sync_schedules([NEW]) == SyncReport(changed=("s",))
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == minute(1)
        assert await w.jobs.sync_schedules([NEW]) == SyncReport(unchanged=("s",))


@pytest.mark.parametrize(
    "change", [{"payload": 2}, {"every": 120}, {"overlap": "skip"}, {"end_at": minute(60)}]
)
async def test_any_change_mends_it(kit: Kit, told: list[str], change: dict[str, Any]) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60)
        await wrongly_dispatched(kit, w)
        if not change.keys() & {"every", "end_at"}:
            told.append(warning("s", START + YEAR + timedelta(minutes=1), minute(1)))
        changed = await w.jobs.update_schedule(schedule_key="s", **change)
        assert changed.next_at == (minute(1) if "every" not in change else START + timedelta(seconds=123))


@pytest.mark.parametrize("missed", ["skip", "latest"])
async def test_a_resume_mends_it(kit: Kit, told: list[str], missed: Any) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60)
        await wrongly_dispatched(kit, w)
        await w.jobs.pause_schedule(schedule_key="s")
        kit.clock.advance(60)
        told.append(warning("s", START + YEAR + timedelta(minutes=1), minute(2)))
        assert (await w.jobs.resume_schedule(schedule_key="s", missed=missed)).next_at == minute(2)


async def test_what_ended_because_the_clock_was_past_its_end_is_started_again_by_its_declaration(
    kit: Kit,
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        limited = {"schedule_key": "s", "every": 60, "end_at": START + timedelta(days=30)}
        await w.jobs.upsert_schedule("echo", 1, **limited)
        await wrongly_dispatched(kit, w)
        assert (await w.jobs.get_schedule(schedule_key="s")).state == "ended"
        again = await w.jobs.upsert_schedule("echo", 1, **limited)
        assert (again.state, again.next_at) == ("active", minute(1))


async def test_a_preview_tells_what_the_rule_says(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60)
        await wrongly_dispatched(kit, w)
        assert await w.jobs.preview_schedule(schedule_key="s", n=2) == [minute(1), minute(2)]


# -- new rules of a zone ------------------------------------------------------------------------------


class Zones:
    """Where a zone's clock stands, until new data says otherwise."""

    name = "Europe/London"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = rules.find_zone
        monkeypatch.setattr(
            rules, "find_zone", lambda name: ZoneInfo(self.name) if name == "Africa/Cairo" else known(name)
        )


@pytest.fixture
def zones(monkeypatch: pytest.MonkeyPatch) -> Zones:
    return Zones(monkeypatch)


def clock(hour: int, minutes: int = 0, day: int = 2) -> datetime:
    return datetime(2026, 1, day, hour, minutes, tzinfo=UTC)


async def daily(kit: Kit, w: Bound, cron: str = "0 14 * * *") -> None:
    """Create a schedule, and let its occurrence of the first day become a run; it is the second day then."""
    await w.jobs.create_schedule("echo", 1, schedule_key="s", cron=cron, timezone="Africa/Cairo")
    kit.clock.advance(hours=14)
    assert (await w.jobs.dispatch()).made == 1
    kit.clock.advance(hours=10)
    assert (await w.jobs.get_schedule(schedule_key="s")).next_at == clock(14)


async def made_at(kit: Kit, w: Bound, *until: datetime) -> list[datetime]:
    """Tick every half an hour until then, and return when runs were made."""
    found = []
    while kit.clock.time <= until[0]:
        if (await w.jobs.dispatch()).made:
            found.append(kit.clock.time)
        kit.clock.advance(1800)
    return found


@pytest.mark.parametrize(
    ("zone", "hour"), [("Atlantic/Azores", 15), ("Europe/Berlin", 13)], ids=["later", "earlier"]
)
async def test_a_stored_time_that_new_rules_of_the_zone_contradict_is_derived_again(
    kit: Kit, zones: Zones, told: list[str], zone: str, hour: int
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await daily(kit, w)
        zones.name = zone
        told.append(warning("s", clock(14), clock(hour)))
        expected = [clock(hour, day=day) for day in (2, 3, 4)]
        assert await w.jobs.preview_schedule(schedule_key="s", n=3) == expected
        await w.jobs.upsert_schedule("echo", 1, schedule_key="s", cron="0 14 * * *", timezone="Africa/Cairo")
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == clock(hour)
        assert await made_at(kit, w, clock(23, day=4)) == expected


@pytest.mark.parametrize("zone", ["Atlantic/Azores", "Europe/Berlin"], ids=["later", "earlier"])
async def test_new_rules_of_a_zone_make_no_occurrence_twice_and_lose_none_if_nobody_looks_before_it_is_due(
    kit: Kit, zones: Zones, told: list[str], zone: str
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await daily(kit, w)
        zones.name = zone
        later = zone == "Atlantic/Azores"
        told.append(warning("s", clock(14), clock(15 if later else 13)))
        kit.clock.advance(14 * 3600)  # nobody looks until the stored time
        made = await made_at(kit, w, clock(23, day=4))
        assert made == [clock(15 if later else 14), *(clock(15 if later else 13, day=day) for day in (3, 4))]
        runs = (await w.jobs.list_runs()).runs
        assert [run.scheduled_for.hour for run in runs] == [15 if later else 13] * 3 + [14]


@pytest.mark.parametrize("cron", ["* * * * *", "*/5 * * * *", "30 * * * *"])
async def test_new_rules_leave_times_alone_that_they_do_not_move(kit: Kit, zones: Zones, cron: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", cron=cron, timezone="Africa/Cairo")
        await until_a_look(kit, w)
        zones.name = "Europe/Berlin"
        before = (await w.jobs.get_schedule(schedule_key="s")).next_at
        await w.jobs.upsert_schedule("echo", 1, schedule_key="s", cron=cron, timezone="Africa/Cairo")
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == before


# -- what is no contradiction ---------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*MINUTELY, {"cron": "*/2 * * * *", "timezone": "Europe/Berlin"}])
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "cancel_previous"])
@pytest.mark.parametrize("misfire", ["latest", "skip", "all"])
async def test_whatever_policies_and_people_do_no_look_finds_a_contradiction(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any], overlap: Any, misfire: Any
) -> None:
    monkeypatch.setattr("kumofire_fsm.work._dispatcher.LOOK_MINUTES", 1)
    kit.job("echo")(echo)
    policies = {
        "overlap": overlap,
        "misfire": misfire,
        "misfire_grace": 30,
        "jitter": 20,
        "max_occurrences": 90,
    }
    async with kit.bound() as w:
        for number in range(3):
            window = {"start_at": minute(5), "end_at": minute(50)} if number == 1 else {}
            await w.jobs.create_schedule("echo", 1, schedule_key=f"{number}", **rule, **policies, **window)
        for step in range(60):
            kit.clock.advance((7, 20, 61, 45, 300)[step % 5])
            await w.jobs.dispatch(limit=(100, 1)[step % 2])
            with contextlib.suppress(InvalidSchedule, TransitionNotAllowed):  # of what has ended
                await do_something(w, step)


async def do_something(w: Bound, step: int) -> None:
    """Do what people and handlers do, one of it at each step."""
    key = {"schedule_key": f"{step % 3}"}
    match step % 11:
        case 1:
            await w.jobs.trigger_now(**key)
        case 3:
            await w.jobs.pause_schedule(**key)
        case 5:
            for each in await w.jobs.list_schedules():
                if each.state == "paused":
                    await w.jobs.resume_schedule(each.id, missed=("skip", "all")[step % 2])
        case 7:
            await w.jobs.update_schedule(**key, payload=step)
        case 9 if step % 2:
            await w.jobs.update_schedule(**key, every=70 + step, timezone=None)
        case 10:
            for run in (await w.jobs.list_runs(state="queued")).runs:
                await w.deliver(run.kumofire_job_run_id)


@pytest.mark.parametrize("apart", [2, 60, 240])
async def test_machines_whose_clocks_differ_do_not_move_each_others_occurrences(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, apart: float
) -> None:
    monkeypatch.setattr("kumofire_fsm.work._dispatcher.LOOK_MINUTES", 1)
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, every=60, misfire="all")
        made = 0
        for _ in range(20):
            kit.clock.advance(apart)
            made += (await w.jobs.dispatch()).made
            kit.clock.advance(-apart)
            made += (await w.jobs.dispatch()).made
            kit.clock.advance(30)
        assert made == (await w.sizes())["kumofire_runs"] == (570 + apart) // 60


@pytest.mark.parametrize("behind", [timedelta(minutes=40), 3 * YEAR], ids=["40 minutes", "years"])
async def test_a_clock_that_is_behind_moves_nothing(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, behind: timedelta
) -> None:
    monkeypatch.setattr("kumofire_fsm.work._dispatcher.LOOK_MINUTES", 1)
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.sync_schedules([NEW])
        for _ in range(60):
            kit.clock.advance(60)
            await w.jobs.dispatch()
        before = await w.jobs.get_schedule(schedule_key="s")
        kit.clock.advance(-behind.total_seconds())
        assert await w.jobs.dispatch() == DispatchReport()
        if behind > YEAR:  # so that it cannot have been created yet
            assert await w.jobs.sync_schedules([NEW]) == SyncReport(unchanged=("s",))
        kit.clock.advance(behind.total_seconds())
        assert await w.jobs.get_schedule(schedule_key="s") == before
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 1


async def test_a_schedule_that_was_created_while_the_clock_was_ahead_begins_when_it_is_told_to(
    kit: Kit,
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        kit.clock.advance(days=365)
        await w.jobs.upsert_schedule("echo", 1, schedule_key="s", every=60)
        kit.clock.advance(days=-365)
        told = await w.jobs.update_schedule(schedule_key="s", start_at=minute(1))
        assert told.next_at == minute(1)


async def test_an_interval_that_was_changed_while_the_clock_was_ahead_counts_on_from_there_and_runs_soon(
    kit: Kit, told: list[str]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, schedule_key="s", every=60)
        kit.clock.advance(YEAR.total_seconds() + 10)
        wrong = await w.jobs.update_schedule(schedule_key="s", every=40)
        assert (wrong.next_at, wrong.start_at) == (START + YEAR + timedelta(seconds=50), None)
        kit.clock.advance(3 - YEAR.total_seconds())
        await until_a_look(kit, w)
        right = min(
            at
            for number in range(100)
            if (at := wrong.next_at - YEAR + timedelta(seconds=40 * number)) > kit.clock.time
        )
        told.append(warning("s", wrong.next_at, right))
        await w.jobs.dispatch()
        assert (await w.jobs.get_schedule(schedule_key="s")).next_at == right


async def test_a_client_whose_clock_is_a_little_behind_brings_no_occurrence_at_the_creation_itself(
    kit: Kit,
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.upsert_schedule("echo", 1, schedule_key="s", every=40)
        kit.clock.advance(-2)
        for payload in (2, 3):
            told = await w.jobs.upsert_schedule("echo", payload, schedule_key="s", every=40)
            assert told.next_at == made.next_at
        kit.clock.advance(2)
        told = await w.jobs.upsert_schedule("echo", 4, schedule_key="s", every=40)
        assert told.next_at == made.next_at == START + timedelta(seconds=40)


async def test_of_none_is_nothing_said_that_cannot_be_evaluated(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=86_400)
        await w.sql("UPDATE kumofire_schedules SET schedule = '{\"cron\": 5}'")
        await until_a_look(kit, w)
        assert await w.jobs.dispatch() == DispatchReport()
        assert (await w.jobs.get_schedule(made.id)).state == "active"
        kit.clock.advance(days=1)
        assert (await w.jobs.dispatch()).suspended == 1


async def test_a_worker_tells_once_of_runs_that_wait_as_long_as_a_clock_said_that_was_ahead(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("flaky", max_attempts=3)
    async def flaky(ctx: Any) -> None:
        raise ValueError

    async with kit.bound() as w:
        binding = w.jobs._binding
        ahead = Ahead(binding, LeaseTrust(1_000, binding.now, lambda: 0.0), lambda: 0.0)
        tried = await w.create("flaky")
        rightly = await w.create("flaky", delay=2 * YEAR)
        kit.clock.advance(days=365)
        await w.deliver(tried)
        created = await w.create("flaky")
        kit.clock.advance(days=-365)
        caplog.clear()
        await ahead.look()
        await ahead.look()
        told = [each.getMessage() for each in caplog.records]
        said = "2 runs wait, and were stored later than it is now: the clock was ahead then, or is behind now"
        assert told == [f"{said}; jobs.reschedule(id, delay=0) starts one at once: {tried}, {created}"]
        for run_id in (tried, created):
            await w.jobs.reschedule(run_id, delay=0)
            await w.deliver(run_id)
        caplog.clear()
        await ahead.look()
        assert caplog.records == []
        assert await w.state(rightly) == "ready"


async def test_a_lease_that_a_clock_wrote_which_was_ahead_is_cut_and_told_once(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[int] = []

    @kit.job("held", timeout=60)
    async def held(ctx: Any) -> None:
        binding = w.jobs._binding
        ahead = Ahead(binding, LeaseTrust(1_000, binding.now, lambda: 0.0), lambda: 0.0)
        await w.sql("UPDATE kumofire_runs SET wake_at = wake_at + ?", YEAR // timedelta(milliseconds=1))
        await ahead.look()
        await ahead.look()
        ((wake_at,),) = await w.sql("SELECT wake_at FROM kumofire_runs")
        ends.append(wake_at - binding.now())

    async with kit.bound() as w:
        run_id = await w.create("held")
        await w.deliver(run_id)
        assert 0 < ends[0] <= 60_000 + 30_000
        said = "its lease was to end later than any lease can, as the clock was wrong; it ends soon"
        told = [each.getMessage() for each in caplog.records]
        assert told == [f"run {run_id}: {said}, unless its worker lives"]
