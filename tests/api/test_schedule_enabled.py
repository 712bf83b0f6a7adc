"""`enabled=` on create, update, upsert and sync: paused or resumed in the same transaction as all else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit, echo, nothing

from kumofire_fsm import InvalidArgument, Kumofire, NewSchedule
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.schedules.rows import Schedule

MINUTE = timedelta(minutes=1)
EVERY = {"every": 60}


def events(schedule: Schedule) -> list[str]:
    return [entry.event for entry in schedule.history]


@pytest.mark.parametrize("call", ["create_schedule", "upsert_schedule"])
async def test_a_schedule_that_is_not_enabled_is_created_paused_in_one_transaction(
    kit: Kit, call: str
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        w.storage.clear()
        made = await getattr(w.jobs, call)("echo", 1, schedule_key="k", enabled=False, **EVERY)
        assert (w.storage.trips, w.storage.names) == (
            2,
            ["schedules.insert", "schedules.pause", "schedules.read"],
        )
        assert (made.state, made.next_at, events(made)) == ("paused", None, ["create", "pause"])
        kit.clock.advance(3600)
        assert (await w.jobs.dispatch()).made == 0
        resumed = await w.jobs.resume_schedule(made.id)
        assert (resumed.state, resumed.next_at) == ("active", START + 61 * MINUTE)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 1


@pytest.mark.parametrize("enabled", [None, True])
@pytest.mark.parametrize("call", ["create_schedule", "upsert_schedule"])
async def test_a_schedule_is_enabled_unless_it_is_said_otherwise(kit: Kit, call: str, enabled: Any) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        w.storage.clear()
        made = await getattr(w.jobs, call)("echo", 1, schedule_key="k", enabled=enabled, **EVERY)
        assert w.storage.names == ["schedules.insert", "schedules.read"]
        assert (made.state, made.next_at, events(made)) == ("active", START + MINUTE, ["create"])


async def test_a_key_that_is_taken_pauses_nobody(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, schedule_key="k", **EVERY)
        with pytest.raises(InvalidArgument, match="exists"):
            await w.jobs.create_schedule("echo", 1, schedule_key="k", enabled=False, **EVERY)
        assert await w.jobs.get_schedule(made.id) == made


async def test_no_other_process_ever_sees_it_active(tmp_path: Path) -> None:
    """A worker beside looks at the file all the time; a schedule of each second would fire at once."""
    app = Kumofire()
    app.job("echo")(echo)
    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        worker = asyncio.create_task(jobs.run())
        created = [
            await jobs.create_schedule("echo", n, cron="* * * * * *", enabled=False) for n in range(50)
        ]
        seen = await jobs.create_schedule("echo", 1, every=1)
        while not (await jobs.get_schedule(seen.id)).made:
            await asyncio.sleep(0.01)
        assert {(await jobs.get_schedule(each.id)).made for each in created} == {0}
        assert {run.schedule_id for run in (await jobs.list_runs()).runs} == {seen.id}
        jobs.stop(at_once=True)
        await worker


async def shown(w: Bound, made: Schedule) -> Schedule:
    found = await w.jobs.get_schedule(made.id)
    assert found is not None
    return found


async def test_an_update_changes_and_disables_in_one_transaction(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, **EVERY)
        w.storage.clear()
        changed = await w.jobs.update_schedule(made.id, payload=2, every=30, enabled=False)
        assert w.storage.names == ["schedules.read", "schedules.revise", "schedules.pause", "schedules.read"]
        assert w.storage.trips == 3
        assert (changed.state, changed.payload, changed.every) == ("paused", 2, timedelta(seconds=30))
        assert changed == await w.jobs.update_schedule(made.id, payload=2, every=30, enabled=False)


async def test_an_update_that_only_disables_or_enables_is_a_pause_or_a_resume(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, **EVERY)
        assert events(await w.jobs.update_schedule(made.id, enabled=False)) == ["create", "pause"]
        kit.clock.advance(150)
        resumed = await w.jobs.update_schedule(made.id, enabled=True)
        assert (resumed.state, resumed.next_at) == ("active", START + 3 * MINUTE)
        assert (resumed.skipped, resumed.skipped_why) == (2, "paused")
        assert await w.jobs.update_schedule(made.id, enabled=True) == resumed
        assert await w.jobs.update_schedule(made.id, enabled=None) == resumed


@pytest.mark.parametrize(
    "change", [{"payload": 2}, {"every": 90}, {"cron": "*/5 * * * *"}, {"end_at": START + timedelta(days=1)}]
)
async def test_an_update_changes_and_enables_in_one_transaction(kit: Kit, change: dict[str, Any]) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, enabled=False, **EVERY)
        twin = await w.jobs.create_schedule("echo", 1, enabled=False, **EVERY)
        kit.clock.advance(150)
        changed = await w.jobs.update_schedule(made.id, enabled=True, **change)
        await w.jobs.update_schedule(twin.id, **change)
        apart = await w.jobs.resume_schedule(twin.id)
        assert (changed.state, changed.next_at, changed.skipped) == ("active", apart.next_at, apart.skipped)
        assert (await shown(w, made)).next_at == (await w.jobs.preview_schedule(made.id, n=1))[0]


@pytest.mark.parametrize(("enabled", "state"), [(None, "active"), (True, "active"), (False, "paused")])
@pytest.mark.parametrize("former", ["suspended", "ended"])
async def test_what_a_change_revives_may_stay_disabled(
    kit: Kit, former: str, enabled: Any, state: str
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, schedule_key="k", **EVERY)
        if former == "ended":
            await w.jobs.end_schedule(made.id)
        else:
            await w.sql("UPDATE kumofire_schedules SET template = '{'")
            kit.clock.advance(60)
            assert (await w.jobs.dispatch()).suspended == 1
            await w.sql("UPDATE kumofire_schedules SET template = '{}'")
        revived = await w.jobs.update_schedule(made.id, payload=2, enabled=enabled)
        assert (revived.state, revived.payload, revived.last_error) == (state, 2, None)


async def test_an_upsert_leaves_a_paused_schedule_paused_unless_it_says_otherwise(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.upsert_schedule("echo", 1, schedule_key="k", **EVERY)
        await w.jobs.pause_schedule(made.id)
        for payload, enabled, state in (
            (1, None, "paused"),
            (2, None, "paused"),
            (2, True, "active"),
            (3, False, "paused"),
            (3, None, "paused"),
        ):
            found = await w.jobs.upsert_schedule("echo", payload, schedule_key="k", enabled=enabled, **EVERY)
            assert (found.id, found.state, found.payload) == (made.id, state, payload)


async def test_what_code_declares_may_be_disabled_or_enabled(kit: Kit) -> None:
    def declared(enabled: Any, payload: int = 1) -> list[NewSchedule]:
        return [NewSchedule("echo", payload, schedule_key=key, every=60, enabled=enabled) for key in "ab"]

    kit.job("echo")(echo)
    async with kit.bound() as w:
        assert (await w.jobs.sync_schedules(declared(False))).created == ("a", "b")
        assert {each.state for each in await w.jobs.list_schedules()} == {"paused"}
        assert (await w.jobs.sync_schedules(declared(None))).unchanged == ("a", "b")
        assert (await w.jobs.sync_schedules(declared(True, 2))).changed == ("a", "b")
        assert {(each.state, each.payload) for each in await w.jobs.list_schedules()} == {("active", 2)}
        await w.jobs.pause_schedule(schedule_key="a")
        assert (await w.jobs.sync_schedules(declared(None, 2))).unchanged == ("a", "b")
        report = await w.jobs.sync_schedules(declared(True, 2))
        assert (report.changed, report.unchanged) == (("a",), ("b",))
        assert (await w.jobs.sync_schedules(declared(False, 2))).changed == ("a", "b")
        assert (await w.jobs.sync_schedules([])).ended == ("a", "b")


async def test_one_sync_may_create_change_end_enable_and_disable(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        for key, enabled in {"a": True, "b": False, "c": True, "d": False, "e": True}.items():
            new = NewSchedule("echo", 1, schedule_key=key, every=60, enabled=enabled)
            await w.jobs.sync_schedules([new], origin=key)
            await w.sql("UPDATE kumofire_schedules SET origin = 'code' WHERE schedule_key = ?", key)
        wanted = {"a": (1, False), "b": (1, True), "c": (2, False), "d": (2, True), "f": (1, False)}
        report = await w.jobs.sync_schedules(
            [
                NewSchedule("echo", payload, schedule_key=key, every=60, enabled=enabled)
                for key, (payload, enabled) in wanted.items()
            ]
        )
        assert (report.created, report.changed, report.ended) == (("f",), ("a", "b", "c", "d"), ("e",))
        found = {each.schedule_key: (each.state, each.payload) for each in await w.jobs.list_schedules()}
        assert found == {
            "a": ("paused", 1), "b": ("active", 1), "c": ("paused", 2), "d": ("active", 2), "e": ("ended", 1),
            "f": ("paused", 1),
        }  # fmt: skip


async def test_a_decorator_declares_a_schedule_that_waits_for_somebody_to_enable_it(kit: Kit) -> None:
    kit.app.schedule(cron="0 5 * * *", enabled=False)(kit.job("none")(nothing))
    async with kit.bound() as w:
        await w.jobs.sync_schedules()
        assert [each.state for each in await w.jobs.list_schedules()] == ["paused"]


async def test_what_has_no_occurrence_left_cannot_be_enabled(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, at=START + MINUTE)
        kit.clock.advance(60)
        await w.jobs.dispatch()
        assert (await shown(w, made)).state == "ended"
        with pytest.raises(InvalidSchedule, match="no occurrence"):
            await w.jobs.update_schedule(made.id, enabled=True)
        assert (await w.jobs.update_schedule(made.id, enabled=False)).state == "ended"
        paused = await w.jobs.create_schedule("echo", 1, at=START + 2 * MINUTE, enabled=False)
        kit.clock.advance(3600)
        with pytest.raises(InvalidSchedule, match="no occurrence"):
            await w.jobs.update_schedule(paused.id, enabled=True)
        assert (await shown(w, paused)).state == "paused"


@pytest.mark.parametrize("enabled", [0, 1, "no", [], "False"])
async def test_anything_but_a_bool_is_refused(kit: Kit, enabled: Any) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, schedule_key="k", **EVERY)
        for call in (
            lambda: w.jobs.create_schedule("echo", 1, enabled=enabled, **EVERY),
            lambda: w.jobs.upsert_schedule("echo", 2, schedule_key="k", enabled=enabled, **EVERY),
            lambda: w.jobs.update_schedule(made.id, payload=2, enabled=enabled),
            lambda: w.jobs.sync_schedules(
                [NewSchedule("echo", 2, schedule_key="k", every=60, enabled=enabled)]
            ),
            lambda: w.jobs.sync_schedules(
                [NewSchedule("echo", 2, schedule_key="n", every=60, enabled=enabled)]
            ),
        ):
            with pytest.raises(InvalidArgument, match="enabled must be True or False"):
                await call()
        assert await w.jobs.list_schedules() == [made]


async def test_a_change_that_loses_a_race_is_made_again_and_neither_half_is_lost(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, **EVERY)
        both = await asyncio.gather(
            w.jobs.update_schedule(made.id, payload=2, enabled=False),
            w.jobs.update_schedule(made.id, tags=["a"]),
            w.jobs.update_schedule(made.id, max_attempts=7),
        )
        assert len(both) == 3
        found = await shown(w, made)
        assert (found.state, found.payload, found.tags, found.max_attempts) == ("paused", 2, ("a",), 7)
