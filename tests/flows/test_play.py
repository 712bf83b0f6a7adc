"""A flow is played in virtual time, without a database, by the same handlers and the same table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flows import Data, Entity, Handlers, Order, Trial, Verdict

from kumofire_fsm import Fail, Kumofire, Snooze
from kumofire_fsm.errors import TransitionNotAllowed, UnknownSignal
from kumofire_fsm.testing import Play


@pytest.fixture
def shop() -> Handlers:
    app = Kumofire()
    handlers = Handlers(app, Order, Entity, Trial)
    handlers.app = app
    return handlers


async def test_an_order_is_played_to_its_end(shop: Any) -> None:
    play = Play(shop.app, Order, Data(total=200_000))
    assert await play.run() == "approval"
    assert await play.signal(Order.approve, Verdict(by="ana"), key="w") == "shipped"
    assert play.path == ["reserve", "charge", "approval", "pack", "ship", "shipped"]
    assert (play.state, play.data.charge_id) == ("succeeded", "paid")
    with pytest.raises(TransitionNotAllowed):
        await play.signal(Order.approve, Verdict(by="ana"))
    with pytest.raises(UnknownSignal):
        await play.signal("buy")


async def test_a_deadline_is_reached_by_letting_time_pass(shop: Any) -> None:
    play = Play(shop.app, Order, Data(total=200_000))
    await play.run()
    assert await play.advance(days=2, hours=23) == "approval"
    assert await play.advance(hours=1) == "undone"
    assert play.path[-3:] == ["undo_to_undone", "undo_to_undone", "undone"]
    assert [name for name, _ in shop.calls[-2:]] == ["undo charge", "undo reserve"]


async def test_retries_and_snoozes_wait_in_virtual_time(shop: Any) -> None:
    shop.fails["pack"] = ValueError("no paper")
    play = Play(shop.app, Order, Data())
    began = play.now
    assert await play.run() == "undone"
    assert [call for call in shop.calls if call[0] == "pack"] == [("pack", 1), ("pack", 2), ("pack", 3)]
    assert "no paper" in play.error
    assert play.now >= began
    shop.fails["welcome"] = Snooze(60)
    with pytest.raises(Exception, match="come to rest"):
        await Play(shop.app, Trial, Data()).run()


async def test_an_early_signal_and_a_cancellation(shop: Any) -> None:
    play = Play(shop.app, Order, Data(total=200_000))
    await play.signal(Order.approve, Verdict(by="ana"))
    assert play.step == "shipped"
    play = Play(shop.app, Order, Data(total=200_000))
    await play.run()
    assert await play.cancel() == "undone"


async def test_an_entity_and_a_loop(shop: Any) -> None:
    play = Play(shop.app, Entity, Data())
    assert await play.signal(Entity.pay) == "paid"
    assert await play.advance(days=1) == "late"
    assert await play.signal(Entity.ship) == "shipped"
    shop.fails["charge"] = Fail("declined")
    play = Play(shop.app, Trial, Data())
    await play.run()
    assert await play.signal(Trial.upgrade) == "dunning"
    assert await play.advance(days=30) == "ended"
    assert play.path.count("charge") == 4


async def test_a_handler_that_asks_for_a_database_is_told_that_there_is_none() -> None:
    app = Kumofire()
    app.flow(Entity)

    async def asks(ctx: Any, data: Data) -> None:
        await ctx.jobs.get_status("019b76da-a800-7cb1-bff6-9416823a74ec")

    Handlers(app, Order)
    tasks = app.registry.jobs["order"].tasks
    tasks["reserve"] = replace(tasks["reserve"], handler=asks)
    play = Play(app, Order, Data())
    await play.run()
    assert "StoreError: a play has no database: runs.read" in str(play.error)
