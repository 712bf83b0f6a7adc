"""At most one run with a dedupe key, whoever creates at once, for ever or while one is active."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import Cancel, Created, Fail, NewRun


def register(kit: Kit) -> None:
    for name in ("job", "other"):

        @kit.job(name)
        async def job(ctx, payload):
            if payload == "fail":
                raise Fail
            if payload == "cancel":
                raise Cancel


async def test_a_key_is_held_for_ever_and_gives_the_first_runs_id(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        first = await w.create("job", 1, dedupe_key="k")
        again = await w.jobs.create("job", 2, dedupe_key="k", tags=["ignored"])
        assert again == Created(first, is_new=False, payload_differs=True)
        await w.deliver(first)
        again = await w.jobs.create("job", 3, dedupe_key="k")
        assert again == Created(first, is_new=False, payload_differs=True)
        assert (await w.sizes())["kumofire_runs"] == 1
        assert w.queue.sent == [(first, 0)]


@pytest.mark.parametrize("scopes", [("forever", "active"), ("active", "forever")])
async def test_a_key_is_one_key_whatever_the_scope_of_who_asks(kit: Kit, scopes: Any) -> None:
    register(kit)
    async with kit.bound() as w:
        first = await w.create("job", 1, dedupe_key="k", dedupe=scopes[0])
        again = await w.jobs.create("job", 2, dedupe_key="k", dedupe=scopes[1])
        assert again == Created(first, is_new=False, payload_differs=True)


async def test_a_key_belongs_to_its_job_and_no_key_to_nobody(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        created = [
            await w.jobs.create(name, 1, dedupe_key=key)
            for name, key in [
                ("job", "k"),
                ("other", "k"),
                ("job", "K"),
                ("job", None),
                ("job", None),
                ("job", " k"),
            ]
        ]
        assert all(each.is_new for each in created)


async def settle_as(w: Bound, state: str) -> str:
    payload = {"failed": "fail", "canceled": "cancel"}.get(state, 1)
    expires = w.clock.time + timedelta(seconds=60)
    run_id = await w.create("job", payload, dedupe_key="k", dedupe="active", expires_at=expires)
    if state == "expired":
        w.clock.advance(60)
    if state == "canceled by a person":
        await w.jobs.cancel(run_id)
    await w.deliver(run_id)
    await w.jobs.dispatch()
    return run_id


@pytest.mark.parametrize("state", ["succeeded", "failed", "canceled", "canceled by a person", "expired"])
async def test_an_active_key_is_free_once_its_run_is_settled(kit: Kit, state: str) -> None:
    register(kit)
    async with kit.bound() as w:
        first = await settle_as(w, state)
        status = await w.status(first)
        assert status.settled
        assert status.dedupe_key == "k"
        second = await w.jobs.create("job", 2, dedupe_key="k", dedupe="active")
        assert second.is_new
        assert await w.jobs.create("job", 3, dedupe_key="k", dedupe="active") == Created(
            second.kumofire_job_run_id, False, payload_differs=True
        )


async def test_an_active_key_is_held_while_its_run_waits_for_a_retry(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx, payload):
        raise ValueError

    async with kit.bound() as w:
        run_id = await w.create("job", 1, dedupe_key="k", dedupe="active")
        await w.deliver(run_id)
        assert await w.state(run_id) == "retrying"
        assert await w.jobs.create("job", 1, dedupe_key="k", dedupe="active") == Created(run_id, False)


async def test_duplicates_inside_one_create_many_become_one_run(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        held = await w.create("job", 0, dedupe_key="held")
        w.queue.clear()
        large = "x" * 2000
        created = await w.jobs.create_many(
            [NewRun("job", large, dedupe_key="a"), NewRun("job", "y" * 2000, dedupe_key="a"), NewRun("job", 3), NewRun("job", 4, dedupe_key="held")]
        )  # fmt: skip
        a = created[0].kumofire_job_run_id
        assert [each.is_new for each in created] == [True, False, True, False]
        assert (created[1].kumofire_job_run_id, created[3].kumofire_job_run_id) == (a, held)
        assert {run_id for run_id, _ in w.queue.sent} == {a, created[2].kumofire_job_run_id}
        assert await w.sql("SELECT owner, body FROM kumofire_bodies") == [(a, f'"{large}"')]
        assert (await w.sizes())["kumofire_runs"] == 3


async def test_duplicates_in_different_statements_of_one_create_many_become_one_run(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        created = await w.jobs.create_many([NewRun("job", "x" * 200_000, dedupe_key="a") for _ in range(6)])
        assert w.storage.trips > 1
        assert [each.is_new for each in created] == [True] + [False] * 5
        assert len({each.kumofire_job_run_id for each in created}) == 1


async def test_twenty_creates_at_once_make_one_run(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        created = await asyncio.gather(*(w.jobs.create("job", n, dedupe_key="k") for n in range(20)))
        assert sum(each.is_new for each in created) == 1
        assert len({each.kumofire_job_run_id for each in created}) == 1
        assert (await w.sizes())["kumofire_runs"] == 1
        assert len(w.queue.sent) == 1


@pytest.mark.parametrize("scope", ["forever", "active"])
async def test_creates_at_once_on_two_storages_of_one_file_make_one_run(
    kit: Kit, tmp_path: Path, scope: Any
) -> None:
    register(kit)
    path = tmp_path / "jobs.db"
    async with kit.bound(path) as one, kit.bound(path) as two:
        created = await asyncio.gather(
            *(w.jobs.create("job", n, dedupe_key="k", dedupe=scope) for n in range(10) for w in (one, two))
        )
        assert sum(each.is_new for each in created) == 1
        assert len({each.kumofire_job_run_id for each in created}) == 1
        assert len(one.queue.sent + two.queue.sent) == 1
