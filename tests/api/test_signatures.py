"""A handler that cannot be called as its signature says is refused where it is registered, with the right forms."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import pytest
from harness import Kit
from pydantic import BaseModel
from typing_extensions import TypedDict

from kumofire_fsm import DefinitionError, Kumofire, PlainContext, RunContext, StepContext

if TYPE_CHECKING:
    from elsewhere import Ctx, Greeting, JobContext


class Model(BaseModel):
    name: str


@dataclass
class Data:
    name: str


class Dict(TypedDict):
    name: str


class Pair(NamedTuple):
    name: str


class HasEnv(Protocol):
    env: Any


ADA = Model(name="Ada")


class Plain:
    pass


async def text(name: str): ...
async def number(n: int | None): ...
async def listed(names: list[str]): ...
async def either(what: Model | str): ...
async def some_class(what: Plain): ...
async def unseen(greeting: Greeting): ...
async def default(ctx, greeting: Model = ADA): ...
async def keyword_default(ctx: RunContext, *, greeting: Model | None = None): ...
async def keyword(ctx, *, greeting: Model): ...
async def keyword_more(ctx, greeting: Model, *, greeter: str): ...
async def two_texts(name: str, age: int): ...
async def swapped(greeting: Model, ctx: RunContext): ...
async def second(ctx, other: RunContext): ...
async def three(ctx, a, b): ...
def none(): ...


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (text, "its first argument 'name: str' would be the context; found text(name: str); write text(ctx: RunContext, name: str) or text(ctx: RunContext)"),
        (number, "its first argument 'n: int | None' would be the context; "),
        (listed, "its first argument 'names: list[str]' would be the context; "),
        (either, "its first argument 'what: Model | str' would be the context; "),
        (some_class, "its first argument 'what: Plain' would be the context; "),
        (unseen, "its first argument 'greeting: Greeting' would be the context; "),
        (default, "'greeting' has a default, so nobody can tell whether it is the payload; found default(ctx, greeting: Model = Model(name='Ada')); write default(ctx: RunContext, greeting: Model) or default(ctx: RunContext)"),
        (keyword_default, "'greeting' has a default, so nobody can tell whether it is the payload; "),
        (keyword, "a handler is called by position, so 'greeting' is never given; found keyword(ctx, *, greeting: Model); write keyword(ctx: RunContext, greeting: Model) or keyword(ctx: RunContext)"),
        (keyword_more, "a handler is called by position, so 'greeter' is never given; "),
        (two_texts, "its first argument is the context, and not 'name: str'; found two_texts(name: str, age: int); write two_texts(ctx: RunContext, age: int) or two_texts(ctx: RunContext)"),
        (swapped, "its first argument is the context, and not 'greeting: Model'; "),
        (second, "the context is the first argument, and the payload the second; "),
        (three, "a handler is handler(ctx, payload) or handler(ctx); found three(ctx, a, b); write three(ctx: RunContext, payload: ...) or three(ctx: RunContext)"),
        (none, "a handler is handler(ctx, payload) or handler(ctx); "),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)  # fmt: skip
def test_a_wrong_handler_is_refused_with_the_right_forms(handler: Any, said: str) -> None:
    app = Kumofire()
    with pytest.raises(DefinitionError) as caught:
        app.job("greet")(handler)
    assert str(caught.value).startswith(f"job 'greet': {said}")
    assert f"write {handler.__name__}(ctx: RunContext, " in str(caught.value)
    assert app.registry.jobs == {}


async def no_annotation(anything): ...
async def anything(ctx: Any): ...
async def an_object(ctx: object): ...
async def protocol(ctx: HasEnv): ...
async def contexts(ctx: RunContext | PlainContext): ...
async def annotated(ctx: Annotated[RunContext, "with a note"]): ...
async def of_a_step(ctx: StepContext): ...
async def unseen_context(c: JobContext): ...
async def unseen_name(ctx: Ctx): ...
async def underscore(_c: Greeting): ...
async def rest(ctx, *more): ...


@pytest.mark.parametrize(
    "handler",
    [no_annotation, anything, an_object, protocol, contexts, annotated, of_a_step, unseen_context, unseen_name, underscore, rest],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_a_handler_of_the_context_alone_takes_no_payload(handler: Any) -> None:
    app = Kumofire()
    app.job("job")(handler)
    job = app.registry.jobs["job"]
    assert (job.takes_context, job.takes_payload) == (True, False)


async def model(greeting: Model):
    return greeting.name


def data(greeting: Data):
    return greeting.name


async def dictionary(greeting: Dict):
    return greeting["name"]


async def pair(greeting: Pair):
    return greeting.name


async def maybe(greeting: Model | None):
    return greeting.name


async def with_context(ctx: RunContext, greeting: Model):
    return greeting.name


async def with_a_default_behind(ctx: RunContext, greeting: Model, mark: str = "", *, end: str = ""):
    return greeting.name + mark + end


async def bound_elsewhere(mark: str, ctx: RunContext, greeting: Model, *, end: str):
    return greeting.name + mark + end


@pytest.mark.parametrize(
    "handler",
    [model, data, dictionary, pair, maybe, with_context, with_a_default_behind, functools.partial(bound_elsewhere, "", end="")],
    ids=lambda each: getattr(each, "__name__", "partial"),
)  # fmt: skip
async def test_a_payload_is_told_from_the_context_where_that_is_certain(kit: Kit, handler: Any) -> None:
    kit.job("greet")(handler)
    async with kit.bound() as w:
        given = ["Ada"] if handler is pair else {"name": "Ada"}
        run_id = await w.create("greet", given)
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == "Ada"
