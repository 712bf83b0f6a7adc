"""Polling: Snooze leads to a state of its own, which leads back to the handler until the patience ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes import START


@pytest.fixture
def polling(load):
    return load("poll_until_ready")


class Never:
    """A service that never has the report."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def ask(self, name: str) -> None:
        return None


async def test_it_asks_again_at_its_time_until_the_report_is_there(polling, kit):
    async with kit.bound(app=polling.app, env=polling.Service(pause=120)) as w:
        run_id = await w.create("fetch-report", "sales")
        for _ in range(2):
            assert await w.deliver(run_id) == ["ack"]
            status = await w.status(run_id)
            assert (status.state, status.attempt) == ("polling", 0)
            assert status.run_at == kit.clock.time + timedelta(seconds=120)
            kit.clock.advance(119)
            assert (await w.jobs.dispatch()).moved == 0
            kit.clock.advance(1)
            w.queue.clear()
            await w.jobs.dispatch()
            assert w.queue.sent == [(run_id, 0)]
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.attempt, status.result) == ("succeeded", 1, "sales: 42 pages")


async def test_after_ten_minutes_in_all_it_is_too_late_even_before_the_next_question(polling, kit):
    async with kit.bound(app=polling.app, env=Never(pause=400)) as w:
        run_id = await w.create("fetch-report", "sales")
        await w.deliver(run_id)
        kit.clock.advance(400)
        await w.jobs.dispatch()
        await w.deliver(run_id)
        assert (await w.row(run_id))["wake_at"] == int((START + timedelta(minutes=10)).timestamp() * 1000)
        kit.clock.advance(200)
        await w.jobs.dispatch()
        status = await w.status(run_id)
        assert (status.state, status.settled, status.finished_at) == ("too_late", True, kit.clock.time)
        kit.clock.advance(1)
        assert await w.jobs.prune(older_than=0) == 1


async def test_it_may_be_cancelled_between_two_questions_and_is_listed(polling, kit):
    async with kit.bound(app=polling.app, env=Never(pause=60)) as w:
        ids = [await w.create("fetch-report", name) for name in ("a", "b")]
        await w.deliver(*ids)
        assert await w.jobs.count_runs() == {"polling": 2}
        assert len((await w.jobs.list_runs(state="polling")).runs) == 2
        assert (await w.jobs.cancel(ids[0])).state == "canceled"


async def test_a_snooze_that_meets_a_cancellation_ends_the_run(polling, kit):
    @polling.app.on("start")
    async def cancel(transition) -> None:
        await transition.jobs.cancel(transition.run.kumofire_job_run_id)

    async with kit.bound(app=polling.app, env=Never(pause=60)) as w:
        run_id = await w.create("fetch-report", "sales")
        assert await w.deliver(run_id) == ["ack"]
        events = [(entry.event, entry.state) for entry in (await w.status(run_id)).history[-2:]]
        assert events == [("cancel", "canceling"), ("snooze", "canceled")]
