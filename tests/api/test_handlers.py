"""How handlers are called: async or plain, what their context offers, and how long they may take."""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit

from kumofire_fsm import Cancel, InvalidArgument, Retry, RunMachine, Snooze
from kumofire_fsm.errors import TooLarge
from kumofire_fsm.machines import Actor, Event
from kumofire_fsm.work.context import RunFacts


async def result_of(w: Bound, name: str, payload: Any = None, **options: Any) -> Any:
    run_id = await w.create(name, payload, **options)
    assert await w.deliver(run_id) == ["ack"]
    status = await w.status(run_id)
    assert (status.state, status.last_error) == ("succeeded", None)
    return status.result


class Called:
    async def __call__(self, ctx: Any, payload: int) -> int:
        return payload + 1

    async def method(self, ctx: Any, payload: int) -> int:
        return payload + 1


async def plus(extra: int, ctx: Any, payload: int) -> int:
    return payload + extra


def traced(function: Any) -> Any:
    """An async decorator around a plain function."""

    @functools.wraps(function)
    async def inner(*args: Any) -> Any:
        return function(*args)

    return inner


def plain_wrapper(function: Any) -> Any:
    """A plain decorator around an async function."""

    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


async def async_handler(ctx: Any, payload: int) -> int:
    await asyncio.sleep(0)
    return payload + 1


def plain_handler(ctx: Any, payload: int) -> int:
    return payload + 1


@pytest.mark.parametrize(
    "handler",
    [async_handler, plain_handler, Called().method, Called(), functools.partial(plus, 1), traced(plain_handler), plain_wrapper(async_handler)],
    ids=["async", "plain", "method", "object", "partial", "async around plain", "plain around async"],
)  # fmt: skip
async def test_every_kind_of_callable_works(kit: Kit, handler: Any) -> None:
    kit.job("job")(handler)
    async with kit.bound() as w:
        assert await result_of(w, "job", 1) == 2


async def test_the_context_tells_the_run_the_attempt_the_environment_and_the_time(kit: Kit) -> None:
    seen: list[Any] = []

    @kit.job("job", max_attempts=7)
    async def job(ctx: Any) -> None:
        seen.append((ctx.run, ctx.attempt, ctx.env, ctx.now(), ctx.canceled))

    async with kit.bound(env={"token": 1}) as w:
        due = START + timedelta(seconds=30)
        run_id = await w.create("job", tags=["a", "b"], run_at=due)
        kit.clock.advance(31)
        await w.deliver(run_id)
        facts = RunFacts(
            id=run_id,
            name="job",
            run_at=due,
            created_at=START,
            scheduled_for=None,
            schedule_id=None,
            max_attempts=7,
            tags=("a", "b"),
        )
        assert seen == [(facts, 1, {"token": 1}, START + timedelta(seconds=31), False)]


async def test_the_context_of_a_recurring_run_tells_what_it_was_scheduled_for(kit: Kit) -> None:
    seen: list[Any] = []

    @kit.job("job")
    async def job(ctx: Any) -> None:
        seen.append((ctx.run.scheduled_for, ctx.run.schedule_id))

    async with kit.bound() as w:
        schedule = await w.jobs.create_schedule("job", every=60)
        kit.clock.advance(75)
        await w.jobs.dispatch()
        await w.deliver(w.queue.sent[0][0])
        assert seen == [(START + timedelta(seconds=60), schedule.id)]


async def test_a_handler_creates_and_looks_at_other_runs(kit: Kit) -> None:
    @kit.job("parent")
    async def parent(ctx: Any) -> list[str]:
        child = await ctx.jobs.create("child", ctx.run.id)
        return [child.kumofire_job_run_id, (await ctx.jobs.get_status(ctx.run.id)).state]

    @kit.job("child")
    async def child(ctx: Any, payload: str) -> str:
        return payload

    async with kit.bound() as w:
        run_id = await w.create("parent")
        await w.deliver(run_id)
        child_id, state = (await w.status(run_id)).result
        assert state == "running"
        await w.deliver(child_id)
        assert (await w.status(child_id)).result == run_id


async def test_a_heartbeat_stores_progress_and_renews_the_lease_up_to_the_timeout(kit: Kit) -> None:
    @kit.job("job", timeout=60)
    async def job(ctx: Any) -> None:
        first = await w.row(ctx.run.id)
        kit.clock.advance(5)
        await ctx.heartbeat(progress={"done": 1})
        await ctx.heartbeat()
        row = await w.row(ctx.run.id)
        assert (first["wake_at"], first["timeout_at"]) == (kit.clock.now() + 65_000, kit.clock.now() + 65_000)
        assert row["wake_at"] == first["timeout_at"]  # never past the timeout
        assert (await w.status(ctx.run.id)).progress == {"done": 1}
        assert ctx.canceled is False

    async with kit.bound() as w:
        await result_of(w, "job")


@pytest.mark.parametrize(
    ("progress", "error"),
    [({1}, InvalidArgument), (float("nan"), InvalidArgument), (2**53, InvalidArgument), ("\ud800", InvalidArgument), ("x" * 4095, TooLarge)],
    ids=["set", "nan", "long", "surrogate", "large"],
)  # fmt: skip
async def test_a_progress_that_cannot_be_stored_is_refused(
    kit: Kit, progress: Any, error: type[Exception]
) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        with pytest.raises(error):
            await ctx.heartbeat(progress=progress)

    async with kit.bound() as w:
        await result_of(w, "job")


async def test_a_handler_learns_of_a_cancellation_and_answers_it(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        await w.jobs.cancel(ctx.run.id)
        assert ctx.canceled is False
        await ctx.heartbeat()
        assert ctx.canceled is True
        raise Cancel("asked to")

    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.last_error) == ("canceled", "asked to")
        assert [e.state for e in status.history][-2:] == ["canceling", "canceled"]


async def test_a_heartbeat_does_not_prolong_a_cancellation(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> str:
        await w.jobs.cancel(ctx.run.id)
        before = (await w.row(ctx.run.id))["wake_at"]
        kit.clock.advance(10)
        await ctx.heartbeat(1)
        with pytest.raises(asyncio.CancelledError):  # where it waits next
            await asyncio.sleep(0)
        assert (await w.row(ctx.run.id))["wake_at"] == before
        return "finished all the same"

    async with kit.bound() as w:
        assert await result_of(w, "job") == "finished all the same"


@pytest.mark.parametrize("kind", ["error", "retry", "snooze"])
async def test_whatever_ends_a_canceling_attempt_ends_the_run(kit: Kit, kind: str) -> None:
    @kit.job("job", max_attempts=9)
    async def job(ctx: Any) -> None:
        await w.jobs.cancel(ctx.run.id)
        raise {"error": ValueError("x"), "retry": Retry(), "snooze": Snooze(9)}[kind]

    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "canceled"


async def test_a_retry_is_logged_and_noted_with_the_first_line_of_its_error_cut_with_a_mark(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("ship", max_attempts=3)
    async def ship(ctx: Any) -> None:
        raise ValueError("no van\nat all" if ctx.attempt == 1 else "\N{DELIVERY TRUCK}" * 300)

    async with kit.bound() as w:
        run_id = await w.create("ship")
        await w.deliver(run_id)
        assert (await w.status(run_id)).history[-1].facts == {"error": "ValueError: no van"}
        assert caplog.messages == [
            f"run {run_id} of job 'ship': attempt 1 of 3 failed, and is tried again: ValueError: no van"
        ]
        kit.clock.advance(60)
        await w.deliver(run_id)
        cut = f"ValueError: {chr(0x1F69A) * 67}\N{HORIZONTAL ELLIPSIS}"
        assert (await w.status(run_id)).history[-1].facts == {"error": cut}
        assert caplog.messages[-1].endswith(f"tried again: {cut}")


async def test_the_last_failure_is_a_retry_that_the_machine_ends_and_no_policy_is_asked(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def policy(attempt: int, _error: BaseException) -> float:
        asked.append(attempt)
        return 1

    @kit.job("ship", max_attempts=2, retry=policy)
    async def ship(ctx: Any) -> None:
        raise ValueError("no van")

    async with kit.bound() as w:
        run_id = await w.create("ship")
        await w.deliver(run_id)
        kit.clock.advance(1)
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.attempt, asked) == ("failed", 2, [1])
        assert [(e.event, e.state, e.facts) for e in status.history if e.facts] == [
            ("retry", "retrying", {"error": "ValueError: no van"}),
            ("retry", "failed", {"error": "ValueError: no van"}),
        ]
        assert [(r.levelname, r.getMessage().splitlines()[0]) for r in caplog.records] == [
            (
                "WARNING",
                f"run {run_id} of job 'ship': attempt 1 of 2 failed, and is tried again: ValueError: no van",
            ),
            ("ERROR", f"run {run_id} of job 'ship' failed for good: ValueError: no van"),
        ]


def retried_if(guard: str) -> type[RunMachine]:
    """Return a lifecycle that tries again under a guard of its own."""

    class Guarded(RunMachine):
        retry = Event(
            RunMachine.running.to(RunMachine.retrying, cond=guard, sets={"run_at": "next_at"})
            | RunMachine.running.to(RunMachine.failed)
            | RunMachine.canceling.to(RunMachine.canceled),
            by=Actor.CONSUMER,
            sets={"error": "value"},
        )

    return Guarded


IN_TIME = "next_at < created_at + 60000"


@pytest.mark.parametrize(
    ("guard", "wait", "state", "level", "said"),
    [
        (IN_TIME, 59, "retrying", "WARNING", "attempt 1 of 9 failed, and is tried again: "),
        (IN_TIME, 60, "failed", "ERROR", "failed for good: "),
        ("progress is None", 1, "failed", "WARNING", "attempt 1 of 9 failed: "),  # only the row knows
    ],
)
async def test_whether_a_failure_is_tried_again_the_machines_own_edges_say(
    kit: Kit, caplog: pytest.LogCaptureFixture, guard: str, wait: int, state: str, level: str, said: str
) -> None:
    @kit.job("ship", machine=retried_if(guard), max_attempts=9)
    async def ship(ctx: Any) -> None:
        await ctx.heartbeat("half way")
        raise Retry(after=wait)

    async with kit.bound() as w:
        run_id = await w.create("ship")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert status.state == state
        assert str(status.last_error).startswith("Retry: the handler asked for a retry\n")
        (record,) = caplog.records
        assert record.levelname == level
        assert said in record.getMessage()
