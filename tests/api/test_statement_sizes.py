"""No statement grows beyond what D1 takes as one value, 2 MB, whatever the fields of its runs hold.

Local runtimes do not enforce that (https://developers.cloudflare.com/d1/platform/limits/).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from harness import Bound, Kit, echo

from kumofire_fsm import Fail, NewRun
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.values.jsontext import argument_bytes
from kumofire_fsm.values.limits import ERROR_BYTES, KEY_LENGTH, STATEMENT_BYTES, TAG_COUNT, TAG_LENGTH
from kumofire_fsm.work.batch import SETTLE_EVERY

MOST = 2_000_000
LETTERS = ["\N{CYRILLIC SMALL LETTER YA}", "\N{GRINNING FACE}", '"', "\x01"]


@pytest.fixture(params=LETTERS, ids=ascii)
def letter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def measured(w: Bound) -> dict[str, list[int]]:
    """Return the bytes of the argument of each statement of a batch that follows, by name."""
    found, batch = defaultdict[str, list[int]](list), w.storage.batch

    async def noting(statements: Sequence[Statement]) -> list[list[Row]]:
        for each in statements:
            found[each.name].append(len((each.given() or "").encode()))
        return await batch(statements)

    w.storage.batch = noting  # type: ignore[method-assign]
    return found


def longest(letter: str, number: int, length: int = KEY_LENGTH) -> str:
    return f"{number:06d}".rjust(length, letter)


def at_every_limit(name: str, letter: str, number: int, payload: str) -> NewRun:
    """Return a run whose fields are as long as they may be, and that shares nothing with another."""
    return NewRun(
        name,
        payload,
        delay=timedelta(hours=1, seconds=number),
        dedupe_key=longest(letter, number),
        concurrency_key=longest(letter, number),
        tags=[longest(letter, tag, TAG_LENGTH) for tag in range(TAG_COUNT)],
    )


@pytest.mark.parametrize("length", [80, 5_000])
async def test_runs_at_every_limit_are_created_by_statements_that_d1_takes(
    kit: Kit, letter: str, length: int
) -> None:
    name = longest(letter, 0)
    kit.job(name, key_limit=1)(echo)
    number = 500 if length < 1_000 else 100
    async with kit.bound() as w:
        found = measured(w)
        runs = [at_every_limit(name, letter, each, letter * length) for each in range(number)]
        created = await w.jobs.create_many(runs)
        assert [each.is_new for each in created] == [True] * number
        (read,) = (await w.jobs.list_runs(tag=runs[-1].tags[0], limit=1)).runs
        assert list(read.tags) == runs[-1].tags
    assert {"runs.insert", "runs.find_holders"} <= set(found)
    assert max(map(max, found.values())) <= MOST


async def test_the_keys_of_a_job_that_was_renamed_often_are_taken_over_likewise(kit: Kit) -> None:
    letter = "\N{GRINNING FACE}"
    name, *earlier = [longest(letter, each) for each in range(9)]
    kit.job(name, aliases=earlier)(echo)
    async with kit.bound() as w:
        found = measured(w)
        runs = [NewRun(name, dedupe_key=longest(letter, each)) for each in range(200)]
        assert all(each.is_new for each in await w.jobs.create_many(runs))
    assert sum(found["runs.adopt_keys"]) > MOST
    assert max(map(max, found.values())) <= MOST


async def test_what_one_turn_creates_is_cut_likewise(kit: Kit, letter: str) -> None:
    kit.job("echo", key_limit=1)(echo)
    async with kit.bound() as w:
        found = measured(w)
        runs = [at_every_limit("echo", letter, each, letter) for each in range(500)]
        created = await asyncio.gather(
            *(
                w.jobs.create(
                    "echo",
                    each.payload,
                    delay=each.delay,
                    dedupe_key=each.dedupe_key,
                    concurrency_key=each.concurrency_key,
                    tags=each.tags,
                )
                for each in runs
            )
        )
        assert all(each.is_new for each in created)
    assert max(map(max, found.values())) <= MOST


async def test_runs_of_one_kind_with_few_fields_are_as_many_to_a_statement_as_fit(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        found = measured(w)
        await w.jobs.create_many([NewRun("echo", number) for number in range(5_000)])
    assert len(found["runs.insert"]) == 2
    assert max(found["runs.insert"]) <= STATEMENT_BYTES


async def test_errors_at_their_limit_are_settled_by_statements_that_d1_takes(kit: Kit, letter: str) -> None:
    @kit.job("fails")
    async def fails(ctx: Any, number: int) -> None:
        raise Fail(letter * ERROR_BYTES)

    async with kit.bound() as w:
        ids = await w.create_in_order("fails", range(SETTLE_EVERY))
        found = measured(w)
        execute = w.storage.execute

        async def noting(statement: Statement) -> list[Row]:
            found[statement.name].append(len((statement.given() or "").encode()))
            return await execute(statement)

        w.storage.execute = noting  # type: ignore[method-assign]
        assert await w.deliver(*ids) == ["ack"] * SETTLE_EVERY
        assert await w.jobs.count_runs() == {"failed": SETTLE_EVERY}
    assert found["runs.fail"]
    assert max(map(max, found.values())) <= STATEMENT_BYTES


@pytest.mark.parametrize(
    "text", ["", "a\tb", '{"a":"\\n"}', "\x7f\x1f\u2028", "\ud800", '\N{GRINNING FACE}"']
)
def test_the_size_in_an_argument_is_that_which_json_writes(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False).encode(errors="surrogatepass")
    assert argument_bytes(text) == len(written)
