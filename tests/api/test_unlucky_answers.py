"""What the database suffers costs no handler its attempt: what one unlucky answer left open is sent again."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Kit, d1_error

from kumofire_fsm import Snooze

TEXTS = (
    "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
    "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
    "D1_ERROR: something new happened",
)
WHEN = ("before", "after")


@pytest.fixture
def calls(kit: Kit) -> list[int]:
    """The payloads that the handler of the job "work" was called with, at its only attempt."""
    payloads: list[int] = []

    @kit.job("work", max_attempts=1)
    async def work(ctx: Any, number: int) -> int:
        payloads.append(number)
        return number

    return payloads


# -- a claim ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("text", TEXTS)
async def test_a_claim_is_sent_once_more_after_one_unlucky_answer(
    kit: Kit, calls: list[int], text: str, when: str
) -> None:
    async with kit.bound() as w:
        run_id = await w.create("work", 1)
        w.storage.clear()
        w.storage.fail("runs.claim", when, d1_error(text))
        assert await w.deliver(run_id) == ["ack"]
        assert w.storage.names == ["runs.claim", "runs.claim", "runs.succeed"]
        assert (await w.state(run_id), calls, kit.clock.sleeps) == ("succeeded", [1], [0.4])
        assert (await w.row(run_id))["starts"] == 1


@pytest.mark.parametrize("when", WHEN)
async def test_a_claim_of_a_batch_takes_its_rate_once_whatever_the_first_answer_was(
    kit: Kit, when: str
) -> None:
    called: list[int] = []

    @kit.job("rated", max_attempts=1, rate=(10, 60))
    async def rated(ctx: Any, number: int) -> None:
        called.append(number)

    async with kit.bound() as w:
        ids = await w.create_in_order("rated", range(3))
        w.storage.fail("runs.claim", when, d1_error(TEXTS[2]))
        assert await w.deliver(*ids) == ["ack"] * 3
        assert called == [0, 1, 2]
        other = await w.create_in_order("rated", range(3, 20))
        await w.deliver(*other)
        assert called == list(range(10))


async def test_a_claim_that_the_database_refuses_again_is_left_to_the_next_message(
    kit: Kit, calls: list[int]
) -> None:
    async with kit.bound() as w:
        run_id = await w.create("work", 1)
        w.storage.clear()
        w.storage.fail("runs.claim", "before", d1_error(TEXTS[0]), times=9)
        assert await w.deliver(run_id) == [10]
        assert (w.storage.names, calls) == (["runs.claim"] * 2, [])
        w.storage.fail("nothing", "before", None)
        assert await w.deliver(run_id) == ["ack"]
        assert calls == [1]


# -- a settle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("text", TEXTS)
async def test_a_success_is_stored_after_one_unlucky_answer(
    kit: Kit, calls: list[int], text: str, when: str
) -> None:
    async with kit.bound() as w:
        run_id = await w.create("work", 1)
        w.storage.clear()
        w.storage.fail("runs.succeed", when, d1_error(text))
        assert await w.deliver(run_id) == ["ack"]
        sent = ["runs.claim", "runs.succeed", "runs.succeed", "runs.read"]
        assert w.storage.names == sent[: 3 if when == "before" else 4]
        assert (await w.state(run_id), calls, kit.clock.sleeps) == ("succeeded", [1], [0.1])


@pytest.mark.parametrize("when", WHEN)
async def test_all_successes_of_a_batch_are_stored_after_one_unlucky_answer(
    kit: Kit, calls: list[int], when: str
) -> None:
    async with kit.bound() as w:
        ids = await w.create_in_order("work", [1, 2, 3])
        w.storage.fail("runs.succeed", when, d1_error(TEXTS[2]))
        assert await w.deliver(*ids) == ["ack"] * 3
        assert ([await w.state(each) for each in ids], calls) == (["succeeded"] * 3, [1, 2, 3])


async def test_a_snooze_is_stored_after_one_unlucky_answer(kit: Kit) -> None:
    @kit.job("later", max_attempts=1)
    async def later(ctx: Any) -> None:
        raise Snooze(5)

    async with kit.bound() as w:
        run_id = await w.create("later")
        w.storage.fail("runs.snooze", "before", d1_error(TEXTS[0]))
        assert await w.deliver(run_id) == [5]
        assert (await w.state(run_id), (await w.status(run_id)).attempt) == ("ready", 0)


async def test_a_settle_is_tried_three_times_with_pauses_and_then_left_to_the_lease(
    kit: Kit, calls: list[int]
) -> None:
    async with kit.bound() as w:
        run_id = await w.create("work", 1)
        w.storage.clear()
        w.storage.fail("runs.succeed", "before", d1_error(TEXTS[0]), times=9)
        assert await w.deliver(run_id) == [10]
        assert w.storage.names == ["runs.claim"] + ["runs.succeed"] * 3
        assert (await w.state(run_id), kit.clock.sleeps) == ("running", [0.1, 0.4])


async def test_a_settle_is_not_sent_again_when_the_statements_are_spent(kit: Kit, calls: list[int]) -> None:
    async with kit.bound(max_statements=6) as w:
        run_id = await w.create("work", 1)
        w.storage.clear()
        w.storage.fail("runs.succeed", "before", d1_error(TEXTS[0]), times=9)
        assert await w.deliver(run_id) == [10]
        assert w.storage.names == ["runs.claim", "runs.succeed"]
