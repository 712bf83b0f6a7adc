"""One call of a handler, and every way in which it ends, as a value."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flows import Data, Handlers, Order
from shop_jobs import Mail, app, count, ends, mail, pay, plain, welcome

from kumofire_fsm import Backoff, Kumofire, RunContext
from kumofire_fsm.errors import DefinitionError, InvalidArgument, InvalidPayload, UnknownJob
from kumofire_fsm.testing import VirtualClock, perform

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_success_has_the_result_as_its_annotation_says() -> None:
    done = await perform(mail, {"to": "ana"}, app=app)
    assert (done.event, done.state, done.result) == ("succeed", "succeeded", Mail(to="ana"))
    assert (done.name, done.attempt, done.at, done.step) == ("mail", 1, START, None)
    assert (done.error, done.error_type, done.delay, done.commits, done.created) == (None, None, None, (), ())


async def test_a_failure_has_its_error_and_the_longest_wait_of_the_backoff() -> None:
    done = await perform(mail, Mail(to="flaky"), app=app)
    assert (done.event, done.state, done.error_type) == ("retry", "retrying", "ConnectionError")
    assert (done.delay, done.result) == (timedelta(seconds=10), None)
    assert done.error is not None
    assert done.error.startswith("ConnectionError: the network is down\nTraceback")


@pytest.mark.parametrize(
    ("how", "attempt", "event", "state", "delay"),
    [
        ("fail", 1, "fail", "failed", None),
        ("retry", 1, "retry", "retrying", timedelta(seconds=5)),
        ("retry", 2, "retry", "failed", None),
        ("snooze", 2, "snooze", "ready", timedelta(hours=1)),
        ("cancel", 1, "stop", "canceled", None),
        ("fire", 1, "release", "queued", timedelta(0)),
        ("nonsense", 1, "retry", "retrying", timedelta(seconds=10)),
    ],
)
async def test_every_ending_leads_where_the_lifecycle_says(
    how: str, attempt: int, event: str, state: str, delay: timedelta | None
) -> None:
    done = await perform(ends, how, app=app, attempt=attempt)
    assert (done.event, done.state, done.delay, done.attempt) == (event, state, delay, attempt)


async def test_what_is_committed_is_recorded_and_what_is_created_is_told() -> None:
    done = await perform(welcome, "ana", app=app)
    assert done.state == "succeeded"
    assert done.commits == (("INSERT INTO welcomed (name) VALUES (?)", ("ana",)),)
    now, later = done.created
    assert (now.name, now.payload["to"], now.run_at) == ("mail", "ana", START)
    assert (later.tags, later.run_at) == (("survey",), START + timedelta(days=1))


async def test_a_plain_handler_beats_and_calls_in_its_thread() -> None:
    done = await perform(count, 2, app=app)
    assert (done.result, done.heartbeats, done.progress) == (1, ({"done": 1}, {"done": 2}, None), {"done": 2})


async def test_a_heartbeat_finds_the_request_to_stop() -> None:
    done = await perform(count, 2, app=app, canceled=True)
    assert (done.event, done.state, done.error) == ("stop", "canceled", "asked to stop")
    assert done.heartbeats == ({"done": 1},)


async def test_the_context_has_what_is_given() -> None:
    clock = VirtualClock(datetime(2030, 5, 1, tzinfo=UTC))

    async def look(ctx: RunContext) -> list[Any]:
        return [ctx.attempt, ctx.env, ctx.progress, ctx.now().year]

    done = await perform(look, env={"a": 1}, clock=clock, attempt=7, progress={"page": 3})
    assert done.result == [7, {"a": 1}, {"page": 3}, 2030]


async def test_a_run_that_waits_for_a_person_first_is_performed_as_if_it_were_ready() -> None:
    done = await perform(pay, 5, app=app)
    assert (done.state, done.result) == ("succeeded", 5)


async def test_a_handler_that_takes_too_long_has_timed_out() -> None:
    here = Kumofire()

    @here.job("slow", timeout=0.01)
    async def slow(ctx: RunContext) -> None:
        await asyncio.Event().wait()

    done = await perform(slow, app=here)
    assert (done.state, done.error) == (
        "retrying",
        "TimeoutError: the handler took longer than its timeout of 0.01 s",
    )


async def test_who_gives_up_the_call_ends_it() -> None:
    ended, begun = list[str](), asyncio.Event()

    async def endless(ctx: RunContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    performing = asyncio.ensure_future(perform(endless))
    await begun.wait()
    performing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await performing
    assert ended == ["ended"]


async def test_a_handler_that_nobody_registers_is_called_with_the_defaults_of_a_job() -> None:
    assert (await perform(plain_model)).name == "plain_model"
    assert (await perform(mail, Mail(to="flaky"))).delay == timedelta(seconds=2)
    with pytest.raises(DefinitionError, match="would be the context"):
        await perform(plain, {})


async def test_a_step_of_a_flow_is_performed_with_its_data() -> None:
    flows = Kumofire()
    Handlers(flows, Order)
    (charge,) = (each.tasks["charge"].handler for each in flows.registry.jobs.values())  # type: ignore[attr-defined]
    done = await perform(charge, Data(number=7, total=200_000), app=flows)
    assert (done.name, done.step, done.event, done.state) == ("order", "charge", "rest", "waiting")
    assert done.result == Data(number=7, total=200_000, charge_id="paid")


@pytest.mark.parametrize(
    ("payload", "options", "error"),
    [
        ({"subject": 1}, {"app": app}, InvalidPayload),
        (Mail(to="a"), {"app": Kumofire()}, UnknownJob),
        (Mail(to="a"), {"app": app, "attempt": 0}, InvalidArgument),
        (Mail(to="a"), {"app": app, "progress": object()}, InvalidArgument),
    ],
)
async def test_what_cannot_be_performed_is_refused(
    payload: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await perform(mail, payload, **options)


async def test_nothing_of_a_call_is_left_for_the_next() -> None:
    first, second = [await perform(welcome, "ana", app=app) for _ in range(2)]
    assert first == second


def plain_model(ctx: RunContext) -> None:
    """Do nothing."""


def test_the_backoff_of_the_example_has_jitter() -> None:
    assert app._retry == Backoff(first=10, jitter=True)
