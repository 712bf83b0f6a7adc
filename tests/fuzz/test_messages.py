"""Whatever a queue delivers ends in one disposition, and stores nothing unless it hints at a run."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from fakes import FakeBatch, FakeMessage
from fuzzing import JSON, JUNK, TEXTS, everything, fuzz_more, watched
from hypothesis import given
from hypothesis import strategies as st

from kumofire_fsm.errors import InvalidMessage
from kumofire_fsm.values.message import read_message


def dumped(value: Any) -> str:
    return json.dumps(value)


ALMOST = st.fixed_dictionaries(
    {}, optional={"version": st.just(1) | JUNK, "kumofireJobRunId": TEXTS | JUNK, "more": JUNK}
)
BODIES = JUNK | ALMOST | JSON.map(dumped) | JSON.map(dumped).map(str.encode)


@fuzz_more
@given(body=BODIES)
def test_a_body_is_read_or_refused(body: Any) -> None:
    try:
        assert isinstance(read_message(body), str)
    except InvalidMessage as exc:
        str(exc)


@fuzz_more
@given(bodies=st.lists(BODIES, max_size=4), bare=st.booleans())
def test_any_batch_gets_its_verdicts_and_its_good_message_is_served(bodies: list[Any], bare: bool) -> None:
    async def scenario() -> None:
        async with watched() as w:
            other = await w.create("echo", 1)
            before = await everything(w)
            messages = [FakeMessage(body) for body in bodies]
            dispositions = await w.jobs.consume_batch([*bodies, *messages] if bare else FakeBatch(messages))
            assert all(disposition.run_id != other for disposition in dispositions)
            assert [len(message.dispositions) for message in messages] == [1] * len(messages)
            assert await everything(w) == before
            assert await w.deliver(other) == ["ack"]

    asyncio.run(scenario())


@fuzz_more
@given(body=BODIES)
def test_one_message_of_any_shape_is_served_or_refused(body: Any) -> None:
    async def scenario() -> None:
        async with watched() as w:
            before = await everything(w)
            for message in (FakeMessage(body), SimpleNamespace(body=body), body):
                try:
                    await w.jobs.consume(message)
                except InvalidMessage:
                    assert not isinstance(message, FakeMessage)
            assert await everything(w) == before

    asyncio.run(scenario())
