"""A job with aliases is the job of its earlier names: their runs, schedules, keys and lists are its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeMessage
from harness import Kit

from kumofire_fsm import Created, DefinitionError, Kumofire, RunContext
from kumofire_fsm.errors import DedupeConflict, UnknownJob


def before(kit: Kit | None) -> Kumofire:
    """The release that calls the job "mail"."""
    app = Kumofire() if kit is None else kit.another_app()

    @app.job("mail")
    async def mail(ctx: Any, payload: Any) -> Any:
        return ["mail", payload]

    return app


def after(kit: Kit | None) -> Kumofire:
    """The release that calls it "mail.send"."""
    app = Kumofire() if kit is None else kit.another_app()

    @app.schedule(cron="0 6 * * *")
    @app.job("mail.send", aliases=["mail"])
    async def send(ctx: RunContext, payload: Any) -> Any:
        return [ctx.run.name, payload]

    return app


async def test_a_run_that_was_created_under_the_earlier_name_is_run_by_the_new_definition(kit: Kit) -> None:
    kit.app = before(kit)
    async with kit.bound() as w:
        run_id = await w.create("mail", 1)
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        await jobs.consume({"version": 1, "kumofireJobRunId": run_id})
        status = await jobs.get_status(run_id)
        assert status is not None
        assert (status.state, status.name, status.result) == ("succeeded", "mail.send", ["mail.send", 1])


async def test_a_worker_on_a_file_claims_it_too(tmp_path: Path) -> None:
    async with before(None).open(tmp_path / "jobs.db") as old:
        run_id = (await old.create("mail", 1)).kumofire_job_run_id
    async with after(None).open(tmp_path / "jobs.db") as new:
        worker = asyncio.ensure_future(new.run())
        assert (await new.wait(run_id, timeout=600)).result == ["mail.send", 1]
        new.stop()
        await worker


async def test_callers_may_use_either_name_and_the_new_one_is_stored(kit: Kit) -> None:
    kit.app = after(kit)
    async with kit.bound() as w:
        ids = [await w.create(name, 1) for name in ("mail", "mail.send")]
        assert await w.sql("SELECT DISTINCT job FROM kumofire_runs") == [("mail.send",)]
        for name in ("mail", "mail.send"):
            found = await w.jobs.list_runs(name=name)
            assert {run.kumofire_job_run_id for run in found.runs} == set(ids)
            assert await w.jobs.count_runs(name=name) == {"queued": 2}


async def test_lists_and_counts_find_what_is_stored_under_any_name(kit: Kit) -> None:
    kit.app = before(kit)
    async with kit.bound() as w:
        old = await w.create("mail", 1)
        kit.clock.advance(1)
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        new = (await jobs.create("mail.send", 2)).kumofire_job_run_id
        found = (await jobs.list_runs(name="mail.send")).runs
        assert [(run.kumofire_job_run_id, run.name) for run in found] == [
            (new, "mail.send"),
            (old, "mail.send"),
        ]
        assert await jobs.count_runs(name="mail") == {"queued": 2}
        assert await jobs.count_runs(name="other") == {}


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("name", ["mail", "mail.send"])
async def test_a_dedupe_key_that_is_held_under_the_earlier_name_is_held(
    kit: Kit, name: str, settled: bool
) -> None:
    kit.app = before(kit)
    async with kit.bound() as w:
        first = await w.create("mail", 1, dedupe_key="k")
        if settled:
            await w.deliver(first)
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        assert await jobs.create(name, 2, dedupe_key="k") == Created(
            first, is_new=False, payload_differs=True
        )
        assert (await jobs.create(name, 2, dedupe_key="other")).is_new
        prepared = jobs.prepare_create(name, 3, dedupe_key="k")
        holders = []
        for sql, values in prepared.statements:
            holders = await w.sql(sql, *values)
        assert holders[0][2] == first
        assert (await w.sizes())["kumofire_runs"] == 2


async def test_a_redrive_does_not_take_a_key_that_a_run_of_the_new_name_holds(kit: Kit) -> None:
    kit.app = before(kit)
    async with kit.bound() as w:
        first = await w.create("mail", 1, dedupe_key="k", dedupe="active")
        await w.jobs.cancel(first)
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        second = await jobs.create("mail.send", 2, dedupe_key="k", dedupe="active")
        assert second.is_new
        with pytest.raises(DedupeConflict):
            await jobs.redrive(first)
        await jobs.cancel(second.kumofire_job_run_id)
        assert (await jobs.redrive(first)).state == "ready"
        assert await jobs.create("mail.send", 3, dedupe_key="k") == Created(
            first, is_new=False, payload_differs=True
        )


async def test_keys_of_jobs_without_aliases_cost_no_statement_more(kit: Kit) -> None:
    kit.app = after(kit)

    @kit.app.job("other")
    async def other(ctx: Any) -> None: ...

    async with kit.bound() as w:
        await w.create("other", dedupe_key="k")
        assert w.storage.names == ["runs.insert", "runs.find_holders"]
        w.storage.clear()
        await w.create("mail.send", dedupe_key="k")
        assert (w.storage.names, w.storage.trips) == (
            ["runs.adopt_keys", "runs.insert", "runs.find_holders"],
            1,
        )
        w.storage.clear()
        await w.create("mail.send")
        assert w.storage.names == ["runs.insert"]


async def test_a_schedule_of_the_earlier_name_makes_runs_of_the_new_one(kit: Kit) -> None:
    kit.app = before(kit)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("mail", 7, every=60)
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        kit.clock.advance(61)
        assert (await jobs.dispatch()).made == 1
        (run,) = (await jobs.list_runs(schedule_id=made.id)).runs
        assert run.name == "mail.send"
        await jobs.trigger_now(made.id)
        changed = await jobs.update_schedule(made.id, max_attempts=2)
        assert (changed.name, changed.made, changed.payload) == ("mail.send", 1, 7)


async def test_a_schedule_that_the_code_declares_keeps_its_key_and_its_counts(kit: Kit) -> None:
    old = kit.another_app()

    @old.schedule(cron="0 6 * * *")
    @old.job("mail")
    async def mail(ctx: Any, payload: Any) -> None: ...

    kit.app = old
    async with kit.bound() as w:
        assert (await w.jobs.sync_schedules()).created == ("mail",)
        kit.clock.advance(86_400)
        await w.jobs.dispatch()
        before_ = await w.jobs.get_schedule(schedule_key="mail")
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        report = await jobs.sync_schedules()
        assert (report.created, report.changed, report.ended) == ((), ("mail",), ())
        shown = await jobs.get_schedule(schedule_key="mail")
        assert before_ is not None
        assert shown is not None
        assert (shown.id, shown.name, shown.made, shown.next_at) == (
            before_.id, "mail.send", 1, before_.next_at,
        )  # fmt: skip
        assert (await jobs.sync_schedules()).unchanged == ("mail",)


@pytest.mark.parametrize("name", ["mail", "mail.send"])
async def test_a_pause_is_said_of_all_its_names(kit: Kit, name: str) -> None:
    kit.app = before(kit)
    async with kit.bound() as w:
        ids = [await w.create("mail", 1)]
        jobs = after(kit).bind(db=w.storage, queue=w.queue)
        ids.append((await jobs.create("mail.send", 2)).kumofire_job_run_id)
        assert (await jobs.pause_job(name)).paused_at is not None
        await jobs.consume_batch([FakeMessage.of(run_id) for run_id in ids])
        assert await jobs.count_runs() == {"queued": 2}
        await jobs.resume_job(name)
        await jobs.consume_batch([FakeMessage.of(run_id) for run_id in ids])
        assert await jobs.count_runs() == {"succeeded": 2}


@pytest.mark.parametrize("job", ["mail", "mail.send"])
async def test_hooks_may_name_either(kit: Kit, job: str) -> None:
    kit.app, seen = before(kit), list[str]()
    async with kit.bound() as w:
        run_id = await w.create("mail", 1)
        new = after(kit)

        @new.on("succeed", job=job)
        async def hook(transition: Any) -> None:
            seen.append(transition.run.name)

        jobs = new.bind(db=w.storage, queue=w.queue)
        await jobs.consume({"version": 1, "kumofireJobRunId": run_id})
        await jobs.consume(
            {"version": 1, "kumofireJobRunId": (await jobs.create(job, 2)).kumofire_job_run_id}
        )
    assert seen == ["mail.send", "mail.send"]


@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_a_job_may_be_renamed_again_and_again(kit: Kit, name: str) -> None:
    kit.job("c", aliases=["a", "b"])(lambda ctx, payload: payload)
    async with kit.bound() as w:
        assert (await w.status(await w.create(name, 1))).name == "c"


@pytest.mark.parametrize(
    "aliases",
    ["mail", None, [1], [""], ["x" * 300], [["mail"]], ["mail.send"], ["a", "a"], ["taken"], 5, ["a\0b"]],
)
def test_aliases_that_are_none_are_refused(aliases: Any) -> None:
    app = Kumofire()
    app.job("taken")(lambda ctx: None)
    with pytest.raises(DefinitionError):
        app.job("mail.send", aliases=aliases)(lambda ctx: None)
    assert list(app.registry.jobs) == ["taken"]


def test_a_name_that_is_an_alias_is_taken() -> None:
    app = Kumofire()
    app.job("mail.send", aliases=["mail"])(lambda ctx: None)
    with pytest.raises(DefinitionError, match="a job 'mail' is registered already"):
        app.job("mail")(lambda ctx: None)


async def test_an_unknown_name_is_still_unknown(kit: Kit) -> None:
    kit.app = after(kit)
    async with kit.bound() as w:
        with pytest.raises(UnknownJob, match=r"registered are: mail\.send$"):
            await w.create("mails")
