"""What is kept of what happened: a traceback as Python prints it, its type, and one line for each attempt."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Cancel, Fail, Retry, RunStatus
from kumofire_fsm.values.error_text import error_line, error_text

LIMIT = 8 * 1024


async def failed_in(kit: Kit, raises: Callable[[], Any], *, plain: bool = False) -> RunStatus:
    """Call a handler once that calls a function; return what became of its only attempt."""

    def job(ctx: Any) -> Any:
        return raises()

    async def waiting(ctx: Any) -> Any:
        return await raises()

    kit.job("job", max_attempts=1)(job if plain else waiting)
    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        return await w.status(run_id)


def text_of(status: RunStatus) -> str:
    assert status.last_error is not None
    return status.last_error


# -- what Python prints -------------------------------------------------------------------------------


async def charge() -> None:
    raise ConnectionError("the bank is away")


async def reserve() -> None:
    raise KeyError("kite")


async def both() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(charge())
        tasks.create_task(reserve())


async def test_a_task_group_tells_of_each_task(kit: Kit) -> None:
    text = text_of(await failed_in(kit, both))
    assert text.splitlines()[0] == (
        "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions): "
        "ConnectionError: the bank is away; KeyError: 'kite'"
    )
    for said in (
        "in charge",
        "ConnectionError: the bank is away",
        "in reserve",
        "KeyError: 'kite'",
        "in both",
    ):
        assert said in text


async def test_a_cause_a_context_and_notes_are_kept(kit: Kit) -> None:
    async def raises() -> None:
        try:
            try:
                await charge()
            except ConnectionError as exc:
                exc.add_note("the third try")
                raise RuntimeError("no money") from exc
        finally:
            await reserve()

    text = text_of(await failed_in(kit, raises))
    told = [
        "ConnectionError: the bank is away\nthe third try\n",
        "The above exception was the direct cause of the following exception:",
        "RuntimeError: no money",
        "During handling of the above exception, another exception occurred:",
        "KeyError: 'kite'",
    ]
    places = [text.index(each, 20) for each in told]  # after the line that tells it all
    assert places == sorted(places)


async def test_a_cause_that_was_suppressed_is_not_shown(kit: Kit) -> None:
    async def raises() -> None:
        try:
            await charge()
        except ConnectionError:
            raise RuntimeError("no money") from None

    assert "the bank is away" not in text_of(await failed_in(kit, raises))


@pytest.mark.parametrize("plain", [True, False])
async def test_the_frames_are_those_of_the_application_alone(kit: Kit, plain: bool) -> None:
    def raises() -> Any:
        raise ValueError("deep")

    text = text_of(await failed_in(kit, raises, plain=plain))
    files = [line for line in text.splitlines() if line.startswith("  File ")]
    assert files
    assert all(__file__ in line for line in files)


async def test_an_error_beneath_our_own_calls_names_the_handlers_line(kit: Kit) -> None:
    @kit.job("job", max_attempts=1)
    async def job(ctx: Any) -> None:
        await ctx.jobs.create("nobody")

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        text = text_of(await w.status(run_id))
    assert text.startswith("UnknownJob: no job 'nobody' is registered; registered are: job\n")
    assert 'await ctx.jobs.create("nobody")' in text
    assert text.count("  File ") == 1


async def test_it_is_what_python_prints(kit: Kit) -> None:
    printed: list[str] = []

    async def raises() -> None:
        try:
            await both()
        except ExceptionGroup as exc:
            printed.append("".join(traceback.format_exception(exc)))
            raise

    text = text_of(await failed_in(kit, raises))
    mine = [
        line for line in printed[0].splitlines() if "in raises" not in line and "await both()" not in line
    ]
    assert [line for line in mine if line not in text and "^^^" not in line] == []


async def test_a_traceback_that_is_too_long_keeps_both_ends(kit: Kit) -> None:
    def fall(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        exec(f"def fall_{depth}(): fall({depth} - 1)\nfall_{depth}()", {"fall": fall})  # no two lines alike

    text = text_of(await failed_in(kit, lambda: fall(100), plain=True))
    assert LIMIT - 8 <= len(text.encode()) <= LIMIT
    assert text.startswith("ValueError: at the bottom\nTraceback (most recent call last):\n")
    assert "bytes are cut] ...\n" in text
    assert text.endswith("\nValueError: at the bottom")


# -- one line -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (ValueError("\n first\nsecond"), "ValueError: first"),
        (ValueError("a\tb\r\x1b[31mred\x9b1m\u202e"), r"ValueError: a\tb\r\u001b[31mred\u009b1m\u202e"),
        (ExceptionGroup("g", [ValueError("no")]), "ValueError: no"),
        (ExceptionGroup("g", [ExceptionGroup("h", [Fail("never")])]), "Fail: never"),
        (ExceptionGroup("g", [ValueError("a"), ValueError("a"), KeyError("b")]), "ExceptionGroup: g (3 sub-exceptions): ValueError: a; KeyError: 'b'"),
        (ValueError("x" * 500), "ValueError: " + "x" * 187 + "\N{HORIZONTAL ELLIPSIS}"),
    ],
    ids=range(8),
)  # fmt: skip
def test_an_error_has_one_short_line(error: BaseException, line: str) -> None:
    assert error_line(error) == line
    assert error_text(error).split("\n")[0] == line


async def test_logs_and_histories_show_the_line_and_a_last_failure_all(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("job", max_attempts=2)
    async def job(ctx: Any) -> None:
        raise ValueError("\x1b[31mred\nsecond")

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        (again,) = [record.getMessage() for record in caplog.records]
        assert again.endswith(r"is tried again: ValueError: \u001b[31mred")
        caplog.clear()
        kit.clock.advance(10)
        await w.deliver(run_id)
        (last,) = [record.getMessage() for record in caplog.records]
        assert last.split("\n")[0].endswith(r"failed for good: ValueError: \u001b[31mred")
        assert "Traceback (most recent call last):" in last
        assert "\x1b" not in last
        status = await w.status(run_id)
    facts = [entry.facts["error"] for entry in status.history if entry.event == "retry"]
    assert facts == [r"ValueError: \u001b[31mred"] * 2


# -- its type -----------------------------------------------------------------------------------------


class Broken(Exception):
    """An application's own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("a: b"), "ValueError"),
        (Broken(), "Broken"),
        (Fail("no"), "Fail"),
        (Retry(), "Retry"),
        (ExceptionGroup("two", [ValueError(), KeyError()]), "ExceptionGroup"),
        (ExceptionGroup("one", [Broken("x")]), "Broken"),
        (Broken("x" * 300), "Broken"),
        (Cancel("Broken: says who cancels"), None),
    ],
)
async def test_the_type_of_the_exception_is_a_field(kit: Kit, error: Exception, kind: str | None) -> None:
    async def raises() -> None:
        raise error

    assert (await failed_in(kit, raises)).error_type == kind


async def test_what_is_no_exceptions_has_no_type(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        if ctx.attempt == 1:
            raise ValueError("first")
        kit.clock.advance(120)
        await w.jobs.dispatch()  # its lease ends

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        assert (await w.status(run_id)).error_type == "ValueError"
        kit.clock.advance(10)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert text_of(status).startswith("the lease ran out: ")
        assert status.error_type is None
        kit.clock.advance(60)
        assert [run.error_type for run in (await w.jobs.list_runs()).runs] == [None]


# -- nothing hangs ------------------------------------------------------------------------------------


def chain(length: int) -> BaseException:
    last: BaseException = ValueError("the first")
    for number in range(length):
        error = KeyError(number)
        error.__context__, last = last, error
    return last


def nested(depth: int, *, twice: bool = False) -> BaseException:
    error: Exception = ValueError("leaf")
    for _ in range(depth):
        error = ExceptionGroup("g", [error, error] if twice else [error])
    return error


def circle() -> BaseException:
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__context__ = two, one
    return one


class Closed(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("do not look")


HUGE = {
    "a chain of 20,000": lambda: chain(20_000),
    "a group 3,000 levels deep": lambda: nested(3_000),
    "a group of 2 ** 80 ways to one": lambda: nested(80, twice=True),
    "a group of 20,000": lambda: ExceptionGroup("w", [ValueError(str(n)) for n in range(20_000)]),
    "a circle": circle,
    "what cannot be looked at": Closed,
}


@pytest.mark.parametrize("kind", HUGE)
async def test_whatever_the_shape_of_an_error_its_text_is_made_and_its_run_ends(kit: Kit, kind: str) -> None:
    error = HUGE[kind]()

    async def raises() -> None:
        raise error

    status = await failed_in(kit, raises)
    assert status.state == "failed"
    assert len(text_of(status).encode()) <= LIMIT
    assert status.error_type is not None


def test_a_frame_of_our_own_is_shown_where_it_may_be_our_fault(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    try:
        error_line(None)  # type: ignore[arg-type]
    except Exception as exc:
        assert "error_text.py" in error_text(exc, ours=True)
        assert "error_text.py" not in error_text(exc)
