"""Payloads and results travel through pydantic and come back as what the handler's annotations say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
from fakes import START
from harness import Kit
from pydantic import BaseModel, ConfigDict, Field, computed_field
from typing_extensions import TypedDict

from kumofire_fsm import NewRun
from kumofire_fsm.errors import InvalidPayload

if TYPE_CHECKING:
    from kumofire_fsm import RunContext


class Color(Enum):
    RED = "red"


class Item(BaseModel):
    name: str
    price: Decimal
    when: datetime
    color: Color = Color.RED
    codes: set[int] = set()


@dataclass
class Point:
    x: float
    at: datetime


class Options(TypedDict):
    since: date
    wait: timedelta


class Aliased(BaseModel):
    user_id: int = Field(alias="userId")


class Squared(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field
    @property
    def area(self) -> int:
        return self.side**2


Positive = Annotated[int, Field(gt=0)]
ITEM = Item(name="Füße 🦶", price=Decimal("1.10"), when=START, codes={1, 2})
UUID_1 = UUID("0198c0de-0000-7000-8000-000000000001")


async def roundtrip(kit: Kit, hint: Any, given: Any) -> tuple[Any, Any]:
    """Return what a handler annotated ``hint`` got, and the stored result after it returned the same."""
    got: list[Any] = []

    async def handler(ctx, payload):
        got.append(payload)
        return payload

    handler.__annotations__ = {"payload": hint, "return": hint}
    kit.job("convert", max_attempts=1)(handler)
    async with kit.bound() as w:
        run_id = await w.create("convert", given)
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.last_error) == ("succeeded", None)
        return got[0], status.result


@pytest.mark.parametrize(
    ("hint", "given", "got", "result"),
    [
        (Item, ITEM, ITEM, {"name": "Füße 🦶", "price": "1.10", "when": "2026-01-01T00:00:00Z", "color": "red", "codes": [1, 2]}),
        (Item, {"name": "a", "price": "2", "when": START}, Item(name="a", price=Decimal(2), when=START), None),
        (Point, Point(1.5, START), Point(1.5, START), {"x": 1.5, "at": "2026-01-01T00:00:00Z"}),
        (Point, {"x": 1, "at": START}, Point(1.0, START), {"x": 1.0, "at": "2026-01-01T00:00:00Z"}),
        (Options, {"since": date(2026, 1, 1), "wait": timedelta(seconds=5)}, {"since": date(2026, 1, 1), "wait": timedelta(seconds=5)}, {"since": "2026-01-01", "wait": "PT5S"}),
        (datetime, START, START, "2026-01-01T00:00:00Z"),
        (list[datetime], [START], [START], ["2026-01-01T00:00:00Z"]),
        (dict[int, str], {1: "a"}, {1: "a"}, {"1": "a"}),
        (set[int], {3}, {3}, [3]),
        (tuple[int, str], (1, "a"), (1, "a"), [1, "a"]),
        (UUID, UUID_1, UUID_1, str(UUID_1)),
        (Positive, "7", 7, 7),
        (int | str, "7", "7", "7"),
        (str | None, "x", "x", "x"),
        (bool, False, False, False),
        (Aliased, {"userId": 5}, Aliased(userId=5), None),
        (Squared, {"side": 3}, Squared(side=3), None),
    ],
    ids=lambda value: getattr(value, "__name__", "") or None,
)  # fmt: skip
async def test_annotated_values_arrive_converted(
    kit: Kit, hint: Any, given: Any, got: Any, result: Any
) -> None:
    arrived, stored = await roundtrip(kit, hint, given)
    assert arrived == got
    assert type(arrived) is type(got)
    if result is not None:
        assert stored == result


@pytest.mark.parametrize(
    "value",
    [0, 1.5, "", "text", "nul \0 inside", "🦶 \u2028 \x7f", True, [], {}, [1, [None]], {"a": {"b": [True, None, -1.25]}}, 2**53 - 1, -(2**53 - 1), 1e300],
    ids=repr,
)  # fmt: skip
async def test_plain_json_arrives_unchanged(kit: Kit, value: Any) -> None:
    assert await roundtrip(kit, Any, value) == (value, value)


@pytest.mark.parametrize("depth", [100, 190, 250, 900])
@pytest.mark.parametrize("hint", [Any, dict[str, Any]])
async def test_a_deep_payload_is_refused_by_create_or_reaches_its_handler(
    kit: Kit, hint: Any, depth: int
) -> None:
    """Pydantic's JSON reader stops at 200 levels, json's writer much later."""
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    try:
        assert await roundtrip(kit, hint, {"a": deep}) == ({"a": deep}, {"a": deep})
    except InvalidPayload:
        assert depth > 100


async def test_a_handler_without_annotations_gets_plain_json(kit: Kit) -> None:
    async def bare(ctx, payload):
        return [payload]

    kit.job("bare")(bare)
    async with kit.bound() as w:
        run_id = await w.create("bare", {"a": 1})
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == [{"a": 1}]


async def test_a_handler_without_payload_is_called_with_the_context_alone(kit: Kit) -> None:
    @kit.job("alone")
    async def alone(ctx: RunContext) -> str:
        return ctx.run.name

    async with kit.bound() as w:
        run_id = await w.create("alone")
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == "alone"


async def test_the_contexts_type_may_be_imported_for_type_checkers_only(kit: Kit) -> None:
    @kit.job("typed")
    async def typed(ctx: RunContext, payload: Item) -> datetime:
        return payload.when

    async with kit.bound() as w:
        run_id = await w.create("typed", {"name": "a", "price": 1, "when": datetime(2026, 5, 1, tzinfo=UTC)})
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == "2026-05-01T00:00:00Z"


@pytest.mark.parametrize("kind", ["payload", "result"])
async def test_a_large_value_is_stored_apart_and_comes_back(kit: Kit, kind: str) -> None:
    large, seen = "ü" * 100_000, []

    @kit.job("large")
    async def handler(ctx: Any, payload: str) -> str:
        seen.append(payload)
        return large if kind == "result" else "done"

    async with kit.bound() as w:
        run_id = await w.create("large", large if kind == "payload" else "small")
        await w.deliver(run_id)
        assert seen == [large if kind == "payload" else "small"]
        assert (await w.status(run_id)).result == (large if kind == "result" else "done")
        assert await w.sql("SELECT owner, kind FROM kumofire_bodies") == [(run_id, kind)]
        assert (await w.row(run_id))[kind] == ""


async def test_many_large_payloads_in_one_call_are_cut_into_statements_and_all_come_back(kit: Kit) -> None:
    seen = []

    @kit.job("large")
    async def handler(ctx: Any, payload: str) -> None:
        seen.append(payload)

    async with kit.bound() as w:
        texts = [chr(97 + i) * 200_000 for i in range(12)]
        created = await w.jobs.create_many([NewRun("large", text) for text in texts])
        assert w.storage.trips > 1
        await w.deliver(*(each.kumofire_job_run_id for each in created))
        assert sorted(seen) == texts
