"""Ids, names and keys that no database could hold are refused with a typed error, whoever passes them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from harness import Kit, echo

from kumofire_fsm import InvalidArgument, UnknownRun

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"
BAD = [None, "", 5, b"abc", ["x"], "\ud800"]


OPTIONS = {"reschedule": {"delay": 1}}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("call", ["get_status", "cancel", "redrive", "reschedule", "wait"])
async def test_what_is_no_id_is_refused(kit: Kit, call: str, bad: Any) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument):
            await getattr(w.jobs, call)(bad, **OPTIONS.get(call, {}))


@pytest.mark.parametrize("call", ["cancel", "redrive", "reschedule", "wait"])
async def test_an_unknown_run_is_told_by_its_id(kit: Kit, call: str) -> None:
    async with kit.bound() as w:
        with pytest.raises(UnknownRun, match=UNKNOWN) as caught:
            await getattr(w.jobs, call)(UNKNOWN, **OPTIONS.get(call, {}))
        assert caught.value.run_id == UNKNOWN


async def test_rescheduling_needs_a_time(kit: Kit) -> None:
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match="needs run_at or delay"):
            await w.jobs.reschedule(UNKNOWN)


@pytest.mark.parametrize("event", ["cancel", "start", "explode"])
async def test_an_event_on_an_unknown_run_is_told_by_its_id(kit: Kit, event: str) -> None:
    async with kit.bound() as w:
        with pytest.raises(UnknownRun, match=UNKNOWN):
            await w.jobs.fire(UNKNOWN, event)


async def test_the_status_of_an_unknown_run_is_none(kit: Kit) -> None:
    async with kit.bound() as w:
        assert await w.jobs.get_status(UNKNOWN) is None


async def test_waiting_for_an_unknown_run_leaves_nothing_behind(kit: Kit) -> None:
    async with kit.bound() as w:
        with pytest.raises(UnknownRun):
            await w.jobs.wait(UNKNOWN)
        assert w.jobs._binding.waiters == {}


async def test_keys_with_a_nul_character_stay_apart(kit: Kit) -> None:
    """SQLite's JSON functions once ended a text at its first NUL."""
    kit.job("echo")(echo)
    async with kit.bound() as w:
        keys = ["a\0b", "a\0c", "a"]
        try:
            created = [await w.jobs.create("echo", 1, dedupe_key=key) for key in keys[:2]]
        except InvalidArgument:
            assert (await w.sizes())["kumofire_runs"] == 0
            return
        created.append(await w.jobs.create("echo", 1, dedupe_key=keys[2]))
        assert [each.is_new for each in created] == [True, True, True]
        statuses = [await w.status(each.kumofire_job_run_id) for each in created]
        assert [status.dedupe_key for status in statuses] == keys


@pytest.mark.parametrize(
    "filters", [{"name": "\ud800"}, {"tag": "\ud800"}, {"cursor": "\ud800"}, {"schedule_id": "\ud800"}]
)
async def test_a_filter_with_a_lone_surrogate_finds_nothing_or_is_refused(
    kit: Kit, filters: dict[str, str]
) -> None:
    async with kit.bound() as w:
        with suppress(InvalidArgument):
            assert (await w.jobs.list_runs(**filters)).runs == ()
