"""A run's payload is shown by its status, but for what its types hide; a list, or who cannot tell, leaves it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import Bound, Kit
from pydantic import BaseModel, Field, RootModel, SecretStr, field_serializer

from kumofire_fsm import Kumofire
from kumofire_fsm.values.hidden import HIDDEN


class Card(BaseModel):
    number: str = Field(repr=False)
    holder: str = ""


class Login(BaseModel):
    user: str
    password: SecretStr

    @field_serializer("password")
    def plain(self, password: SecretStr) -> str:
        return password.get_secret_value()


class Aliased(BaseModel):
    number: str = Field(repr=False, alias="cardNumber")


class Wallet(BaseModel):
    cards: list[Card]
    by_name: dict[str, Card] = {}
    first: Card | None = None


class Cards(RootModel[list[Card]]):
    pass


@dataclass
class Data:
    user: str
    password: str = field(repr=False)


@dataclass
class Open:
    user: str


CARD = {"number": "4111", "holder": "Ada"}
SHOWN = {"number": HIDDEN, "holder": "Ada"}


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (Open, {"user": "ada"}, {"user": "ada"}),
        (Card, CARD, SHOWN),
        (Login, {"user": "ada", "password": "4111"}, {"user": "ada", "password": HIDDEN}),
        (Aliased, {"cardNumber": "4111"}, {"cardNumber": HIDDEN}),
        (Wallet, {"cards": [CARD], "by_name": {"a": CARD}}, {"cards": [SHOWN], "by_name": {"a": SHOWN}, "first": None}),
        (Cards, [CARD, CARD], [SHOWN, SHOWN]),
        (dict[int, Card], {1: CARD}, {"1": SHOWN}),
        (list[Card] | None, [CARD], [SHOWN]),
        (tuple[int, Card], [1, CARD], [1, SHOWN]),
        (Data, {"user": "ada", "password": "4111"}, {"user": "ada", "password": HIDDEN}),
    ],
    ids=str,
)  # fmt: skip
async def test_what_a_type_hides_is_not_shown(kit: Kit, kind: Any, given: Any, shown: Any) -> None:
    async def job(ctx: Any, payload: kind) -> None: ...

    job.__annotations__["payload"] = kind
    kit.job("job")(job)
    async with kit.bound() as w:
        run_id = await w.create("job", given)
        status = await w.status(run_id)
        assert (status.payload, status.payload_left_out) == (shown, False)
        assert "4111" not in repr(status)
        assert "4111" not in repr(await w.jobs.cancel(run_id))


async def test_a_type_that_writes_itself_in_a_form_of_its_own_is_hidden_whole(kit: Kit) -> None:
    class Own(BaseModel):
        number: str = Field(repr=False)

        @field_serializer("number")
        def as_list(self, number: str) -> list[str]:
            return list(number)

    from kumofire_fsm.values.hidden import without_hidden

    own = Own(number="41")
    assert without_hidden(own, {"number": ["4", "1"]}) == {"number": HIDDEN}
    assert without_hidden(own, "4-1") == HIDDEN
    assert without_hidden({"a": own}, ["4-1"]) == HIDDEN
    assert without_hidden([own], {"x": "4-1"}) == HIDDEN
    assert without_hidden(own, {"other": "4-1"}) == HIDDEN
    assert without_hidden({own.number: frozenset([SecretStr("4")])}, {"41": ["4"]}) == {"41": HIDDEN}


async def test_a_large_payload_is_shown_too(kit: Kit) -> None:
    kit.job("job")(_takes_all)
    async with kit.bound() as w:
        run_id = await w.create("job", {"text": "x" * 5000})
        assert (await w.status(run_id)).payload == {"text": "x" * 5000}


async def _takes_all(ctx: Any, payload: Any) -> None: ...


@pytest.mark.parametrize("given", [5, {"text": "x" * 5000}], ids=["small", "large"])
async def test_a_list_leaves_payloads_out(kit: Kit, given: Any) -> None:
    kit.job("job")(_takes_all)
    async with kit.bound() as w:
        await w.create("job", given)
        for results in (False, True):
            (run,) = (await w.jobs.list_runs(results=results)).runs
            assert (run.payload, run.payload_left_out) == (None, True)


async def test_who_cannot_tell_what_is_secret_shows_nothing(kit: Kit) -> None:
    kit.job("job")(_takes_all)

    async def other(ctx: Any, card: Card) -> None: ...

    async with kit.bound() as w:
        run_id = await w.create("job", 5)
        unknown, changed = Kumofire(), Kumofire()
        changed.job("job")(other)
        for app in (unknown, changed):
            status = await app.bind(db=w.storage).get_status(run_id)
            assert status is not None
            assert (status.payload, status.payload_left_out) == (None, True)


async def test_the_payload_costs_no_statement(kit: Kit) -> None:
    kit.job("job")(_takes_all)

    async def names(w: Bound) -> list[str]:
        run_id = await w.create("job", {"text": "x" * 5000})
        w.storage.clear()
        assert (await w.status(run_id)).payload_left_out is False
        return w.storage.names

    async with kit.bound() as w:
        assert await names(w) == ["runs.read"]
