"""What a handler returns or raises, and what becomes of its run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes import START
from harness import Kit

from kumofire_fsm import NEVER, Backoff, Cancel, Fail, Retry, RunStatus, Snooze

BACKOFF_S = 2
"""The kit's first wait, without jitter."""


async def after_one_call(kit: Kit, outcome: Any, disposition: str | int, **options: Any) -> RunStatus:
    """Call a handler once that raises or returns the outcome."""

    @kit.job("job", **options)
    async def job(ctx: Any) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async with kit.bound() as w:
        run_id = await w.create("job")
        kit.clock.advance(1)
        assert await w.deliver(run_id) == [disposition]
        return await w.status(run_id)


NOW = START + timedelta(seconds=1)


async def test_a_value_is_the_result(kit: Kit) -> None:
    status = await after_one_call(kit, {"sum": 3}, "ack")
    assert (status.state, status.settled, status.result, status.last_error) == (
        "succeeded",
        True,
        {"sum": 3},
        None,
    )
    assert (status.attempt, status.started_at, status.finished_at) == (1, NOW, NOW)
    assert [(e.event, e.state) for e in status.history] == [
        ("create", "ready"), ("enqueue", "queued"), ("start", "running"), ("succeed", "succeeded"),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["succeed", "snooze"])
async def test_a_run_that_failed_before_shows_its_error_until_it_succeeds(kit: Kit, end: str) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> Any:
        if ctx.attempt == 1:
            raise ValueError("no luck")
        if end == "snooze":
            raise Snooze(until=5)

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        kit.clock.advance(BACKOFF_S)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert [entry.event for entry in status.history][-3:] == ["retry", "start", end]
        told = None if status.last_error is None else status.last_error.splitlines()[0]
        assert told == (None if end == "succeed" else "ValueError: no luck")


@pytest.mark.parametrize(
    ("outcome", "wait", "said"),
    [
        (ValueError("no luck"), 2, "ValueError: no luck"),
        (KeyError(), 2, "KeyError"),
        (TimeoutError(), 2, "TimeoutError"),
        (StopIteration(3), 2, "RuntimeError: coroutine raised StopIteration"),
        (StopAsyncIteration(), 2, "StopAsyncIteration"),
        (
            ExceptionGroup("two", [ValueError(), KeyError()]),
            2,
            "ExceptionGroup: two (2 sub-exceptions): ValueError; KeyError",
        ),
        (asyncio.CancelledError(), 2, "RuntimeError: the handler cancelled itself"),
        (Retry(), 2, "Retry: the handler asked for a retry"),
        (Retry("busy"), 2, "Retry: busy"),
        (Retry("busy", after=30), 30, "Retry: busy"),
        (Retry(after=timedelta(minutes=1)), 60, "Retry: the handler asked for a retry"),
        (Retry(after=0), 1, "Retry: the handler asked for a retry"),
    ],
    ids=repr,
)
async def test_an_error_or_retry_is_tried_again_and_its_message_comes_back_in_time(
    kit: Kit, outcome: BaseException, wait: int, said: str
) -> None:
    status = await after_one_call(kit, outcome, wait)
    exact = 0 if isinstance(outcome, Retry) and outcome.after == 0 else wait
    assert (status.state, status.attempt, status.finished_at) == ("retrying", 1, None)
    assert status.run_at == NOW + timedelta(seconds=exact)
    assert status.last_error.splitlines()[0] == said
    assert status.history[-1].event == "retry"
    assert status.history[-1].facts == {"error": said}


@pytest.mark.parametrize("outcome", [ValueError("last"), Retry(after=5), asyncio.CancelledError()], ids=repr)
async def test_the_last_attempt_fails_the_run(kit: Kit, outcome: BaseException) -> None:
    status = await after_one_call(kit, outcome, "ack", max_attempts=1)
    assert (status.state, status.settled, status.attempt, status.finished_at) == ("failed", True, 1, NOW)


async def test_a_wait_beyond_the_horizon_is_left_to_the_dispatcher(kit: Kit) -> None:
    status = await after_one_call(kit, Retry(after=91), "ack")
    assert (status.state, status.run_at) == ("retrying", NOW + timedelta(seconds=91))


@pytest.mark.parametrize("outcome", [Fail("broken input"), Fail()], ids=repr)
async def test_fail_never_retries(kit: Kit, outcome: Fail) -> None:
    status = await after_one_call(kit, outcome, "ack", max_attempts=9)
    assert (status.state, status.attempt) == ("failed", 1)
    assert status.last_error.splitlines()[0] == ("Fail: broken input" if str(outcome) else "Fail")


@pytest.mark.parametrize("reason", ["", "no longer needed"])
async def test_cancel_ends_the_run_canceled(kit: Kit, reason: str) -> None:
    status = await after_one_call(kit, Cancel(reason) if reason else Cancel(), "ack")
    assert (status.state, status.settled, status.last_error) == ("canceled", True, reason or None)


@pytest.mark.parametrize(
    ("until", "wait", "disposition"),
    [
        (30, 30, 30),
        (0.5, 0.5, 1),
        (timedelta(seconds=90), 90, 90),
        (timedelta(hours=1), 3600, "ack"),
        (START + timedelta(seconds=11), 10, 10),
        (datetime(2025, 1, 1, tzinfo=UTC), -31_536_001, 1),
    ],
)
async def test_a_snooze_gives_its_attempt_back(kit: Kit, until: Any, wait: float, disposition: Any) -> None:
    status = await after_one_call(kit, Snooze(until), disposition, max_attempts=1)
    assert (status.state, status.attempt, status.last_error) == ("ready", 0, None)
    assert status.run_at == NOW + timedelta(seconds=wait)


@pytest.mark.parametrize(
    "until", [datetime(2026, 1, 2), -1, "tomorrow", None, float("nan"), timedelta.max, 253_402_300_000],  # noqa: DTZ001
    ids=str,
)  # fmt: skip
async def test_a_snooze_that_makes_no_sense_counts_as_an_error(kit: Kit, until: Any) -> None:
    status = await after_one_call(kit, Snooze(until), BACKOFF_S)
    assert (status.state, status.attempt) == ("retrying", 1)
    assert status.last_error.startswith("InvalidArgument: Snooze(until=...)")


@pytest.mark.parametrize("after", ["soon", float("inf"), timedelta.max, 253_402_300_000])
async def test_a_retry_after_what_is_no_time_is_logged_and_waits_as_the_job_says(
    kit: Kit, after: Any, caplog: pytest.LogCaptureFixture
) -> None:
    status = await after_one_call(kit, Retry("busy", after=after), BACKOFF_S)
    assert (status.state, status.attempt) == ("retrying", 1)
    assert status.last_error.startswith("Retry: busy")
    assert "Retry(after=...)" in caplog.text


@pytest.mark.parametrize("after", [0, -0.5, timedelta(days=-1)])
async def test_a_retry_after_a_time_that_has_passed_is_due_at_once(kit: Kit, after: Any) -> None:
    status = await after_one_call(kit, Retry("busy", after=after), 1)
    assert (status.state, status.attempt) == ("retrying", 1)
    assert status.last_error.startswith("Retry: busy")


async def test_a_snoozed_run_can_snooze_for_ever_and_counts_its_starts(kit: Kit) -> None:
    @kit.job("job", max_attempts=2)
    async def job(ctx: Any) -> None:
        assert ctx.attempt == 1
        raise Snooze(10)

    async with kit.bound() as w:
        run_id = await w.create("job")
        for _ in range(5):
            assert await w.deliver(run_id) == [10]
            kit.clock.advance(10)
        row = await w.row(run_id)
        assert (row["attempt"], row["starts"], row["state"]) == (0, 5, "ready")


@pytest.mark.parametrize(
    ("policy", "error", "wait"),
    [
        (lambda attempt, error: 7, ValueError(), 7),
        (lambda attempt, error: timedelta(seconds=attempt * 3), ValueError(), 3),
        (lambda attempt, error: None, ValueError(), None),
        (lambda attempt, error: 7 if isinstance(error, OSError) else NEVER, ConnectionError(), 7),
        (Backoff(jitter=False, on={ValueError: NEVER}), ValueError(), None),
        (Backoff(jitter=False, on={LookupError: timedelta(seconds=9)}), KeyError(), 9),
        (
            Backoff(jitter=False, on={OSError: Backoff(first=timedelta(seconds=5), jitter=False)}),
            OSError(),
            5,
        ),
        (Backoff(jitter=False, on={OSError: NEVER}), ValueError(), 2),
        (Backoff(jitter=False, on={KeyError: timedelta(seconds=1), LookupError: NEVER}), KeyError(), 1),
        (lambda attempt, error: 7, Retry(after=4), 4),
        (lambda attempt, error: 7, Retry(), 7),
        (Backoff(jitter=False, on={Retry: timedelta(seconds=3)}), Retry(), 3),
    ],
)
async def test_a_policy_decides_by_attempt_and_error(
    kit: Kit, policy: Any, error: Exception, wait: int | None
) -> None:
    status = await after_one_call(kit, error, "ack" if wait is None else wait, retry=policy)
    if wait is None:
        assert (status.state, status.attempt) == ("failed", 1)
    else:
        assert (status.state, status.run_at) == ("retrying", NOW + timedelta(seconds=wait))


async def test_a_policy_is_asked_with_the_number_of_the_attempt(kit: Kit) -> None:
    asked: list[tuple[int, str]] = []

    def policy(attempt: int, error: BaseException) -> int:
        asked.append((attempt, str(error)))
        return 1

    @kit.job("job", max_attempts=3, retry=policy)
    async def job(ctx: Any) -> None:
        raise ValueError(f"try {ctx.attempt}")

    async with kit.bound() as w:
        run_id = await w.create("job")
        for _ in range(3):
            await w.deliver(run_id)
            kit.clock.advance(1)
        assert asked == [(1, "try 1"), (2, "try 2")]
        assert (await w.status(run_id)).last_error.startswith("ValueError: try 3")


@pytest.mark.parametrize("answer", ["soon", -1, ZeroDivisionError()])
async def test_a_policy_that_breaks_fails_the_run_and_is_named(kit: Kit, answer: Any) -> None:
    def policy(attempt: int, error: BaseException) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    status = await after_one_call(kit, ValueError("the handler's own"), "ack", retry=policy)
    assert status.state == "failed"
    assert type(answer).__name__ in status.last_error or "the retry function" in status.last_error
