"""Deleting what settled long ago."""

from __future__ import annotations

from datetime import timedelta

import pytest
from harness import TABLES, Kit
from states import SETTLED, STATES, register, run_in

from kumofire_fsm import InvalidArgument, UnknownRun


async def test_prune_deletes_what_settled_long_ago_with_its_bodies_and_frees_its_key(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        ids = {state: await run_in(w, state, dedupe_key=state) for state in STATES}
        kit.clock.advance(hours=1)
        assert await w.jobs.prune(older_than=timedelta(hours=1)) == 0
        kit.clock.advance(milliseconds=1)
        assert await w.jobs.prune(older_than=timedelta(hours=1)) == 3
        for state, run_id in ids.items():
            assert (await w.jobs.get_status(run_id) is None) == (state in SETTLED)
        assert (await w.sizes())["kumofire_bodies"] == 0
        with pytest.raises(UnknownRun):
            await w.jobs.redrive(ids["failed"])
        assert (await w.jobs.create("job", 1, dedupe_key="failed")).is_new


async def test_a_run_is_kept_by_when_it_settled_however_long_ago_it_was_created(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, "queued")
        kit.clock.advance(days=30)
        assert await w.deliver(run_id) == ["ack"]
        kit.clock.advance(minutes=1)
        assert await w.jobs.prune(older_than=timedelta(minutes=1)) == 0
        assert await w.state(run_id) == "succeeded"
        assert (await w.sizes())["kumofire_bodies"] == 1, "its result stands apart"
        kit.clock.advance(milliseconds=1)
        assert await w.jobs.prune(older_than=timedelta(minutes=1)) == 1
        assert await w.sizes() == dict.fromkeys(TABLES, 0)


async def test_prune_deletes_the_oldest_first_up_to_its_limit(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        ids = []
        for _ in range(5):
            ids.append(await run_in(w, "canceled"))
            kit.clock.advance(1)
        assert await w.jobs.prune(older_than=0, limit=2) == 2
        assert [await w.jobs.get_status(i) is None for i in ids] == [True, True, False, False, False]
        for bad in (-1, "1", None):
            with pytest.raises(InvalidArgument):
                await w.jobs.prune(older_than=bad)
        for limit in (0, -1, "5"):
            with pytest.raises(InvalidArgument):
                await w.jobs.prune(older_than=0, limit=limit)
