"""What a hook does to the task it runs in, or raises, costs no caller its answer and no batch its conclusion."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm import NewRun, Transition
from kumofire_fsm.engine.own_task import OwnTask

Untidy = Callable[[Transition], Awaitable[None]]


class Platform(BaseException):
    """What a platform raises to end an invocation."""


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def cancels(transition: Transition) -> None:
    own_task().cancel()


async def cancels_and_waits(transition: Transition) -> None:
    own_task().cancel()
    await asyncio.sleep(0)


async def cancels_and_swallows(transition: Transition) -> None:
    own_task().cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def handles_errors_of_its_group(transition: Transition) -> None:
    """Up to Python 3.12 this leaves a request to cancel behind."""

    async def bad() -> None:
        raise ValueError("handled")

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bad())
            await asyncio.sleep(0)


async def and_takes_too_long(transition: Transition) -> None:
    await handles_errors_of_its_group(transition)
    await asyncio.sleep(3_600)


async def closes(transition: Transition) -> None:
    raise GeneratorExit


async def exits(transition: Transition) -> None:
    raise SystemExit(3)


async def is_cancelled(transition: Transition) -> None:
    raise asyncio.CancelledError


UNTIDY = [
    cancels,
    cancels_and_waits,
    cancels_and_swallows,
    handles_errors_of_its_group,
    and_takes_too_long,
    closes,
    exits,
    is_cancelled,
]


@pytest.fixture(params=UNTIDY, ids=lambda each: each.__name__)
def untidy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Untidy:
    monkeypatch.setattr("kumofire_fsm.hooks.SECONDS", 0.01 if request.param is and_takes_too_long else 60)
    found: Untidy = request.param
    return found


def watched(kit: Kit, event: str, untidy: Untidy) -> list[str]:
    """Register an untidy hook and one after it; return the states that the second one was told."""
    kit.job("none")(nothing)
    told: list[str] = []
    kit.app.on(event)(untidy)
    kit.app.on(event)(lambda transition: told.append(transition.state))
    return told


async def test_each_caller_gets_its_answer_whatever_a_hook_does(kit: Kit, untidy: Untidy) -> None:
    told = watched(kit, "create", untidy)
    async with kit.bound() as w, asyncio.timeout(600):
        ids = await asyncio.gather(*(w.create("none") for _ in range(3)))
        assert own_task().cancelling() == 0
        assert [await w.state(run_id) for run_id in ids] == ["queued"] * 3
    assert told == ([] if untidy is and_takes_too_long else ["ready"] * 3)


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("event", ["start", "succeed"])
async def test_each_message_is_concluded_whatever_a_hook_does(
    kit: Kit, untidy: Untidy, event: str, concurrency: int
) -> None:
    told = watched(kit, event, untidy)
    async with kit.bound() as w, asyncio.timeout(600):
        ids = [await w.create("none") for _ in range(3)]
        assert await w.deliver(*ids, concurrency=concurrency) == ["ack"] * 3
        assert own_task().cancelling() == 0
        assert [await w.state(run_id) for run_id in ids] == ["succeeded"] * 3
    assert len(told) == (0 if untidy is and_takes_too_long else 3)


async def test_a_hook_that_ends_the_invocation_leaves_each_caller_its_answer(kit: Kit) -> None:
    kit.job("none")(nothing)

    @kit.app.on("create")
    async def ends(transition: Transition) -> None:
        raise Platform("over")

    async with kit.bound() as w, asyncio.timeout(600):
        unheard: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: unheard.append(said["exception"]))
        assert await w.state(await w.create("none")) == "queued"
        while not unheard:
            await asyncio.sleep(0)
        assert [type(each) for each in unheard] == [Platform]


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_caller_that_is_cancelled_while_a_hook_waits_ends_the_hooks(kit: Kit, swallows: bool) -> None:
    kit.job("none")(nothing)
    waits, seen = asyncio.Event(), list[str]()

    @kit.app.on("create")
    async def slow(transition: Transition) -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            if not swallows:
                raise

    kit.app.on("create")(lambda transition: seen.append("the next one"))
    async with kit.bound() as w, asyncio.timeout(600):
        caller = asyncio.ensure_future(created_at_once(w))
        await waits.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert seen == ["cancelled"]


async def created_at_once(w: Bound) -> None:
    await w.jobs.create_many([NewRun("none")])


async def test_what_closes_the_task_is_told_from_what_a_function_raised() -> None:
    task, found = OwnTask(), list[bool]()

    async def work() -> None:
        found.append(task.ends_by(GeneratorExit()))

    await task.run(work(), 60)
    found.append(task.ends_by(GeneratorExit()))
    assert found == [False, True]
    assert await asyncio.to_thread(task.ends_by, GeneratorExit())
