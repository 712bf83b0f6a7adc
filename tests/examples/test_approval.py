"""The approval: a person's word, a deadline of three days, and what is counted, cancelled and pruned."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest

from kumofire_fsm import TransitionNotAllowed
from kumofire_fsm.errors import RowRefused


@pytest.fixture
def approval(load):
    return load("approval")


async def test_who_approves_is_noted_and_the_run_goes_on(approval, kit, capsys):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        assert w.queue.sent == []
        kit.clock.advance(hours=5)
        status = await w.jobs.fire(run_id, "approve", by="ana", note="within the budget")
        assert (status.state, status.history[-1].event) == ("ready", "approve")
        assert status.history[-1].facts == {"by": "ana", "note": "within the budget"}
        assert status.history[-1].at == kit.clock.time
        assert capsys.readouterr().out == "approved by ana: within the budget\n"
        assert w.queue.sent == [(run_id, 0)]
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.result) == ("succeeded", "7 paid at attempt 1")


async def test_nothing_but_an_approval_starts_it(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        await w.jobs.dispatch()
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "approval"


async def test_after_three_days_without_an_answer_it_lapses(approval, kit, capsys):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        kit.clock.advance(days=3, milliseconds=-1)
        assert (await w.jobs.dispatch()).moved == 0
        kit.clock.advance(milliseconds=1)
        assert (await w.jobs.dispatch()).moved == 1
        status = await w.status(run_id)
        assert (status.state, status.settled, status.finished_at) == ("lapsed", True, kit.clock.time)
        assert capsys.readouterr().out == f"nobody answered: {run_id}\n"
        with pytest.raises(TransitionNotAllowed, match="legal now: nothing"):
            await w.jobs.fire(run_id, "approve")


async def test_a_rejected_run_is_settled_and_says_why(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7, dedupe_key="invoice 7", dedupe="active")
        status = await w.jobs.fire(run_id, "reject", by="ben")
        assert (status.state, status.settled, status.history[-1].facts) == ("rejected", True, {"by": "ben"})
        assert (await w.jobs.wait(run_id)).state == "rejected"
        assert (await w.jobs.create("pay", 7, dedupe_key="invoice 7", dedupe="active")).is_new


async def test_it_may_be_cancelled_while_it_waits(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        assert (await w.jobs.cancel(run_id)).state == "canceled"
        with pytest.raises(TransitionNotAllowed):
            await w.jobs.fire(run_id, "approve")


async def test_cancel_is_refused_once_it_is_rejected(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        await w.jobs.fire(run_id, "reject")
        with pytest.raises(
            TransitionNotAllowed, match=r"'cancel' is not allowed from 'rejected'; legal now: nothing"
        ):
            await w.jobs.cancel(run_id)


async def test_its_deadline_is_no_event_for_people(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        said = r"fired by consumers and deadlines only; people may fire now: cancel, approve, reject"
        with pytest.raises(TransitionNotAllowed, match=said):
            await w.jobs.fire(run_id, "lapse")


async def test_lists_and_counts_show_its_states(approval, kit):
    async with kit.bound(app=approval.app) as w:
        ids = await w.create_in_order("pay", range(4))
        await w.jobs.fire(ids[0], "approve")
        await w.jobs.fire(ids[1], "reject")
        assert await w.jobs.count_runs() == {"approval": 2, "ready": 1, "rejected": 1}
        page = await w.jobs.list_runs(state=["approval", "rejected"])
        found = [(run.kumofire_job_run_id, run.state) for run in page.runs]
        assert found == [(ids[3], "approval"), (ids[2], "approval"), (ids[1], "rejected")]


async def test_only_what_is_settled_is_pruned(approval, kit):
    async with kit.bound(app=approval.app) as w:
        ids = await w.create_in_order("pay", range(4))
        await w.jobs.fire(ids[0], "reject")
        await w.jobs.fire(ids[1], "approve")
        kit.clock.advance(days=3)
        await w.jobs.dispatch()
        assert await w.jobs.prune(older_than=timedelta(days=1)) == 1
        kit.clock.advance(1)
        assert await w.jobs.prune(older_than=0) == 2
        assert await w.jobs.count_runs() == {"queued": 1}


async def test_a_write_beside_the_api_cannot_skip_the_approval(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        with pytest.raises(
            (RowRefused, sqlite3.IntegrityError), match="kumofire: the machine has no such edge"
        ):
            await w.sql("UPDATE kumofire_runs SET state = 'running' WHERE id = ?", run_id)
        assert await w.state(run_id) == "approval"


async def test_a_run_that_was_cancelled_is_approved_again_and_has_three_days_for_it(approval, kit):
    async with kit.bound(app=approval.app) as w:
        run_id = await w.create("pay", 7)
        await w.jobs.cancel(run_id)
        kit.clock.advance(days=30)
        assert (await w.jobs.redrive(run_id)).state == "approval"
        kit.clock.advance(days=3, milliseconds=-1)
        assert (await w.jobs.dispatch()).moved == 0
        kit.clock.advance(milliseconds=1)
        await w.jobs.dispatch()
        assert await w.state(run_id) == "lapsed"


def test_without_an_approval_no_way_leads_to_work(approval):
    spec = approval.ApprovedRun.spec
    found, todo = {spec.initial.id}, [spec.initial.id]
    while todo:
        state = todo.pop()
        reached = {edge.target for edge in spec.edges if edge.source == state and edge.event != "approve"}
        todo += reached - found
        found |= reached
    assert found == {"approval", "rejected", "lapsed", "canceled"}
