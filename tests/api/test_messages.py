"""Every message ends in one disposition, and none is acknowledged away while its run may need it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeBatch, FakeMessage
from harness import Kit, echo, nothing

from kumofire_fsm import Disposition, Snooze
from kumofire_fsm.errors import InvalidMessage, UnsupportedMessageVersion

ID = "0198c0de-0000-7000-8000-000000000000"
MALFORMED: dict[str, Any] = {
    "None": None,
    "text": "hello",
    "empty": "",
    "number": 5,
    "list": [],
    "empty dict": {},
    "no version": {"kumofireJobRunId": ID},
    "no id": {"version": 1},
    "id None": {"version": 1, "kumofireJobRunId": None},
    "id empty": {"version": 1, "kumofireJobRunId": ""},
    "id number": {"version": 1, "kumofireJobRunId": 5},
    "id of 5,000 letters": {"version": 1, "kumofireJobRunId": "x" * 5_000},
    "id without hyphens": {"version": 1, "kumofireJobRunId": ID.replace("-", "")},
    "id in capitals": {"version": 1, "kumofireJobRunId": ID.upper()},
    "id with more": {"version": 1, "kumofireJobRunId": f"{ID}\n"},
    "id with a null character": {"version": 1, "kumofireJobRunId": f"{ID[:-1]}\0"},
    "id of other digits": {"version": 1, "kumofireJobRunId": ID.replace("0", "\u0660")},
    "id list": {"version": 1, "kumofireJobRunId": [ID]},
    "id surrogate": {"version": 1, "kumofireJobRunId": "\ud800"},
    "id surrogate in JSON": '{"version": 1, "kumofireJobRunId": "\\ud800"}',
    "JSON text": '"text"',
    "JSON list": "[1]",
    "half JSON": '{"version": 1',
    "deep JSON": "[" * 100_000,
    "bad bytes": b"\xff\xfe{",
}
FOREIGN: dict[str, Any] = {
    "2": {"version": 2, "kumofireJobRunId": ID},
    "0": {"version": 0, "kumofireJobRunId": ID},
    "text": {"version": "1", "kumofireJobRunId": ID},
    "True": {"version": True, "kumofireJobRunId": ID},
    "None": {"version": None, "kumofireJobRunId": ID},
    "2 in JSON": json.dumps({"version": 2, "kumofireJobRunId": ID}),
}
BAD = {f"malformed {k}": v for k, v in MALFORMED.items()} | {f"version {k}": v for k, v in FOREIGN.items()}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_message_is_retried_into_the_dead_letters_and_its_neighbours_are_served(
    kit: Kit, kind: str
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        bad, good = FakeMessage(BAD[kind]), FakeMessage.of(run_id)
        dispositions = await w.jobs.consume_batch(FakeBatch([bad, good]))
        assert (bad.dispositions, good.dispositions) == ([0], ["ack"])
        assert (dispositions[0].run_id, dispositions[0].ack) == (None, False)
        assert await w.state(run_id) == "succeeded"


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_message_is_logged_cut(kit: Kit, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with kit.bound() as w:
        (disposition,) = await w.jobs.consume_batch(FakeBatch([FakeMessage(BAD[kind])]))
        assert len(disposition.reason) < 400
        assert max(len(record.getMessage()) for record in caplog.records) < 400
        assert w.storage.names == [], "nothing is asked for what no run can have"


@pytest.mark.parametrize("kind", MALFORMED)
async def test_a_malformed_bare_body_raises(kit: Kit, kind: str) -> None:
    async with kit.bound() as w:
        with pytest.raises(InvalidMessage) as caught:
            await w.jobs.consume(MALFORMED[kind])
        assert type(caught.value) is InvalidMessage
        assert w.storage.names == []


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_bare_body_of_another_version_raises(kit: Kit, kind: str) -> None:
    async with kit.bound() as w:
        with pytest.raises(UnsupportedMessageVersion, match="reads messages of version 1"):
            await w.jobs.consume(FOREIGN[kind])


@pytest.mark.parametrize("form", ["dict", "text", "bytes", "float version", "object", "message"])
async def test_every_form_of_a_good_message_is_read(kit: Kit, form: str) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        body = {"version": 1, "kumofireJobRunId": run_id}
        message = {
            "dict": body,
            "text": json.dumps(body),
            "bytes": json.dumps(body).encode(),
            "float version": {**body, "version": 1.0},
            "object": SimpleNamespace(body=body),
            "message": FakeMessage(json.dumps(body)),
        }[form]
        assert await w.jobs.consume(message) == Disposition(run_id, ack=True, reason="succeeded")
        assert await w.state(run_id) == "succeeded"


async def test_what_a_batch_may_be(kit: Kit) -> None:
    async with kit.bound() as w:
        assert await w.jobs.consume_batch([]) == []
        assert await w.jobs.consume_batch(FakeBatch([])) == []
        assert w.storage.names == []


async def test_a_message_delivered_twice_in_one_batch_runs_once_and_both_are_acknowledged(kit: Kit) -> None:
    called = []

    @kit.job("note")
    async def note(ctx: Any) -> None:
        called.append(ctx.attempt)

    async with kit.bound() as w:
        run_id = await w.create("note")
        assert await w.deliver(run_id, run_id) == ["ack", "ack"]
        assert await w.deliver(run_id) == ["ack"]
        assert called == [1]


@pytest.mark.parametrize(
    ("delay", "disposition"),
    [(30, 30), (0.2, 1), (89.5, 90), (90.5, "ack"), (86_400, "ack"), (200_000, "ack")],
)
async def test_an_early_message_is_retried_when_its_run_is_due(
    kit: Kit, delay: float, disposition: int | str
) -> None:
    """Where the run is so far off that a dispatcher sends a hint in time, this one is not needed."""
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none", delay=delay)
        assert await w.deliver(run_id) == [disposition]
        assert (await w.status(run_id)).attempt == 0
        kit.clock.advance(delay - 30)
        w.queue.clear()
        await w.jobs.dispatch()
        assert w.queue.sent == ([(run_id, 30)] if disposition == "ack" else [])


async def test_a_message_for_a_settled_run_is_acknowledged(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        for _ in range(3):
            run_id = await w.create("none")
            await w.jobs.cancel(run_id)
            assert await w.deliver(run_id) == ["ack"]
            assert await w.state(run_id) == "canceled"


async def test_a_message_for_a_run_that_does_not_exist_is_acknowledged(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        disposition = await w.jobs.consume(FakeMessage.of(ID))
        assert disposition == Disposition(ID, ack=True, reason="no such run")


async def test_a_batch_of_everything_gets_each_its_own_verdict(kit: Kit) -> None:
    other = kit.another_app()
    for app in (kit.app, other):
        app.job("echo")(echo)
    kit.job("new")(nothing)
    async with kit.bound() as w:
        good, early, foreign, settled = (
            await w.create("echo", 1),
            await w.create("echo", 2, delay=45),
            await w.create("new"),
            await w.create("echo", 3),
        )
        await w.jobs.cancel(settled)
        messages = [FakeMessage.of(i) for i in (good, early, foreign, settled, ID)] + [
            FakeMessage({"version": 2})
        ]
        await other.bind(db=w.storage, queue=w.queue).consume_batch(FakeBatch(messages))
        assert [m.disposition for m in messages] == ["ack", 45, 60, "ack", "ack", 0]
        assert [await w.state(i) for i in (good, early, foreign)] == ["succeeded", "queued", "queued"]


async def test_a_short_retry_takes_its_message_along(kit: Kit) -> None:
    called = []

    @kit.job("flaky", max_attempts=3)
    async def flaky(ctx: Any) -> None:
        called.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError

    async with kit.bound() as w:
        run_id = await w.create("flaky")
        message = FakeMessage.of(run_id)
        for delay in (2, 4):
            await w.jobs.consume(message)
            assert message.dispositions.pop() == delay
            kit.clock.advance(delay - 0.001)
            assert await w.deliver(run_id) == [1]
            kit.clock.advance(0.001)
        await w.jobs.consume(message)
        assert (message.disposition, called, await w.state(run_id)) == ("ack", [1, 2, 3], "succeeded")
        assert w.queue.sent == [(run_id, 0)]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_consumer_bound_without_a_queue_works(kit: Kit, alone: bool) -> None:
    """It sends nothing, and nothing beside it renews a lease: the lease must cover the timeout."""
    kit.job("none", timeout=60)(nothing)
    async with kit.bound(with_queue=False) as w:
        ids = await w.create_in_order("none", [None] * (1 if alone else 2))
        assert await w.deliver(*ids) == ["ack"] * len(ids)
        assert [await w.state(i) for i in ids] == ["succeeded"] * len(ids)


class Gone(FakeMessage):
    """A message that fails where it is concluded."""

    def ack(self) -> None:
        raise RuntimeError("the message is gone")

    def retry(self, *, delaySeconds: int = 0) -> None:
        raise RuntimeError("the message is gone")


class Unreadable(FakeMessage):
    """A message whose body and deliveries cannot be read."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("body", "attempts"):
            raise RuntimeError("the body is gone")
        return super().__getattribute__(name)


@pytest.mark.parametrize("snoozes", [False, True], ids=["ack", "retry"])
async def test_a_message_that_cannot_be_concluded_costs_no_other_its_conclusion(
    kit: Kit, snoozes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("job")
    async def job(ctx: Any, number: int) -> None:
        if snoozes:
            raise Snooze(10)

    async with kit.bound() as w:
        first, second = await w.create_in_order("job", range(2))
        good = FakeMessage.of(second)
        await w.jobs.consume_batch(FakeBatch([Gone.of(first), good]))
        assert good.disposition == (10 if snoozes else "ack")
    assert "the message is gone" in caplog.text


async def test_a_message_that_cannot_be_read_is_retried_and_costs_no_other_its_run(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        bad, good = Unreadable(None), FakeMessage.of(await w.create("none"))
        dispositions = await w.jobs.consume_batch(FakeBatch([bad, good]))
        assert (bad.disposition, good.disposition) == (0, "ack")
        assert dispositions[0].reason == "a message's body could not be read: RuntimeError: the body is gone"


class BrokenQueue:
    """A queue of one's own that does not know our errors."""

    async def send(self, hints: Any) -> None:
        raise ConnectionError("no route")


async def test_a_queue_s_own_error_is_a_refused_send(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    @kit.job("waits")
    async def waits(ctx: Any) -> None:
        raise Snooze(10)

    async with kit.bound(real_queue=BrokenQueue()) as w:
        run_id = await w.create("waits")
        worn = FakeMessage.of(run_id, attempts=5)
        await w.jobs.consume_batch(FakeBatch([worn]))
        assert worn.disposition == 10
        w.clock.advance(3_600)
        assert (await w.jobs.dispatch()).refused == 1
        assert await w.state(run_id) == "queued"
    assert caplog.text.count("ConnectionError: no route") == 3
