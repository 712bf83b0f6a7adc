"""Slips of the pen are refused where they are made, and not found out at run time."""

from datetime import timedelta
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Backoff, DefinitionError, InvalidArgument, Kumofire


def handler(_ctx: Any, payload: int) -> int:
    return payload


def test_a_job_needs_its_name_in_parentheses() -> None:
    with pytest.raises(DefinitionError, match=r"write @app.job\('name'\)"):
        Kumofire().job(handler)


def test_a_retry_policy_that_is_none_is_refused_when_the_job_is_registered() -> None:
    with pytest.raises(DefinitionError, match="retry must be a Backoff or a function; found 5"):
        Kumofire().job("echo", retry=5)


def test_a_generator_is_no_handler() -> None:
    def pages(_ctx: Any, payload: int) -> Any:
        yield payload

    with pytest.raises(DefinitionError, match="found a generator"):
        Kumofire().job("pages")(pages)


@pytest.mark.parametrize("path", ["", None, 5])
async def test_a_path_that_is_none_opens_nothing(path: Any) -> None:
    with pytest.raises(InvalidArgument, match="needs a file's path"):
        async with Kumofire().open(path):
            pass


def test_a_backoff_takes_seconds_too() -> None:
    assert Backoff(first=2, cap=60.0, jitter=False).delay_ms(2, ValueError(), None) == 4000
    assert Backoff(first=timedelta(seconds=2), jitter=False).delay_ms(1, ValueError(), None) == 2000
    with pytest.raises(DefinitionError, match="first must be at least 0 ms"):
        Backoff(first=-1)


async def test_a_scope_without_a_key_is_refused(kit: Kit) -> None:
    kit.job("echo")(handler)
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match="dedupe='active' needs a dedupe_key"):
            await w.jobs.create("echo", 1, dedupe="active")


@pytest.mark.parametrize("cursor", ["zzz", "", "019b76da"])
async def test_a_cursor_that_no_page_gave_is_refused(kit: Kit, cursor: str) -> None:
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match="cursor must be what the page before gave"):
            await w.jobs.list_runs(cursor=cursor)
