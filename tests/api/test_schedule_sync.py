"""The code declares its recurring jobs, and the database is made to hold exactly these."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import START
from harness import Kit, echo, nothing

from kumofire_fsm import DefinitionError, InvalidArgument, Kumofire, NewSchedule, SyncReport
from kumofire_fsm.errors import InvalidSchedule, TooLarge, UnknownJob
from kumofire_fsm.values.limits import ANSWER_BYTES, PAYLOAD_BYTES

A = NewSchedule("echo", 1, schedule_key="a", every=60)
B = NewSchedule("echo", {"n": 2}, schedule_key="b", cron="0 5 * * *", timezone="Europe/Berlin")
C = NewSchedule("none", schedule_key="c", at=START + timedelta(hours=1))


def register(kit: Kit) -> None:
    kit.job("echo")(echo)
    kit.job("none")(nothing)


async def test_the_database_is_made_what_the_code_declares(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        mine = await w.jobs.create_schedule("none", every=60, schedule_key="mine")
        assert await w.jobs.sync_schedules([A, B, C]) == SyncReport(created=("a", "b", "c"))
        first = {each.schedule_key: each for each in await w.jobs.list_schedules()}
        assert {key: each.origin for key, each in first.items()} == {
            "mine": None, "a": "code", "b": "code", "c": "code",
        }  # fmt: skip
        kit.clock.advance(30)
        changed = await w.jobs.sync_schedules([A, replace(B, payload=3)])
        assert changed == SyncReport(changed=("b",), ended=("c",), unchanged=("a",))
        shown = {each.schedule_key: each for each in await w.jobs.list_schedules()}
        assert (shown["mine"], shown["a"]) == (mine, first["a"])
        assert (shown["b"].id, shown["b"].payload, shown["c"].state) == (first["b"].id, 3, "ended")
        assert await w.jobs.sync_schedules([]) == SyncReport(ended=("a", "b"))
        assert await w.jobs.sync_schedules([A]) == SyncReport(changed=("a",))
        assert (await w.jobs.get_schedule(schedule_key="a")).state == "active"
        assert await w.jobs.get_schedule(mine.id) == mine


async def test_schedules_with_large_payloads_are_read_in_answers_that_fit(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        large = [replace(A, schedule_key=f"k{n:02}", payload="x" * 200_000) for n in range(60)]
        await w.jobs.sync_schedules(large)
        w.storage.clear()
        sizes, passed = list[int](), w.storage._pass

        async def measured(statements: Any, act: Any) -> Any:
            answers = await passed(statements, act)
            sizes.append(sum(len(str(each)) for rows in answers for row in rows for each in row))
            return answers

        w.storage._pass = measured  # type: ignore[method-assign]
        keys = tuple(each.schedule_key for each in large)
        assert await w.jobs.sync_schedules(large) == SyncReport(unchanged=keys)
        assert w.storage.names == ["schedules.declared"] * 3
        assert max(sizes) <= ANSWER_BYTES + PAYLOAD_BYTES
        assert await w.jobs.sync_schedules(large[:1]) == SyncReport(ended=keys[1:], unchanged=keys[:1])


async def test_an_unchanged_set_costs_one_statement_and_changes_nothing_also_at_the_due_moment(
    kit: Kit,
) -> None:
    register(kit)
    async with kit.bound() as w:
        w.storage.clear()
        await w.jobs.sync_schedules([A, B, C])
        assert w.storage.names == ["schedules.declared", "schedules.insert"]
        await w.jobs.pause_schedule(schedule_key="b")
        kit.clock.advance(hours=2)
        before = await w.sql("SELECT * FROM kumofire_schedules")
        w.storage.clear()
        assert await w.jobs.sync_schedules([A, B, C]) == SyncReport(unchanged=("a", "b", "c"))
        assert w.storage.names == ["schedules.declared"]
        assert await w.sql("SELECT * FROM kumofire_schedules") == before
        report = await w.jobs.dispatch()
        assert (report.made, report.skipped) == (2, 119)
        assert await w.jobs.sync_schedules([A, B, C]) == SyncReport(unchanged=("a", "b", "c"))
        assert (await w.jobs.get_schedule(schedule_key="c")).state == "ended"


async def test_a_hundred_changes_of_each_kind_are_three_statements(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        many = [NewSchedule("echo", n, schedule_key=f"k{n:03}", every=60) for n in range(300)]
        await w.jobs.sync_schedules(many[:200])
        w.storage.clear()
        report = await w.jobs.sync_schedules([*(replace(each, every=90) for each in many[:100]), *many[200:]])
        assert [len(keys) for keys in (report.created, report.changed, report.ended)] == [100, 100, 100]
        assert w.storage.names == ["schedules.declared", "schedules.insert", "schedules.end+revise"]
        assert w.storage.trips == 2


async def test_large_payloads_are_stored_in_parts_of_a_megabyte(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        large = [NewSchedule("echo", str(n) * 200_000, schedule_key=f"k{n}", every=60) for n in range(9)]
        assert len((await w.jobs.sync_schedules(large)).created) == 9
        assert w.storage.names.count("schedules.insert") == 5
        assert len((await w.jobs.sync_schedules(large)).unchanged) == 9


async def test_what_is_over_is_neither_created_nor_started_again_and_what_runs_out_is_ended(
    kit: Kit,
) -> None:
    register(kit)
    async with kit.bound() as w:
        kit.clock.advance(hours=2)
        assert await w.jobs.sync_schedules([A, C]) == SyncReport(created=("a",), unchanged=("c",))
        assert await w.jobs.get_schedule(schedule_key="c") is None
        short = replace(A, max_occurrences=1)
        assert await w.jobs.sync_schedules([short]) == SyncReport(changed=("a",))
        kit.clock.advance(60)
        await w.jobs.dispatch()
        assert await w.jobs.sync_schedules([replace(short, payload=9)]) == SyncReport(unchanged=("a",))
        assert await w.jobs.sync_schedules([A]) == SyncReport(changed=("a",))
        ends = replace(A, start_at=START, end_at=START + timedelta(hours=1))
        assert await w.jobs.sync_schedules([ends]) == SyncReport(ended=("a",))


async def test_a_key_that_a_program_made_becomes_the_code_s_when_it_is_declared(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="a")
        assert await w.jobs.sync_schedules([A]) == SyncReport(changed=("a",))
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.origin, shown.next_at) == ("code", made.next_at)
        await w.jobs.upsert_schedule("echo", 5, schedule_key="a", every=60)
        assert (await w.jobs.get_schedule(made.id)).origin == "code"


async def test_two_applications_on_one_database_own_their_sets(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.jobs.sync_schedules([A], origin="shop")
        assert await w.jobs.sync_schedules([B], origin="mail") == SyncReport(created=("b",))
        assert await w.jobs.sync_schedules([], origin="mail") == SyncReport(ended=("b",))
        assert (await w.jobs.get_schedule(schedule_key="a")).state == "active"


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (InvalidSchedule, replace(B, cron="61 * * * *", schedule_key="w")),
        (InvalidSchedule, replace(A, overlap="never")),
        (InvalidArgument, replace(A, schedule_key=None)),
        (InvalidArgument, B),
        (InvalidArgument, {"name": "echo"}),
        (TooLarge, replace(A, schedule_key="k" * 300)),
        (UnknownJob, replace(A, name="nobody")),
    ],
    ids=["cron", "policy", "no key", "a key twice", "no NewSchedule", "a long key", "no such job"],
)
async def test_nothing_is_stored_of_a_set_with_a_mistake(kit: Kit, error: Any, wrong: Any) -> None:
    register(kit)
    async with kit.bound() as w:
        with pytest.raises(error):
            await w.jobs.sync_schedules([replace(C, schedule_key="z"), replace(B, payload=0), wrong])
        assert (await w.sizes())["kumofire_schedules"] == 0


async def test_processes_that_sync_at_once_make_each_change_once(kit: Kit, tmp_path: Path) -> None:
    register(kit)
    path = tmp_path / "jobs.db"
    async with kit.bound(path) as one, kit.bound(path) as two:
        for wanted in ([A, B, C], [replace(A, every=90), C], [], [A, B]):
            reports = await asyncio.gather(*(w.jobs.sync_schedules(wanted) for w in (one, two, one, two)))
            for kind in ("created", "changed", "ended"):
                keys = [key for report in reports for key in getattr(report, kind)]
                assert len(keys) == len(set(keys)), (kind, keys)
            active = {s.schedule_key for s in await one.jobs.list_schedules() if s.state == "active"}
            assert active == {new.schedule_key for new in wanted}
            kit.clock.advance(1)


async def test_a_schedule_beside_a_handler_is_stored_by_a_sync_and_not_before(kit: Kit) -> None:
    app = kit.app

    @app.schedule(cron="0 5 * * *", timezone="Europe/Berlin", payload=1, overlap="skip")
    @app.schedule(every=60, key="often")
    @app.job("report")
    async def report(ctx: Any, payload: int | None) -> None: ...

    @app.job("above")
    @app.schedule(every=90)
    def above(ctx: Any) -> None: ...

    async with kit.bound() as w:
        assert await w.jobs.list_schedules() == []
        assert (await w.jobs.sync_schedules()).created == ("above", "often", "report")
        shown = {each.schedule_key: each for each in await w.jobs.list_schedules()}
        assert {key: (s.name, s.payload) for key, s in shown.items()} == {
            "often": ("report", None), "report": ("report", 1), "above": ("above", None),
        }  # fmt: skip
        assert (shown["report"].timezone, shown["report"].overlap) == ("Europe/Berlin", "skip")
        assert (await w.jobs.sync_schedules()).unchanged == ("above", "often", "report")


def test_a_misspelt_option_is_an_error_where_it_is_declared(kit: Kit) -> None:
    with pytest.raises(InvalidArgument, match=r"no option .corn. .did you mean .cron.\?"):
        kit.app.schedule(corn="* * * * *")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cron": "61 * * * *"}, "61"),
        ({"cron": "0 5 31 2 *"}, "31"),
        ({"cron": "0 5 * * *", "timezone": "Europe/Berln"}, "Europe/Berlin"),
        ({"every": 0.5}, "every"),
        ({}, "give one of cron"),
        ({"every": 60, "cron": "0 5 * * *"}, "only one"),
        ({"every": 60, "overlap": "never"}, "overlap must be one of"),
        ({"every": 60, "priority": "urgent"}, "priority must be"),
        ({"every": 60, "enabled": "yes"}, "enabled must be True or False"),
        ({"every": 60, "tags": "a"}, "tags must be a list"),
        ({"every": 60, "key": ""}, "schedule_key must be a text"),
        ({"every": 60, "start_at": datetime(2026, 1, 1)}, "start_at"),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_a_rule_a_zone_or_an_option_that_cannot_be_is_an_error_where_it_is_declared(
    kit: Kit, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        kit.app.schedule(**options)
    assert said in str(caught.value)


@pytest.mark.parametrize("names", [(), ("one", "two")], ids=["no job", "two jobs"])
async def test_a_schedule_on_a_handler_that_is_not_one_job_is_refused(kit: Kit, names: Any) -> None:
    kit.app.schedule(every=60)(echo)
    for name in names:
        kit.job(name)(echo)
    async with kit.bound() as w:
        with pytest.raises(
            DefinitionError, match="registered as " + ("'one' and 'two'" if names else "no job")
        ):
            await w.jobs.sync_schedules()


@pytest.mark.parametrize("asked", [False, True])
async def test_an_embedded_file_gets_the_declared_schedules_only_when_asked(
    tmp_path: Path, asked: bool
) -> None:
    app = Kumofire()
    seen = []

    @app.schedule(every=60)
    @app.job("tick")
    def tick(ctx: Any) -> None: ...

    @app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        seen.extend(await jobs.list_schedules())
        yield

    async with app.open(tmp_path / "jobs.db", sync_schedules=asked):
        assert [each.schedule_key for each in seen] == (["tick"] if asked else [])
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        assert db.execute("SELECT count(*) FROM kumofire_schedules").fetchone() == (int(asked),)
    db.close()
