"""Registering jobs: names are unique, signatures are checked, durations make sense."""

from __future__ import annotations

import sys
import typing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from harness import Kit, echo, nothing

from kumofire_fsm import DefinitionError, InvalidArgument, JobMachine, Kumofire, RunMachine
from kumofire_fsm.errors import TooLarge
from kumofire_fsm.machines import Event, Lifecycle, Role, State

if TYPE_CHECKING:
    from decimal import Decimal


async def only_for_type_checkers(ctx: Any, payload: Decimal) -> None: ...


async def result_for_type_checkers(ctx: Any) -> Decimal: ...


async def misspelt(ctx: Any, payload: Nope) -> None: ...  # noqa: F821


class Opaque:
    """A class that pydantic knows nothing about."""


async def opaque(ctx: Any, payload: Opaque) -> None: ...


async def no_parameters() -> None: ...


async def three(ctx: Any, payload: Any, extra: Any) -> None: ...


async def keyword_only(*, ctx: Any) -> None: ...


async def with_options(
    ctx: Any, payload: int, extra: int = 1, *rest: Any, flag: bool = False, **more: Any
) -> int:
    return payload + extra


async def test_a_name_is_registered_once(kit: Kit) -> None:
    kit.job("job")(echo)
    with pytest.raises(DefinitionError, match="a job 'job' is registered already"):
        kit.job("job")(nothing)
    kit.another_app().job("job")(nothing)


@pytest.mark.parametrize("name", ["", None, 5, "\ud800", "a\0b"])
async def test_a_name_that_is_no_text_is_refused(kit: Kit, name: Any) -> None:
    with pytest.raises(InvalidArgument):
        kit.job(name)(echo)


async def test_a_name_has_a_limit(kit: Kit) -> None:
    kit.job("j" * 255)(echo)
    with pytest.raises(TooLarge):
        kit.job("j" * 256)(echo)


@pytest.mark.parametrize(
    "handler",
    [no_parameters, three, keyword_only, partial(three), lambda: None, 5, None, "text", only_for_type_checkers, result_for_type_checkers, misspelt, opaque, print],
    ids=lambda handler: getattr(handler, "__name__", repr(handler))[:30],
)  # fmt: skip
async def test_a_handler_that_cannot_be_called_is_refused_when_it_is_registered(
    kit: Kit, handler: Any
) -> None:
    with pytest.raises(DefinitionError, match="'job'"):
        kit.job("job")(handler)
    assert kit.app.registry.jobs == {}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic refuses typing.TypedDict on 3.11 only")
async def test_what_pydantic_refuses_is_a_definition_error(kit: Kit) -> None:
    async def handler(ctx, payload): ...

    handler.__annotations__["payload"] = typing.TypedDict("Old", {"a": int})
    with pytest.raises(DefinitionError, match="typing_extensions"):
        kit.job("job")(handler)


async def test_a_handler_may_refer_to_what_is_defined_after_it(kit: Kit) -> None:
    @kit.job("early")
    async def early(ctx: Any, payload: int) -> int:
        return later(payload)

    def later(value: int) -> int:
        return value + 1

    async with kit.bound() as w:
        run_id = await w.create("early", 1)
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == 2


async def test_parameters_with_defaults_are_the_applications_own(kit: Kit) -> None:
    kit.job("job")(with_options)
    async with kit.bound() as w:
        run_id = await w.create("job", 1)
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == 2


async def test_the_decorator_gives_the_function_back(kit: Kit) -> None:
    assert kit.job("job")(echo) is echo


@pytest.mark.parametrize(
    "timeout", [0, -1, 0.0001, "60", float("inf"), float("nan"), True, timedelta(0), timedelta.max]
)
async def test_a_timeout_that_makes_no_sense_is_refused(kit: Kit, timeout: Any) -> None:
    with pytest.raises(InvalidArgument):
        kit.job("job", timeout=timeout)(echo)


@pytest.mark.parametrize(
    ("timeout", "ms"), [(1, 1000), (0.25, 250), (timedelta(minutes=2), 120_000), (None, 60_000), (0.001, 1)]
)
async def test_a_timeout_is_seconds_or_a_timedelta(kit: Kit, timeout: Any, ms: int) -> None:
    kit.job("job", timeout=timeout)(echo)
    assert kit.app.registry.get("job").timeout_ms == ms


@pytest.mark.parametrize("attempts", [0, -1, True, "3", 1.5, 10**9])
async def test_attempts_that_make_no_sense_are_refused(kit: Kit, attempts: Any) -> None:
    with pytest.raises(InvalidArgument):
        kit.job("job", max_attempts=attempts)(echo)
    with pytest.raises(InvalidArgument):
        Kumofire(max_attempts=attempts)
    assert kit.app.registry.jobs == {}


async def test_an_applications_defaults_reach_its_jobs() -> None:
    app = Kumofire(max_attempts=7, timeout=timedelta(seconds=9))
    app.job("job")(echo)
    app.job("own", max_attempts=1, timeout=2)(echo)
    assert [(d.max_attempts, d.timeout_ms) for d in app.registry.jobs.values()] == [(7, 9000), (1, 2000)]


@pytest.mark.parametrize("machine", [Lifecycle, RunMachine.spec, "run", None, int])
def test_what_is_no_lifecycle_is_refused(kit: Kit, machine: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^job 'job': .* is not a lifecycle of runs$"):
        kit.job("job", machine=machine)


@pytest.mark.parametrize("name", ["Run", "Job"])
def test_a_lifecycle_that_goes_by_the_name_of_a_built_in_one_is_refused(kit: Kit, name: str) -> None:
    """Its edges would be legal for the rows of the other."""
    made = type(RunMachine)(name, (RunMachine,), {})
    with pytest.raises(
        DefinitionError, match=f"^job 'job': {name} goes by the name '{name.lower()}', as a built-in"
    ):
        kit.job("job", machine=made)


def test_a_lifecycle_whose_columns_are_others_than_those_of_a_run_is_refused(kit: Kit) -> None:
    class Small(Lifecycle, table="kumofire_runs"):
        fields = RunMachine.fields
        parameters = {**RunMachine.parameters, "lease_ms": 5}
        texts = RunMachine.texts
        a = State("It begins.", role=Role.WAITING, waits=True, initial=True)
        b = State("It ends.", role=Role.SETTLED)
        go = Event(a.to(b))

    with pytest.raises(
        DefinitionError, match=r"^job 'job': Small has other columns or parameters than RunMachine"
    ):
        kit.job("job", machine=Small)


async def test_the_machine_of_recurring_jobs_is_no_lifecycle_of_runs(kit: Kit) -> None:
    with pytest.raises(DefinitionError, match="is not a lifecycle of runs"):
        kit.job("job", machine=JobMachine)
