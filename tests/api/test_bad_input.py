"""What `create` cannot take is refused with a typed error, and nothing is stored or sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit, echo, nothing
from pydantic import BaseModel

from kumofire_fsm import InvalidArgument, NewRun
from kumofire_fsm.errors import InvalidPayload, TooLarge, UnknownJob

NOTHING = {"kumofire_runs": 0, "kumofire_bodies": 0, "kumofire_schedules": 0}
SOON = START + timedelta(minutes=1)


class Order(BaseModel):
    number: int
    lines: list[str] = []
    extra: Any = None


def register(kit: Kit) -> None:
    async def order(ctx: Any, payload: Order) -> None: ...

    async def mapping(ctx: Any, payload: dict[str, Any]) -> None: ...

    async def number(ctx: Any, payload: float) -> None: ...

    for name, handler in {
        "echo": echo,
        "none": nothing,
        "order": order,
        "map": mapping,
        "number": number,
    }.items():
        kit.job(name)(handler)


async def refused(kit: Kit, error: type[Exception], name: Any, payload: Any = None, **options: Any) -> str:
    """Create must raise exactly this error, alone and among good ones, and store nothing."""
    register(kit)
    async with kit.bound() as w:
        with pytest.raises(error) as alone:
            await w.jobs.create(name, payload, **options)
        assert type(alone.value) is error
        with pytest.raises(error):
            await w.jobs.create_many([NewRun("echo", 1), NewRun(name, payload, **options), NewRun("echo", 2)])
        await stored_nothing(w)
    return str(alone.value)


async def stored_nothing(w: Bound) -> None:
    assert await w.sizes() == NOTHING
    assert w.queue.sent == []


async def test_an_unknown_job_is_refused_with_the_known_ones(kit: Kit) -> None:
    said = await refused(kit, UnknownJob, "nobody")
    assert said == "no job 'nobody' is registered; registered are: echo, map, none, number, order"


@pytest.mark.parametrize("name", [None, 5, "", "x" * 300, ["echo"], "\ud800"])
async def test_a_job_name_that_is_no_registered_text_is_unknown(kit: Kit, name: Any) -> None:
    await refused(kit, UnknownJob, name)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("order", {"number": "many"}),
        ("order", {}),
        ("order", None),
        ("order", [1]),
        ("map", "text"),
        ("none", {"unexpected": 1}),
    ],
)
async def test_a_payload_that_does_not_validate_is_refused(kit: Kit, name: str, payload: Any) -> None:
    await refused(kit, InvalidPayload, name, payload)


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
NOT_JSON = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "complex": 1j,
    "object": object(),
    "function": print,
    "datetime": START,
    "2**53": 2**53,
    "-2**53": -(2**53),
    "10**30": 10**30,
    "lone surrogate": "\ud800",
    "surrogate in ascii": "a\udfffb",
    "circle": CIRCLE,
}


@pytest.mark.parametrize("kind", NOT_JSON)
@pytest.mark.parametrize("where", ["plain", "list", "dict", "mapping", "model"])
async def test_a_value_that_json_would_change_is_refused_wherever_it_stands(
    kit: Kit, kind: str, where: str
) -> None:
    bad = NOT_JSON[kind]
    name, payload = {
        "plain": ("echo", bad),
        "list": ("echo", [1, [bad]]),
        "dict": ("echo", {"a": {"b": (bad,)}}),
        "mapping": ("map", {"a": {"b": [bad]}}),
        "model": ("order", {"number": 1, "extra": {"b": [bad]}}),
    }[where]
    await refused(kit, InvalidPayload, name, payload)


@pytest.mark.parametrize("bad", [2**53, -(2**53), 2**63])
async def test_a_long_integer_in_a_models_own_field_is_refused(kit: Kit, bad: int) -> None:
    await refused(kit, InvalidPayload, "order", {"number": bad})


async def test_a_lone_surrogate_in_a_key_is_refused(kit: Kit) -> None:
    await refused(kit, InvalidPayload, "map", {"\ud800": 1})


@pytest.mark.parametrize("key", [1, None, True, 1.5])
async def test_a_key_that_is_no_text_is_refused_as_it_would_come_back_as_one(kit: Kit, key: Any) -> None:
    await refused(kit, InvalidPayload, "echo", {"a": [{key: "x"}]})


async def test_nan_in_a_float_payload_is_refused(kit: Kit) -> None:
    await refused(kit, InvalidPayload, "number", float("nan"))


def nested(depth: int, value: Any) -> Any:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [1, 10**15, 2**53], ids=["short", "sixteen digits", "too long"])
@pytest.mark.parametrize("name", ["echo", "map"])
async def test_a_payload_nested_too_deeply_is_refused(kit: Kit, name: str, value: int) -> None:
    deep = nested(100_000, value)
    await refused(kit, InvalidPayload, name, {"a": deep} if name == "map" else deep)


@pytest.mark.parametrize("name", ["echo", "map", "order"])
async def test_a_payload_over_256_kb_is_too_large(kit: Kit, name: str) -> None:
    text = "é" * (128 * 1024)
    payload = {"echo": text, "map": {"a": text}, "order": {"number": 1, "extra": text}}[name]
    await refused(kit, TooLarge, name, payload)


@pytest.mark.parametrize("length", [256 * 1024 - 2, 256 * 1024 - 1])
async def test_the_limit_of_a_payload_is_exactly_256_kb_of_json(kit: Kit, length: int) -> None:
    register(kit)
    async with kit.bound() as w:
        if length + 2 <= 256 * 1024:
            await w.jobs.create("echo", "x" * length)
            assert (await w.sizes())["kumofire_runs"] == 1
        else:
            with pytest.raises(TooLarge, match=r"262,145 bytes of JSON; the limit is 262,144"):
                await w.jobs.create("echo", "x" * length)
            await stored_nothing(w)


@pytest.mark.parametrize(
    "options",
    [
        {"run_at": datetime(2026, 1, 2)},  # noqa: DTZ001 -- naive on purpose
        {"run_at": "2026-01-02T00:00:00Z"},
        {"run_at": 1_800_000_000},
        {"run_at": datetime(1969, 12, 31, tzinfo=UTC)},
        {"run_at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))},
        {"delay": -1},
        {"delay": -0.0001},
        {"delay": timedelta(microseconds=-1)},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"delay": "10"},
        {"delay": True},
        {"delay": timedelta.max},
        {"delay": 253_402_300_000},
        {"delay": 1, "run_at": SOON},
        {"delay": 0, "run_at": SOON},
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": True},
        {"max_attempts": "3"},
        {"max_attempts": 2.0},
        {"max_attempts": 10**7},
        {"dedupe_key": ""},
        {"dedupe_key": 7},
        {"dedupe_key": "\ud800"},
        {"dedupe_key": "a", "dedupe": "sometimes"},
        {"dedupe_key": "a", "dedupe": None},
        {"expires_at": datetime(2027, 1, 1)},  # noqa: DTZ001 -- naive on purpose
        {"expires_at": START},
        {"expires_at": START - timedelta(hours=1)},
        {"expires_at": SOON, "run_at": SOON},
        {"expires_at": SOON, "delay": 61},
        {"expires_at": "tomorrow"},
        {"tags": "abc"},
        {"tags": [""]},
        {"tags": ["a", 5]},
        {"tags": [None]},
        {"tags": 5},
        {"tags": ["\ud800"]},
        {"tags": {"a": 1}},
    ],
    ids=str,
)
async def test_options_that_make_no_sense_are_refused(kit: Kit, options: dict[str, Any]) -> None:
    await refused(kit, InvalidArgument, "echo", 1, **options)


@pytest.mark.parametrize(
    "options",
    [{"dedupe_key": "x" * 256}, {"tags": ["x" * 65]}, {"tags": [str(i) for i in range(21)]}],
    ids=["dedupe key", "tag", "tags"],
)
async def test_options_over_their_limit_are_too_large(kit: Kit, options: dict[str, Any]) -> None:
    await refused(kit, TooLarge, "echo", 1, **options)


async def test_options_at_their_limit_are_taken(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        tags = ["t" * 63 + chr(97 + i) for i in range(20)]
        run_id = await w.create("echo", 1, dedupe_key="k" * 255, tags=tags, max_attempts=1_000_000)
        status = await w.status(run_id)
        assert (status.dedupe_key, status.tags, status.max_attempts) == ("k" * 255, tuple(tags), 1_000_000)
