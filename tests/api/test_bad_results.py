"""A result that cannot be stored fails its run at once, and says why."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm.errors import InvalidPayload

BAD = {
    "set": {1},
    "bytes": b"x",
    "NaN": [float("nan")],
    "object": object(),
    "2**53": {"a": 2**53},
    "surrogate": "\ud800",
    "oversized": "x" * 256 * 1024,
    "integer key": {1: "a"},
}


async def run_once(w: Bound, name: str, payload: Any = None) -> Any:
    run_id = await w.create(name, payload)
    assert await w.deliver(run_id) == ["ack"]
    return await w.status(run_id)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("typed", [False, True])
async def test_a_result_that_is_not_json_fails_at_once_with_attempts_left(
    kit: Kit, kind: str, typed: bool
) -> None:
    async def handler(ctx):
        return {"value": BAD[kind]} if typed else BAD[kind]

    if typed:
        handler.__annotations__["return"] = dict[str, Any]
    kit.job("bad", max_attempts=5)(handler)
    async with kit.bound() as w:
        status = await run_once(w, "bad")
        assert (status.state, status.attempt, status.max_attempts, status.result) == ("failed", 1, 5, None)
        assert status.last_error.startswith("InvalidResult: the result of 'bad' cannot be stored: ")
        assert await w.sizes() == {"kumofire_runs": 1, "kumofire_bodies": 0, "kumofire_schedules": 0}


@pytest.mark.parametrize("value", ["text", None])
async def test_a_result_that_does_not_fit_its_annotation_fails_at_once(kit: Kit, value: Any) -> None:
    @kit.job("count")
    async def count(ctx: Any) -> int:
        return value

    async with kit.bound() as w:
        status = await run_once(w, "count")
        assert (status.state, status.result) == ("failed", None)


async def test_one_bad_result_does_not_touch_its_neighbours(kit: Kit) -> None:
    @kit.job("some")
    async def some(ctx: Any, payload: int) -> Any:
        return {payload} if payload == 1 else payload

    async with kit.bound() as w:
        ids = [await w.create("some", n) for n in range(3)]
        await w.deliver(*ids)
        assert [await w.state(i) for i in ids] == ["succeeded", "failed", "succeeded"]


async def test_a_stored_payload_that_no_longer_validates_is_retried_until_a_deploy_mends_it(kit: Kit) -> None:
    async def old(ctx: Any, payload: dict[str, Any]) -> None: ...

    async def new(ctx: Any, payload: dict[str, int]) -> None:
        pytest.fail("called with a payload that does not validate")

    later, mended = kit.another_app(), kit.another_app()
    kit.job("job")(old)
    later.job("job")(new)
    mended.job("job")(old)
    async with kit.bound() as w:
        run_id = await w.create("job", {"a": "text"})
        jobs = later.bind(db=w.storage, queue=w.queue)
        assert (await jobs.consume({"version": 1, "kumofireJobRunId": run_id})).ack is False
        status = await w.status(run_id)
        assert (status.state, status.attempt) == ("retrying", 1)
        assert "ValidationError" in status.last_error
        w.clock.advance(2)
        await mended.bind(db=w.storage, queue=w.queue).consume({"version": 1, "kumofireJobRunId": run_id})
        assert (await w.status(run_id)).state == "succeeded"


async def test_a_payload_that_is_no_json_any_more_is_retried(kit: Kit) -> None:
    @kit.job("job")
    async def handler(ctx: Any, payload: Any) -> None: ...

    async with kit.bound() as w:
        run_id = await w.create("job", 1)
        await w.sql("UPDATE kumofire_runs SET payload = '{' WHERE id = ?", run_id)
        assert await w.deliver(run_id) == [2]
        assert (await w.status(run_id)).state == "retrying"


@pytest.mark.parametrize("annotation", [Any, str])
async def test_a_payload_whose_own_row_is_gone_fails_alone(kit: Kit, annotation: Any) -> None:
    async def handler(ctx, payload):
        return len(payload)

    handler.__annotations__["payload"] = annotation
    kit.job("job")(handler)
    async with kit.bound() as w:
        ids = [await w.create("job", letter * 1000) for letter in "abc"]
        await w.sql("DELETE FROM kumofire_bodies WHERE owner = ?", ids[1])
        await w.deliver(*ids)
        assert [await w.state(i) for i in ids] == ["succeeded", "retrying", "succeeded"]


async def test_a_refused_payload_of_an_update_leaves_the_schedule_alone(kit: Kit) -> None:
    @kit.job("job")
    async def handler(ctx: Any, payload: dict[str, int]) -> None: ...

    async with kit.bound() as w:
        with pytest.raises(InvalidPayload):
            await w.jobs.create_schedule("job", {"a": "x"}, cron="* * * * *")
        assert (await w.sizes())["kumofire_schedules"] == 0
        before = await w.jobs.create_schedule("job", {"a": 1}, cron="* * * * *")
        with pytest.raises(InvalidPayload):
            await w.jobs.update_schedule(before.id, payload={"a": "x"})
        assert await w.jobs.get_schedule(before.id) == before
