"""A payload or a result comes back as the same value, or it is refused: instants, subclasses, look-alikes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from harness import Bound, Kit
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, TypeAdapter
from slices import examples
from typing_extensions import TypedDict

from kumofire_fsm.errors import InvalidArgument, InvalidPayload
from kumofire_fsm.values.typed import encode_typed, there_and_back

BERLIN, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")
REPEATED = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
CHANGES = {
    "repeated, the first time round": REPEATED,
    "repeated, the second time round": REPEATED.replace(fold=1),
    "skipped": datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),
    "skipped, with the later offset": datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1),
    "half an hour": datetime(2026, 4, 5, 1, 45, tzinfo=LORD_HOWE, fold=1),
    "a day": datetime(2011, 12, 30, 12, tzinfo=ZoneInfo("Pacific/Apia")),
}
EDGE = datetime.max.replace(tzinfo=timezone(-timedelta(hours=23)))  # no UTC can hold it


class Meeting(BaseModel):
    at: datetime


@dataclass(frozen=True)
class Slot:
    at: datetime


class Named(NamedTuple):
    at: datetime


class Typed(TypedDict):
    at: datetime


HOLDERS: dict[str, tuple[Any, Any]] = {
    "itself": (datetime, lambda at: at),
    "a list": (list[datetime], lambda at: [at]),
    "a tuple": (tuple[datetime, int], lambda at: (at, 1)),
    "a set": (set[datetime], lambda at: {at}),
    "a set of tuples": (frozenset[tuple[datetime, int]], lambda at: frozenset({(at, 1)})),
    "a dict": (dict[str, datetime], lambda at: {"a": at}),
    "its keys": (dict[datetime, int], lambda at: {at: 1}),
    "a model": (Meeting, lambda at: Meeting(at=at)),
    "models": (list[Meeting], lambda at: [Meeting(at=at)]),
    "a dataclass": (Slot, Slot),
    "a set of dataclasses": (set[Slot], lambda at: {Slot(at)}),
    "a named tuple": (Named, Named),
    "a typed dict": (Typed, lambda at: {"at": at}),
    "an option": (datetime | None, lambda at: at),
}


async def passed(kit: Kit, w: Bound, hint: Any, given_: Any, returned: Any = None) -> tuple[Any, Any]:
    """Return what a handler annotated ``hint`` was called with, and its run's status after it returned."""
    got: list[Any] = []

    async def handler(ctx, payload):
        got.append(payload)
        return payload if returned is None else returned

    handler.__annotations__ = {"payload": hint, "return": hint}
    kit.job("pass", max_attempts=3)(handler)
    run_id = await w.create("pass", given_)
    await w.deliver(run_id)
    return got[0], await w.status(run_id)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("holder", HOLDERS)
async def test_an_instant_in_a_repeated_or_skipped_hour_comes_back_as_that_instant(
    kit: Kit, change: str, holder: str
) -> None:
    hint, hold = HOLDERS[holder]
    async with kit.bound() as w:
        got, status = await passed(kit, w, hint, hold(CHANGES[change]))
        assert (status.state, status.attempt, status.last_error) == ("succeeded", 1, None)
        assert instants(got) == instants(hold(CHANGES[change]))


def instants(value: Any) -> list[datetime]:
    """Return every instant inside of a value, in UTC."""
    if isinstance(value, datetime):
        return [value.astimezone(UTC)]
    if isinstance(value, (BaseModel, Slot)):
        value = vars(value)
    parts: Iterable[Any] = [*value, *value.values()] if isinstance(value, dict) else value
    return [at for part in parts if not isinstance(part, (str, int)) for at in instants(part)]


async def test_the_last_instant_of_the_calendar_comes_back(kit: Kit) -> None:
    async with kit.bound() as w:
        got, status = await passed(kit, w, list[datetime], [EDGE])
        assert (got, status.state) == ([EDGE], "succeeded")


async def test_an_instant_whose_offset_has_seconds_is_refused_because_it_would_be_another(kit: Kit) -> None:
    async def handler(ctx: Any, payload: datetime) -> None: ...

    kit.job("note")(handler)
    async with kit.bound() as w:
        with pytest.raises(InvalidPayload, match="come back from JSON as another value"):
            await w.create("note", datetime(1890, 1, 1, tzinfo=BERLIN))
        assert (await w.sizes())["kumofire_runs"] == 0


@settings(deadline=None, max_examples=examples(200))
@given(at=st.datetimes(timezones=st.timezones(), allow_imaginary=True) | st.datetimes())
def test_any_instant_of_any_zone_comes_back_or_is_refused(at: datetime) -> None:
    adapter = TypeAdapter(datetime)
    try:
        back = adapter.validate_json(encode_typed(at, adapter, "it", 100))
    except InvalidArgument:
        offset = at.utcoffset()
        assert offset is not None
        assert offset % timedelta(minutes=1), "only an offset with seconds is refused"
        return
    if at.utcoffset() is None:
        assert back == at
    else:
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        assert back - epoch == at - epoch


# -- subclasses and look-alikes ----------------------------------------------------------------------


class Animal(BaseModel):
    name: str


class Bird(Animal):
    wings: int = 2


class Pet(Animal):
    """It adds nothing but its name."""


class Loose(Animal):
    model_config = ConfigDict(extra="allow")


@dataclass
class Part:
    name: str


@dataclass
class Wheel(Part):
    spokes: int = 36


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str


class FrozenMore(Frozen):
    more: int


class Zoo(BaseModel):
    animals: list[Animal]
    parts: dict[str, Part] = {}
    best: Animal | None = None


class Anything(BaseModel):
    value: Any


BIRD = Bird(name="b")
LOST: dict[str, tuple[Any, Any, str]] = {
    "itself": (Animal, BIRD, "no wings"),
    "an option": (Animal | None, BIRD, "no wings"),
    "a list": (list[Animal], [Animal(name="a"), BIRD], r"no wings, and found was Bird \(at 1\)"),
    "a tuple": (tuple[Animal, int], (BIRD, 1), "no wings"),
    "a dict": (dict[str, Animal], {"x": BIRD}, r"\(at x\)"),
    "a model": (Zoo, Zoo(animals=[BIRD]), r"no wings, and found was Bird \(at animals.0\)"),
    "an option of a model": (Zoo, Zoo(animals=[], best=BIRD), r"\(at best\)"),
    "deeper": (list[dict[str, Zoo]], [{"z": Zoo(animals=[], best=BIRD)}], r"\(at 0.z.best\)"),
    "a dataclass": (Part, Wheel("w"), "no spokes"),
    "a dataclass in a model": (Zoo, Zoo(animals=[], parts={"w": Wheel("w")}), r"\(at parts.w\)"),
    "a set": (set[Frozen], {FrozenMore(name="a", more=1)}, "no more"),
    "what extra=allow took": (Animal, Loose(name="a", more=1), "no more"),
}


@pytest.mark.parametrize("where", LOST)
async def test_a_payload_of_a_subclass_with_fields_of_its_own_is_refused_and_they_are_named(
    kit: Kit, where: str
) -> None:
    hint, value, said = LOST[where]

    async def handler(ctx, payload): ...

    handler.__annotations__ = {"payload": hint}
    kit.job("take")(handler)
    async with kit.bound() as w:
        with pytest.raises(InvalidPayload, match=said):
            await w.create("take", value)
        with pytest.raises(InvalidPayload, match=said):
            await w.jobs.create_schedule("take", value, every=60)
        assert set((await w.sizes()).values()) == {0}


@pytest.mark.parametrize("where", LOST)
async def test_a_result_of_a_subclass_with_fields_of_its_own_fails_its_run_and_they_are_named(
    kit: Kit, where: str
) -> None:
    hint, value, said = LOST[where]

    async def handler(ctx):
        return value

    handler.__annotations__ = {"return": hint}
    kit.job("give", max_attempts=3)(handler)
    async with kit.bound() as w:
        run_id = await w.create("give")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.attempt, status.result) == ("failed", 1, None)
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(status.last_error)


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str


LOOKALIKES: dict[str, tuple[Any, Any, Any]] = {
    "another member of a union": (Cat | Dog, Dog(name="r"), {"name": "r"}),
    "a subclass without fields": (Animal, Pet(name="p"), {"name": "p"}),
    "a model where anything may stand": (dict[str, Any], {"a": Animal(name="a")}, {"a": {"name": "a"}}),
    "a dataclass where anything may stand": (Anything, Anything(value=Part("p")), {"value": {"name": "p"}}),
}


@pytest.mark.parametrize("kind", LOOKALIKES)
async def test_a_payload_that_its_handler_would_get_as_another_type_is_refused(kit: Kit, kind: str) -> None:
    hint, value, _ = LOOKALIKES[kind]

    async def handler(ctx, payload): ...

    handler.__annotations__ = {"payload": hint}
    kit.job("take")(handler)
    async with kit.bound() as w:
        with pytest.raises(InvalidPayload, match="would be read as"):
            await w.create("take", value)


@pytest.mark.parametrize("kind", LOOKALIKES)
async def test_a_result_whose_json_has_all_of_its_data_is_stored(kit: Kit, kind: str) -> None:
    hint, value, result = LOOKALIKES[kind]

    async def handler(ctx):
        return value

    handler.__annotations__ = {"return": hint}
    kit.job("give")(handler)
    async with kit.bound() as w:
        run_id = await w.create("give")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.result) == ("succeeded", result)


async def test_a_set_of_models_comes_back(kit: Kit) -> None:
    value = {Frozen(name="a"), Frozen(name="b")}
    async with kit.bound() as w:
        got, status = await passed(kit, w, set[Frozen], value)
        assert (got, status.state) == (value, "succeeded")


# -- what pydantic writes otherwise than it reads ----------------------------------------------------


class Optional(BaseModel):
    user_id: int = Field(0, alias="userId")


SHAPES: dict[str, tuple[Any, Any, Any]] = {
    "an alias that need not be there": (Optional, Optional(userId=5), Optional(userId=5)),
    "JSON inside of JSON": (Json[list[int]], "[1,2]", [1, 2]),
    "tuples in anything": (dict[str, Any], {"a": (1, (2,))}, {"a": [1, [2]]}),
}


@pytest.mark.parametrize("kind", SHAPES)
async def test_what_can_be_written_so_that_it_comes_back_is(kit: Kit, kind: str) -> None:
    hint, given_, expected = SHAPES[kind]

    async def handler(ctx, payload):
        seen.append(payload)

    seen: list[Any] = []
    handler.__annotations__ = {"payload": hint}
    kit.job("take", max_attempts=1)(handler)
    async with kit.bound() as w:
        run_id = await w.create("take", given_)
        await w.deliver(run_id)
        assert ((await w.status(run_id)).state, seen) == ("succeeded", [expected])


async def test_a_payload_that_validating_again_would_change_is_refused(kit: Kit) -> None:
    async def handler(ctx, payload): ...

    handler.__annotations__ = {"payload": Annotated[str, AfterValidator(lambda text: text + "!")]}
    kit.job("shout")(handler)
    async with kit.bound() as w:
        with pytest.raises(InvalidPayload, match="come back from JSON as another value"):
            await w.create("shout", "a")


@pytest.mark.parametrize(
    "value", [{"card": {"4111-1111"}}, {"card": "4111-1111\ud800"}, {"card": [float("nan"), "4111-1111"]}]
)
async def test_a_refusal_does_not_show_the_value(kit: Kit, value: Any) -> None:
    async def handler(ctx: Any, payload: dict[str, Any]) -> None: ...

    kit.job("pay")(handler)
    async with kit.bound() as w:
        with pytest.raises(InvalidPayload) as caught:
            await w.create("pay", value)
        assert "4111" not in str(caught.value)


# -- what is seen to be plain without being parsed ----------------------------------------------------


class Counted(BaseModel):
    number: Any
    note: str = ""


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**30, [1, {"a": 2**60}]])
def test_an_integer_that_json_readers_round_is_refused_inside_of_a_model(number: Any) -> None:
    adapter = TypeAdapter(Counted)
    with pytest.raises(InvalidArgument, match=r"beyond 2\*\*53"):
        encode_typed(Counted(number=number), adapter, "it", 1000)


@pytest.mark.parametrize("value", [Counted(number=2**53 - 1), Counted(number=1, note="4" * 20)])
def test_long_digits_that_are_no_such_integer_come_back(value: Counted) -> None:
    adapter = TypeAdapter(Counted)
    assert there_and_back(value, adapter, "it", 1000).back == value


@pytest.mark.parametrize(("depth", "refused"), [(100, False), (200, True)])
def test_what_is_nested_too_deep_is_refused_inside_of_a_model(depth: int, refused: bool) -> None:
    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    adapter = TypeAdapter(Counted)
    if refused:
        with pytest.raises(InvalidArgument, match="not JSON"):
            encode_typed(Counted(number=nested), adapter, "it", 10_000)
    else:
        assert there_and_back(Counted(number=nested), adapter, "it", 10_000).back.number == nested
