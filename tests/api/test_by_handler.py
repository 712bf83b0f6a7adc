"""A job is named by its handler as well as by a text, and gives its result back as the handler's type."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from harness import Kit
from pydantic import BaseModel

from kumofire_fsm import Fail, InvalidArgument, Kumofire, NewRun, NewSchedule
from kumofire_fsm.errors import InvalidResult, NoResult, UnknownJob, UnknownRun, WaitTimeout


class Greeting(BaseModel):
    name: str


@dataclass
class Answer:
    text: str


async def greet(ctx: Any, greeting: Greeting) -> Answer:
    return Answer(f"Hello, {greeting.name}!")


class Greeter:
    __hash__ = None  # type: ignore[assignment]

    async def greet(self, ctx: Any, greeting: Greeting) -> Answer:
        return await greet(ctx, greeting)

    async def __call__(self, ctx: Any, greeting: Greeting) -> Answer:
        return await greet(ctx, greeting)


GREETER = Greeter()


@pytest.mark.parametrize(
    ("registered", "given"),
    [
        (greet, lambda: greet),
        (GREETER.greet, lambda: GREETER.greet),
        (GREETER, lambda: GREETER),
    ],
    ids=["function", "method", "object"],
)
async def test_a_handler_names_its_job(
    kit: Kit, registered: Callable[..., Any], given: Callable[[], Any]
) -> None:
    assert kit.job("greet")(registered) is registered
    async with kit.bound() as w:
        created = await w.jobs.create(given(), Greeting(name="Ada"), tags=["a"])
        await w.deliver(created.kumofire_job_run_id)
        assert (await w.status(created.kumofire_job_run_id)).name == "greet"
        assert await w.jobs.result(created) == Answer("Hello, Ada!")
        assert await w.jobs.result(created.kumofire_job_run_id, given()) == Answer("Hello, Ada!")
        assert (await w.status(created.kumofire_job_run_id)).result == {"text": "Hello, Ada!"}


async def test_every_call_that_takes_a_job_takes_its_handler(kit: Kit) -> None:
    kit.job("greet")(greet)
    ada = Greeting(name="Ada")
    async with kit.bound() as w:
        assert w.jobs.prepare_create(greet, ada).keyed is False
        (created,) = await w.jobs.create_many([NewRun(greet, ada)])
        assert (await w.status(created.kumofire_job_run_id)).name == "greet"
        made = await w.jobs.create_schedule(greet, ada, schedule_key="k", every=60)
        changed = await w.jobs.upsert_schedule(greet, Greeting(name="Eve"), schedule_key="k", every=60)
        assert (made.name, changed.name, changed.payload) == ("greet", "greet", {"name": "Eve"})
        assert (await w.jobs.update_schedule(schedule_key="k", name=greet, payload=ada)).payload == {
            "name": "Ada"
        }
        report = await w.jobs.sync_schedules([NewSchedule(greet, ada, schedule_key="c", every=60)])
        assert report.created == ("c",)


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    async def inner(*args: Any) -> Any:
        return await function(*args)

    return inner


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Greeter().greet, f"the function {__name__}.Greeter.greet is the handler of no job here: write @app.job('greet') above it, or import the module that registers it; registered are: greet, other"),
        (wrapped(greet), f"the function {__name__}.greet is not registered, and wraps the handler of 'greet': put @app.job above the other decorators; registered are: greet, other"),
        (Greeting, f"a job is given by its name, its handler or its flow; found {Greeting!r}; registered are: greet, other"),
        (5, "a job is given by its name, its handler or its flow; found 5; registered are: greet, other"),
        ("great", "no job 'great' is registered; registered are: greet, other"),
    ],
    ids=["function", "wrapper", "class", "number", "name"],
)  # fmt: skip
async def test_what_names_no_job_is_refused_in_words(kit: Kit, given: Any, said: str) -> None:
    kit.job("greet")(greet)
    kit.job("other")(lambda ctx: None)
    async with kit.bound() as w:
        for call in (w.jobs.create, w.jobs.create_schedule):
            with pytest.raises(UnknownJob) as caught:
                await call(given, Greeting(name="Ada"), **({} if call == w.jobs.create else {"every": 60}))
            assert str(caught.value) == said
        assert await w.jobs.count_runs() == {}


async def test_a_handler_of_two_jobs_names_neither(kit: Kit) -> None:
    kit.job("greet")(greet)
    kit.job("welcome")(greet)
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match=r"is the handler of 'greet' and 'welcome': give the name"):
            await w.jobs.create(greet, Greeting(name="Ada"))


async def test_a_run_that_failed_or_was_canceled_has_no_result(kit: Kit) -> None:
    @kit.job("fail")
    async def fail(ctx: Any) -> int:
        raise Fail("no such order\nand more")

    async with kit.bound() as w:
        failed, canceled = await w.create("fail"), await w.create("fail", delay=60)
        await w.deliver(failed)
        await w.jobs.cancel(canceled)
        with pytest.raises(NoResult) as caught:
            await w.jobs.result(failed, fail)
        assert (
            str(caught.value) == f"run {failed} of 'fail' is failed, so it has no result: Fail: no such order"
        )
        assert caught.value.status.last_error.startswith("Fail: no such order")
        with pytest.raises(NoResult, match=r"is canceled, so it has no result"):
            await w.jobs.result(canceled)


async def test_a_result_is_waited_for_as_a_run_is(kit: Kit) -> None:
    kit.job("greet")(greet)
    async with kit.bound() as w:
        with pytest.raises(UnknownRun):
            await w.jobs.result("0198c0de-0000-7000-8000-000000000000", timeout=0)
        run_id = await w.create("greet", {"name": "Ada"})
        with pytest.raises(WaitTimeout):
            await w.jobs.result(run_id, timeout=0)


async def test_the_handler_of_another_job_is_refused(kit: Kit) -> None:
    kit.job("greet")(greet)

    @kit.job("other")
    async def other(ctx: Any) -> None:
        pass

    async with kit.bound() as w:
        run_id = await w.create("greet", {"name": "Ada"})
        await w.deliver(run_id)
        with pytest.raises(InvalidArgument, match=r"is of the job 'greet', and not of 'other'"):
            await w.jobs.result(run_id, other)
        with pytest.raises(UnknownJob):
            await w.jobs.result(run_id, lambda ctx: None)


async def test_a_result_that_no_longer_fits_the_annotation_is_refused_and_one_of_an_unknown_job_is_json(
    kit: Kit,
) -> None:
    kit.job("greet")(greet)

    async def shout(ctx: Any, greeting: Greeting) -> list[int]:
        return []

    async with kit.bound() as w:
        run_id = await w.create("greet", {"name": "Ada"})
        await w.deliver(run_id)
        later, without = Kumofire(), Kumofire()
        later.job("greet")(shout)
        with pytest.raises(InvalidResult, match=r"the stored result of 'greet' does not validate"):
            await later.bind(db=w.storage).result(run_id, shout)
        assert await without.bind(db=w.storage).result(run_id) == {"text": "Hello, Ada!"}


async def test_a_handler_that_returns_nothing_gives_none(kit: Kit) -> None:
    @kit.job("quiet")
    async def quiet(ctx: Any) -> None:
        pass

    async with kit.bound() as w:
        created = await w.jobs.create(quiet)
        await w.deliver(created.kumofire_job_run_id)
        assert await w.jobs.result(created) is None
