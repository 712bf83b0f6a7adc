"""What a run says about its last error: one line, the trace, never too long, never unstorable."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, nothing

from kumofire_fsm import Cancel, Fail, Kumofire, Retry, RunStatus

LIMIT = 8 * 1024


async def failed_with(kit: Kit, error: BaseException, max_attempts: int = 1) -> RunStatus:
    @kit.job("job", max_attempts=max_attempts)
    async def job(ctx: Any) -> None:
        raise error

    async with kit.bound() as w:
        run_id = await w.create("job")
        neighbour = await w.create("job")
        assert "ack" in await w.deliver(run_id, neighbour)
        return await w.status(run_id)


async def test_the_trace_names_the_handlers_line_and_no_line_of_the_package(kit: Kit) -> None:
    status = await failed_with(kit, ValueError("deep"))
    first, begins, place, line, *rest = status.last_error.splitlines()
    assert (first, begins) == ("ValueError: deep", "Traceback (most recent call last):")
    assert "test_error_text.py" in place
    assert line.strip() == "raise error"
    assert rest[-1] == "ValueError: deep"
    assert "kumofire_fsm/" not in status.last_error


@pytest.mark.parametrize("letter", ["x", "é", "🦶"])
@pytest.mark.parametrize("kind", [ValueError, Fail, Retry, Cancel])
async def test_a_long_text_is_cut_in_its_middle_to_8_kb_with_a_mark(
    kit: Kit, letter: str, kind: type[Exception]
) -> None:
    status = await failed_with(kit, kind(f"first {letter * 40_000} last"))
    assert LIMIT - 8 <= len(status.last_error.encode()) <= LIMIT
    beginning, mark, end = re.split(r"\n\.\.\. \[([\d,]+) bytes are cut\] \.\.\.\n", status.last_error)
    assert beginning.startswith("first" if kind is Cancel else f"{kind.__name__}: first")
    assert end.endswith(f"{letter} last")
    assert int(mark.replace(",", "")) > 30_000


@pytest.mark.parametrize("kind", [ValueError, Fail, Retry, Cancel])
async def test_a_text_with_lone_surrogates_is_stored_with_marks_in_their_place(
    kit: Kit, kind: type[Exception]
) -> None:
    status = await failed_with(kit, kind("bad \ud800 text"))
    assert "bad ? text" in status.last_error
    assert status.state == ("canceled" if kind is Cancel else "failed")


async def test_a_text_with_a_nul_character_is_not_cut_there(kit: Kit) -> None:
    status = await failed_with(kit, ValueError("before \0 after"))
    first, *_, last = status.last_error.splitlines()
    assert (first, last) == (r"ValueError: before \u0000 after", r"ValueError: before \0 after")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NotEvenText(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 -- what a careless application may do


class Panic(BaseException):
    pass


class Raises(Exception):
    """Its text raises what it was made with."""

    def __str__(self) -> str:
        raise self.args[0]

    __repr__ = __str__


class Unnamed(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise Panic("no name")


class NoName(Exception, metaclass=Unnamed):
    pass


class NoNotes(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise SystemExit("no notes")


HOSTILE: dict[str, Exception] = {
    "raises": Unprintable(),
    "no text": NotEvenText(),
    "panics": Raises(Panic("in the text")),
    "exits": Raises(SystemExit("in the text")),
    "interrupts": Raises(KeyboardInterrupt()),
    "closes": Raises(GeneratorExit()),
    "cancels": Raises(asyncio.CancelledError()),
    "no name": NoName("what it says"),
    "no notes": NoNotes("what it says"),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_an_error_that_cannot_be_printed_is_told_by_its_type(kit: Kit, kind: str) -> None:
    status = await failed_with(kit, HOSTILE[kind])
    assert status.state == "failed"
    assert status.last_error.startswith(type.__dict__["__name__"].__get__(type(HOSTILE[kind])))
    could_not = {"no name": "what it says", "no notes": "<its traceback could not be made: SystemExit>"}
    assert could_not.get(kind, "<its text could not be made: ") in status.last_error


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
@pytest.mark.parametrize("kind", ["panics", "exits", "interrupts", "closes", "cancels", "no notes"])
async def test_on_a_file_such_an_error_does_not_take_its_worker_with_it(
    tmp_path: Path, kind: str, plain: bool
) -> None:
    app = Kumofire()

    def raises(ctx: Any) -> None:
        raise HOSTILE[kind]

    async def raises_async(ctx: Any) -> None:
        raise HOSTILE[kind]

    app.job("bad", max_attempts=1)(raises if plain else raises_async)
    app.job("good")(nothing)
    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run())
        ended = []
        for name in ("bad", "good"):
            created = await jobs.create(name)
            ended.append((await jobs.wait(created.kumofire_job_run_id, timeout=600)).state)
        jobs.stop()
        await worker
    assert ended == ["failed", "succeeded"]


async def test_a_multi_line_text_keeps_its_first_line_in_the_history(kit: Kit) -> None:
    status = await failed_with(kit, ValueError("first\nsecond"))
    assert status.history[-1].facts == {"error": "ValueError: first"}
    assert status.last_error.startswith("ValueError: first\nTraceback ")
    assert status.last_error.endswith("\nValueError: first\nsecond")


@pytest.mark.parametrize("letter", ["x", "é", "🦶"])
async def test_the_history_of_many_attempts_is_cut_with_a_mark_and_stays_below_32_kb(
    kit: Kit, letter: str
) -> None:
    @kit.job("job", max_attempts=1000, retry=lambda attempt, error: 1)
    async def job(ctx: Any) -> None:
        raise ValueError(letter * 5000)

    async with kit.bound() as w:
        run_id, longest = await w.create("job"), 0
        for _ in range(200):
            assert await w.deliver(run_id) == [1]
            longest = max(longest, len((await w.row(run_id))["history"].encode()))
            kit.clock.advance(1)
        status = await w.status(run_id)
        assert [e.event for e in status.history[:2]] == ["create", "truncated"]
        assert (status.history[1].at, status.history[-1].event, status.attempt) == (None, "retry", 200)
        assert longest <= 32 * 1024
