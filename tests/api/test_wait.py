"""Waiting for a run: settled already, settled meanwhile by anyone, or not in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, nothing

from kumofire_fsm import InvalidArgument
from kumofire_fsm.engine.binding import MOST_UNSETTLED
from kumofire_fsm.errors import WaitTimeout


async def test_a_settled_run_is_given_at_once_also_without_any_time(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        await w.deliver(run_id)
        for timeout in (None, 0, 5, timedelta(0)):
            assert (await w.jobs.wait(run_id, timeout=timeout)).state == "succeeded"
        assert kit.clock.sleeps == []


@pytest.mark.parametrize("timeout", [0, 0.005, 2, timedelta(seconds=7)])
async def test_waiting_ends_after_its_timeout(kit: Kit, timeout: Any) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        began = kit.clock.time
        with pytest.raises(WaitTimeout, match="is still 'queued'"):
            await w.jobs.wait(run_id, timeout=timeout)
        limit = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
        assert kit.clock.time - began == limit
        assert isinstance(WaitTimeout(""), TimeoutError)
        assert w.jobs._binding.waiters == {}


@pytest.mark.parametrize("timeout", [-1, "5", float("nan"), True])
async def test_a_timeout_that_makes_no_sense_is_refused(kit: Kit, timeout: Any) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        with pytest.raises(InvalidArgument):
            await w.jobs.wait(run_id, timeout=timeout)


async def test_looks_become_rarer_up_to_half_a_second(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        with pytest.raises(WaitTimeout):
            await w.jobs.wait(run_id, timeout=10)
        assert kit.clock.sleeps[0] == 0.01
        assert kit.clock.sleeps == sorted(kit.clock.sleeps[:-1]) + kit.clock.sleeps[-1:]
        assert max(kit.clock.sleeps) == 0.5


async def test_a_run_settled_by_another_connection_is_noticed(kit: Kit, tmp_path: Path) -> None:
    kit.job("none")(nothing)
    async with kit.bound(tmp_path / "jobs.db") as w, kit.bound(tmp_path / "jobs.db") as other:
        run_id = await w.create("none")

        async def settle() -> None:
            if len(kit.clock.sleeps) == 3:
                await other.deliver(run_id)

        kit.clock.on_sleep = settle
        assert (await w.jobs.wait(run_id, timeout=60)).state == "succeeded"
        assert len(kit.clock.sleeps) == 3


@pytest.mark.parametrize("how", ["consumed", "canceled", "expired", "lost"])
async def test_a_run_settled_in_this_process_ends_the_wait_without_another_look(kit: Kit, how: str) -> None:
    """The clock stands still here, so only being told can end the wait."""
    kit.job("none", max_attempts=1)(nothing)

    async def for_ever(seconds: float) -> None:
        await asyncio.Event().wait()

    async with kit.bound() as w:
        run_id = await w.create("none", expires_at=kit.clock.time + timedelta(hours=1))
        if how == "lost":
            w.storage.fail_once("runs.succeed", "before")
            await w.deliver(run_id)
        kit.clock.sleep = for_ever  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(w.jobs.wait(run_id))
        while run_id not in w.jobs._binding.waiters:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        if how == "consumed":
            await w.deliver(run_id)
        elif how == "canceled":
            await w.jobs.cancel(run_id)
        else:
            kit.clock.advance(hours=1)
            await w.jobs.dispatch()
        status = await asyncio.wait_for(waiting, 60)
        assert status.state == {"consumed": "succeeded", "lost": "failed"}.get(how, "canceled")
        assert w.jobs._binding.waiters == {}


async def test_who_created_a_run_learns_at_the_first_look_that_another_process_settled_it(
    kit: Kit, tmp_path: Path
) -> None:
    kit.job("none")(nothing)
    async with kit.bound(tmp_path / "jobs.db") as w, kit.bound(tmp_path / "jobs.db") as other:
        run_id = await w.create("none")
        await other.deliver(run_id)
        assert (await w.jobs.wait(run_id, timeout=60)).state == "succeeded"
        assert len(kit.clock.sleeps) == 1


async def test_only_the_last_created_runs_are_remembered_and_none_that_is_settled(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        binding = w.jobs._binding
        ids = [await w.create("none") for _ in range(MOST_UNSETTLED + 2)]
        assert list(binding.unsettled) == ids[2:]
        await w.deliver(ids[-1])
        assert list(binding.unsettled) == ids[2:-1]


async def test_many_wait_for_one_run(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        waiting = [asyncio.ensure_future(w.jobs.wait(run_id, timeout=3600)) for _ in range(5)]
        await asyncio.sleep(0)
        await w.deliver(run_id)
        assert [status.state for status in await asyncio.gather(*waiting)] == ["succeeded"] * 5
        assert w.jobs._binding.waiters == {}


async def test_a_wait_that_is_cancelled_leaves_nothing_behind(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await w.jobs.wait(run_id)
        assert w.jobs._binding.waiters == {}


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=1)], ids=["back", "forward"])
async def test_a_clock_that_is_set_changes_no_timeout(kit: Kit, step: timedelta) -> None:
    kit.job("none")(nothing)
    set_by = timedelta(0)
    now = kit.clock.now

    def set_meanwhile() -> None:
        nonlocal set_by
        set_by = step

    async with kit.bound() as w:
        run_id = await w.create("none")
        kit.clock.on_sleep = set_meanwhile
        kit.clock.now = lambda: now() + set_by // timedelta(milliseconds=1)  # type: ignore[method-assign]
        began = kit.clock.monotonic()
        with pytest.raises(WaitTimeout):
            await w.jobs.wait(run_id, timeout=5)
        assert kit.clock.monotonic() - began == pytest.approx(5, abs=0.01)


async def test_many_waits_share_their_looks(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        ids = [await w.create("none") for _ in range(200)]
        reads: dict[str, int] = {}
        execute = w.storage.execute

        async def counted(statement: Any) -> Any:
            reads[statement.name] = reads.get(statement.name, 0) + 1
            return await execute(statement)

        w.storage.execute = counted  # type: ignore[method-assign]
        waiting = [asyncio.ensure_future(w.jobs.wait(run_id, timeout=60)) for run_id in ids]
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in ended} == {WaitTimeout}
        assert reads["runs.read"] == len(ids)  # one each at the end: who created a run need not look at once
        assert reads["runs.states"] < 200  # about two a second, for all
        assert w.jobs._binding.waiters == {}


async def test_waits_that_begin_apart_come_to_share_their_looks(kit: Kit, tmp_path: Path) -> None:
    kit.job("none")(nothing)
    async with kit.bound(tmp_path / "jobs.db") as w, kit.bound(tmp_path / "jobs.db") as other:
        first, second = await w.create("none"), await w.create("none")
        waiting: list[Any] = [asyncio.ensure_future(w.jobs.wait(first, timeout=3600))]

        async def act() -> None:
            if len(kit.clock.sleeps) == 20:
                waiting.append(asyncio.ensure_future(w.jobs.wait(second, timeout=3600)))
            elif len(kit.clock.sleeps) == 40:
                await other.deliver(second)
            elif len(kit.clock.sleeps) == 60:
                await other.deliver(first)

        kit.clock.on_sleep = act
        assert (await waiting[0]).state == "succeeded"
        assert (await waiting[1]).state == "succeeded"
        assert len(kit.clock.sleeps) < 65
