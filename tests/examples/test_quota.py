"""The quota: the handler parks its run by an event of its own, and a deadline or a person resumes it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kumofire_fsm import TransitionNotAllowed


@pytest.fixture
def quota(load):
    return load("quota")


async def test_what_is_over_the_quota_is_parked_until_its_reset(quota, kit):
    async with kit.bound(app=quota.app, env=quota.Service(reset_after=3600)) as w:
        ids = await w.create_in_order("translate", "abc")
        assert await w.deliver(*ids) == ["ack"] * 3
        assert await w.jobs.count_runs() == {"succeeded": 2, "parked": 1}
        status = await w.status(ids[2])
        assert (status.attempt, status.run_at) == (0, kit.clock.time + timedelta(hours=1))
        last = status.history[-1]
        assert (last.event, last.state, last.facts) == ("park", "parked", {"note": "the quota is used up"})
        kit.clock.advance(hours=1, milliseconds=-1)
        assert (await w.jobs.dispatch()).moved == 0
        kit.clock.advance(milliseconds=1)
        w.queue.clear()
        await w.jobs.dispatch()
        assert w.queue.sent == [(ids[2], 0)]
        await w.deliver(ids[2])
        assert (await w.status(ids[2])).result == "C"


async def parked(w):
    ids = await w.create_in_order("translate", "abc")
    await w.deliver(*ids)
    return ids[2]


async def test_a_person_may_resume_it_early_and_nobody_else_may_park(quota, kit):
    async with kit.bound(app=quota.app, env=quota.Service(reset_after=3600)) as w:
        run_id = await parked(w)
        w.queue.clear()
        status = await w.jobs.fire(run_id, "unpark", by="ana", note="bought more")
        assert (status.state, status.history[-1].facts) == ("ready", {"by": "ana", "note": "bought more"})
        assert w.queue.sent == [(run_id, 0)]
        with pytest.raises(TransitionNotAllowed, match="fired by consumers and deadlines only"):
            await w.jobs.fire(run_id, "park")


async def test_a_parked_run_may_be_cancelled_and_is_listed_and_never_pruned(quota, kit):
    async with kit.bound(app=quota.app, env=quota.Service(reset_after=3600)) as w:
        run_id = await parked(w)
        page = await w.jobs.list_runs(state="parked")
        assert [run.kumofire_job_run_id for run in page.runs] == [run_id]
        kit.clock.advance(days=1)
        assert await w.jobs.prune(older_than=0) == 2
        assert (await w.jobs.cancel(run_id)).state == "canceled"
