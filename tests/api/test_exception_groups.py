"""Signals and errors inside exception groups: in a group of one they act as outside; of several, who counts."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import (
    NEVER,
    Backoff,
    Cancel,
    DefinitionError,
    Fail,
    Fire,
    InvalidArgument,
    Retry,
    RunMachine,
    RunStatus,
    Snooze,
)
from kumofire_fsm.machines import Actor, Event, Role, State
from kumofire_fsm.values.error_text import leaves
from kumofire_fsm.work._decisive import decisive


class Parked(RunMachine):
    """A run that its handler may park."""

    parked = State("Parked by its handler.", role=Role.WAITING, waits=True)
    park = Event(
        RunMachine.running.to(parked) | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
        doc="The handler wants it to wait.",
    )
    take = Event(parked.to(RunMachine.ready), doc="Somebody takes it.")


async def after(kit: Kit, error: BaseException, **options: Any) -> RunStatus:
    """Call a handler once that raises an error."""

    @kit.job("job", max_attempts=9, machine=Parked, **options)
    async def job(ctx: Any) -> None:
        raise error

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        return await w.status(run_id)


def facts(status: RunStatus) -> tuple[Any, ...]:
    first = (status.last_error or "").split("\n")[0]
    return status.state, status.attempt, status.run_at, first, status.error_type


ERRORS: dict[str, Any] = {
    "Fail": lambda: Fail("why"),
    "Cancel": lambda: Cancel("why"),
    "Snooze": lambda: Snooze(30),
    "Retry": lambda: Retry("why", after=30),
    "Fire": lambda: Fire("park", note="why"),
    "an error": lambda: ConnectionError("why"),
    "an error that says never": lambda: KeyError("why"),
}
GROUPS: dict[str, Any] = {
    "one": lambda error: ExceptionGroup("g", [error]),
    "one in one in one": lambda error: ExceptionGroup("g", [ExceptionGroup("h", [ExceptionGroup("i", [error])])]),
    "one base": lambda error: BaseExceptionGroup("g", [error]),
    "the same twice": lambda error: ExceptionGroup("g", [error, error]),
}  # fmt: skip
POLICY = Backoff(first=timedelta(seconds=2), jitter=False, on={KeyError: NEVER})


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", ERRORS)
async def test_in_a_group_of_one_it_acts_as_outside(kind: str, group: str) -> None:
    alone = await after(Kit(), ERRORS[kind](), retry=POLICY)
    grouped = await after(Kit(), GROUPS[group](ERRORS[kind]()), retry=POLICY)
    assert facts(grouped) == facts(alone)
    assert [e.facts for e in grouped.history] == [e.facts for e in alone.history]


@pytest.mark.parametrize("kind", ERRORS)
async def test_so_it_does_in_a_task_group(kind: str) -> None:
    kit, alone = Kit(), await after(Kit(), ERRORS[kind](), retry=POLICY)

    @kit.job("job", max_attempts=9, machine=Parked, retry=POLICY)
    async def job(ctx: Any) -> None:
        async def inner() -> None:
            error = ERRORS[kind]()
            raise error

        async with asyncio.TaskGroup() as outside, asyncio.TaskGroup() as inside:
            inside.create_task(inner())
            outside.create_task(asyncio.sleep(60))  # is cancelled, and counts for nothing

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        assert facts(await w.status(run_id)) == facts(alone)


ORDER = [Fail("f"), ValueError("v"), Cancel("c"), Fire("park"), Snooze(5)]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)), ids=repr)
async def test_of_several_the_one_counts_that_hides_no_error(first: Exception, second: Exception) -> None:
    alone = await after(Kit(), first)
    for several in ([first, second], [second, first], [second, ExceptionGroup("inner", [first])]):
        mixed = await after(Kit(), ExceptionGroup("g", several))
        assert (mixed.state, mixed.attempt) == (alone.state, alone.attempt)
        if first in ORDER[:2]:
            assert str(mixed.last_error).startswith("ExceptionGroup: g (2 sub-exceptions): ")
            assert str(first) in str(mixed.last_error)


@pytest.mark.parametrize(
    ("several", "wait"),
    [
        ([ValueError(), OSError()], 9),
        ([OSError(), ValueError()], 9),
        ([ValueError(), Retry(after=4)], 4),
        ([Retry(after=4), Retry(after=7)], 7),
        ([ValueError(), KeyError()], None),
        ([Retry(after=4), KeyError()], None),
        ([OSError(), Snooze(60), Cancel("no")], 9),
    ],
)
async def test_of_several_failures_the_longest_wait_counts_and_never_counts_most(
    kit: Kit, several: list[Exception], wait: int | None
) -> None:
    policy = Backoff(
        first=timedelta(seconds=2), jitter=False, on={OSError: timedelta(seconds=9), KeyError: NEVER}
    )
    start = kit.clock.now()
    status = await after(kit, ExceptionGroup("g", several), retry=policy)
    if wait is None:
        assert (status.state, status.attempt) == ("failed", 1)
    else:
        assert status.state == "retrying"
        assert status.run_at.timestamp() == start / 1000 + wait


async def test_a_function_is_asked_about_each_exception_that_a_group_holds(kit: Kit) -> None:
    asked: list[str] = []

    def policy(attempt: int, error: BaseException) -> int:
        asked.append(repr(error))
        return 1

    group = ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [OSError(2), Snooze(5)])])
    await after(kit, group, retry=policy)
    assert asked == ["ValueError(1)", "OSError(2)"]


@pytest.mark.parametrize("kind", [BaseExceptionGroup, ExceptionGroup])
def test_a_policy_that_names_a_group_is_refused(kind: type[BaseException]) -> None:
    with pytest.raises(DefinitionError, match="is asked about each exception that a group holds: name those"):
        Backoff(on={kind: NEVER})


@pytest.mark.parametrize(
    "rules", [None, [ValueError], {"ValueError": NEVER}, {ValueError: 5}, {ValueError(): NEVER}, {int: NEVER}, {ValueError: None}]
)  # fmt: skip
def test_rules_that_are_none_are_refused(rules: Any) -> None:
    with pytest.raises(DefinitionError, match="a backoff's on= "):
        Backoff(on=rules)


@pytest.mark.parametrize("signal", [Snooze("tomorrow"), Fire("nothing")])  # type: ignore[arg-type]
async def test_a_signal_that_makes_no_sense_is_a_failure_in_a_group_too(kit: Kit, signal: Exception) -> None:
    status = await after(kit, ExceptionGroup("g", [signal]))
    assert (status.state, status.error_type) == ("retrying", InvalidArgument.__name__)


def test_leaves_come_in_order_and_each_once() -> None:
    a, b, c = ValueError("a"), KeyError("b"), Fail("c")
    group = ExceptionGroup("g", [a, ExceptionGroup("h", [b, a]), c])
    assert list(leaves(group)) == [a, b, c]
    assert list(leaves(a)) == [a]
    assert decisive(group) == [c]
