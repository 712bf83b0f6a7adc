"""What was refused is never told: errors, rows and logs name the field and the rule, not the value."""

from __future__ import annotations

import enum
import json
import logging
import traceback
from typing import Annotated, Any, Literal

import pytest
from harness import Bound, Kit
from pydantic import BaseModel, Field, field_validator

from kumofire_fsm import InvalidArgument, NewRun
from kumofire_fsm.errors import InvalidPayload
from kumofire_fsm.store.caller_sql import checked_statements

SECRET = "4111-1111-1111-1111"
NUMBER = 4_111_111_111_111_111_111
"""An integer that JSON readers would round."""


class Kind(enum.Enum):
    VISA = "visa"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Card(BaseModel):
    number: int
    kind: Kind = Kind.VISA
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    pin: str = ""

    @field_validator("pin")
    @classmethod
    def four(cls, pin: str) -> str:
        if len(pin) > 4:
            raise ValueError(f"{pin} has more than four digits")
        return pin


REFUSED: dict[str, tuple[Any, str]] = {
    "a field": ({"number": SECRET}, "number: Input should be a valid integer"),
    "an enumeration": ({"number": 1, "kind": SECRET}, "kind: Input should be 'visa'"),
    "a tag": ({"number": 1, "pet": {"kind": SECRET}}, "pet: Input tag does not match any of the expected tags"),
    "an application's own rule": ({"number": 1, "pin": SECRET}, "pin: Value error, ... has more than four digits"),
    "no object at all": (SECRET, "Input should be a valid dictionary or instance of Card"),
    "a value of another type": (object(), "Input should be a valid dictionary or instance of Card"),
}  # fmt: skip


def told(exc: BaseException) -> str:
    """All that somebody sees who logs an error, its causes included."""
    return "".join(traceback.format_exception(exc)) + str(exc) + repr(exc)


@pytest.mark.parametrize("kind", REFUSED)
async def test_create_names_the_field_and_the_rule_and_not_the_value(kit: Kit, kind: str) -> None:
    payload, says = REFUSED[kind]

    @kit.job("pay")
    async def pay(ctx: Any, card: Card) -> None: ...

    async with kit.bound() as w:
        calls = [
            w.jobs.create("pay", payload),
            w.jobs.create_many([NewRun("pay", payload)]),
            w.jobs.create_schedule("pay", payload, every=60),
        ]
        for call in calls:
            with pytest.raises(InvalidPayload) as info:
                await call
            assert f"the payload of 'pay' does not validate: Card: {says}" in str(info.value)
            assert SECRET not in told(info.value)


async def test_of_very_many_fields_some_are_named(kit: Kit) -> None:
    @kit.job("sum")
    async def total(ctx: Any, numbers: list[int]) -> None: ...

    async with kit.bound() as w:
        with pytest.raises(InvalidPayload) as info:
            await w.create("sum", ["x"] * 1000)
    assert "list[int]: 0: Input should be a valid integer, " in str(info.value)
    assert str(info.value).endswith("; and 985 more")


@pytest.mark.parametrize(
    "payload",
    [
        {SECRET},
        {"a": {SECRET}},
        {"a": float("nan")},
        SECRET.encode(),
        object(),
        4111111111111111111,
        {41111111: 1},
    ],
)
async def test_what_is_no_json_is_not_told(kit: Kit, payload: Any) -> None:
    @kit.job("plain")
    async def plain(ctx: Any, payload: Any) -> None: ...

    @kit.job("none")
    async def none(ctx: Any) -> None: ...

    async with kit.bound() as w:
        for name in ("plain", "none"):
            with pytest.raises(InvalidPayload) as info:
                await w.create(name, payload)
            assert SECRET not in told(info.value)
            assert str(NUMBER) not in told(info.value)


@pytest.mark.parametrize("given", [[SECRET], {"payload": SECRET}, SECRET, [NewRun("none", SECRET)]])
async def test_a_wrong_list_of_runs_is_not_told(kit: Kit, given: Any) -> None:
    @kit.job("none")
    async def none(ctx: Any) -> None: ...

    async with kit.bound() as w:
        for call in (w.jobs.create_many(given), w.jobs.sync_schedules(given)):
            with pytest.raises(InvalidArgument) as info:
                await call
            assert SECRET not in told(info.value)


@pytest.mark.parametrize(
    "given",
    [SECRET.encode(), [("INSERT", [SECRET.encode()])], [("INSERT INTO a VALUES (?)", [SECRET.encode()])],
     [("INSERT INTO a VALUES (?)", SECRET)], [("INSERT INTO a VALUES (?)", [f"{SECRET}\0"])], [(1, [SECRET])]],
)  # fmt: skip
def test_the_values_of_an_applications_statement_are_not_told(given: Any) -> None:
    with pytest.raises(InvalidArgument) as info:
        checked_statements(given)
    assert SECRET not in told(info.value)


# -- while a run is worked on -------------------------------------------------------------------------


async def ended(w: Bound, name: str, payload: Any = None) -> str:
    """Deliver a run until it has settled; return all that its row says of errors."""
    run_id = await w.create(name, payload)
    for _ in range(2):
        await w.deliver(run_id)
        w.clock.advance(60)
    row = await w.row(run_id)
    assert row["state"] in ("failed", "canceled")
    return f"{row['error']} {row['history']}"


def register(kit: Kit) -> None:
    @kit.job("parses", max_attempts=2)
    async def parses(ctx: Any) -> None:
        Card.model_validate({"number": SECRET})

    @kit.job("wraps", max_attempts=2)
    async def wraps(ctx: Any) -> None:
        try:
            Card.model_validate_json(json.dumps({"number": SECRET}))
        except ValueError as exc:
            raise RuntimeError("no card") from exc

    @kit.job("groups", max_attempts=2)
    async def groups(ctx: Any) -> None:
        try:
            Card.model_validate({"number": SECRET})
        except ValueError as exc:
            raise ExceptionGroup("several", [exc, KeyError("b")]) from None

    @kit.job("returns", max_attempts=2)
    async def returns(ctx: Any) -> Card:
        return {"number": SECRET}  # type: ignore[return-value]

    def refuses(attempt: int, error: BaseException) -> float:
        Card.model_validate({"number": SECRET})
        return 1

    @kit.job("has a policy that refuses", max_attempts=2, retry=refuses)
    async def waits(ctx: Any) -> None:
        Card.model_validate({"number": SECRET})

    @kit.job("reads", max_attempts=2)
    async def reads(ctx: Any, card: Card) -> None: ...

    for event in ("retry", "fail"):

        @kit.app.on(event)
        async def hook(transition: Any) -> None:
            Card.model_validate({"number": SECRET})


@pytest.mark.parametrize(
    "name", ["parses", "wraps", "groups", "returns", "has a policy that refuses", "reads"]
)
async def test_a_runs_row_and_the_log_say_nothing_of_it(
    kit: Kit, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    register(kit)
    async with kit.bound() as w:
        if name == "reads":  # an older release stored what no longer validates
            created = await w.create(name, {"number": 1})
            await w.sql(
                "UPDATE kumofire_runs SET payload = ? WHERE id = ?", f'{{"number":"{SECRET}"}}', created
            )
            for _ in range(2):
                await w.deliver(created)
                kit.clock.advance(60)
            row = await w.row(created)
            text = f"{row['error']} {row['history']}"
        else:
            text = await ended(w, name)
    assert "number: Input should be a valid integer" in text
    logged = caplog.text + "".join(map(str, (record.exc_info for record in caplog.records)))
    assert "failed" in logged
    assert "number: Input should be a valid integer" in logged
    assert SECRET not in text + logged
