"""An adapter sends an idempotent statement again when its answer was lost; the second answer must do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from fakes import FakeBatch, FakeMessage, RecordingQueue
from harness import Kit

from kumofire_fsm import Cancel, Fail, NewRun, Retry, Snooze
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.schema import migrate

OUTCOMES = {
    "result": ("succeeded", "ack"),
    "large": ("succeeded", "ack"),
    "error": ("retrying", 2),
    "retry": ("retrying", 7),
    "snooze": ("ready", 30),
    "fail": ("failed", "ack"),
    "cancel": ("canceled", "ack"),
}


class RepeatingStorage:
    """Sends twice whatever may be sent twice, and gives the second answer."""

    def __init__(self, inner: SqliteStorage) -> None:
        self.inner = inner

    async def execute(self, statement: Statement) -> list[Row]:
        if statement.idempotent:
            await self.inner.execute(statement)
        return await self.inner.execute(statement)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if all(each.idempotent or each.reads for each in statements):
            await self.inner.batch(statements)
        return await self.inner.batch(statements)


def register(kit: Kit) -> list[str]:
    """Register a job whose payload says how it ends; return what it was called with."""
    calls: list[str] = []

    @kit.job("job")
    async def job(ctx: Any, how: str) -> Any:
        calls.append(how)
        if how == "error":
            raise ValueError(how)
        signals = {"retry": Retry(after=7), "snooze": Snooze(30), "fail": Fail(how), "cancel": Cancel(how)}
        if how in signals:
            raise signals[how]
        return "r" * 5000 if how == "large" else how

    return calls


@pytest.mark.parametrize("together", [True, False])
async def test_every_outcome_is_found_settled_by_the_second_answer(kit: Kit, together: bool) -> None:
    calls = register(kit)
    storage, queue = SqliteStorage(":memory:", synchronous="OFF"), RecordingQueue()
    try:
        await storage.call(migrate)
        jobs = kit.app.bind(db=RepeatingStorage(storage), queue=queue)
        created = await jobs.create_many([NewRun("job", how) for how in OUTCOMES])
        messages = [FakeMessage.of(each.kumofire_job_run_id) for each in created]
        for batch in [messages] if together else [[message] for message in messages]:
            await jobs.consume_batch(FakeBatch(batch))
        assert [message.disposition for message in messages] == [
            disposition for _, disposition in OUTCOMES.values()
        ]
        assert sorted(calls) == sorted(OUTCOMES)
        for each, (state, _) in zip(created, OUTCOMES.values(), strict=True):
            status = await jobs.get_status(each.kumofire_job_run_id)
            assert status is not None
            assert (status.state, status.attempt) == (state, 0 if state == "ready" else 1)
            assert [entry.event for entry in status.history][:3] == ["create", "enqueue", "start"]
            assert len(status.history) == 4, "each move was made once"
        kit.clock.advance(timedelta(minutes=1) / timedelta(seconds=1))
        assert (await jobs.dispatch()).complete
    finally:
        await storage.close()
