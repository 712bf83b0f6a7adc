"""Reads a handler's signature: what it is called with, and whether it can be called like that."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from kumofire_fsm.errors import DefinitionError

__all__ = ["Form", "HandlerContext", "form_of", "function_of", "resolved"]


class HandlerContext:
    """What every context of a handler derives from, so that it is told from a payload."""

    __slots__ = ()


class Form(NamedTuple):
    """What a handler is called with: the context, then the payload, which has its parameter's name."""

    takes_context: bool
    payload: str | None


def form_of(job: str, handler: Callable[..., Any]) -> Form:
    """Return what a handler is called with.

    Raises:
        DefinitionError: it can be called as neither of ``handler(ctx, payload)`` and ``handler(ctx)``, or its
            annotations say that it expects something else there.
    """
    plain = inspect.unwrap(handler)
    signature = inspect.signature(plain)
    given = _bound_by_partials(plain)
    free = [p for p in signature.parameters.values() if p.name not in given]
    usual = [p for p in free if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in usual if p.default is p.empty]
    named = [p for p in free if p.kind is p.KEYWORD_ONLY]

    def refuse(why: str, payload: str = "payload: ...") -> DefinitionError:
        name = getattr(plain, "__name__", "handler")
        right = f"{name}(ctx: RunContext, {payload}) or {name}(ctx: RunContext)"
        found = inspect.Signature(list(map(_bare, signature.parameters.values())))
        return DefinitionError(f"job {job!r}: {why}; found {name}{found}; write {right}")

    for each in named:
        if each.default is each.empty:
            raise refuse(f"a handler is called by position, so {each.name!r} is never given", _text(each))
    if len(needed) not in (1, 2):
        raise refuse("a handler is handler(ctx, payload) or handler(ctx)")
    if len(needed) == 1 and (others := [*usual[1:], *named]):
        why = f"{others[0].name!r} has a default, so nobody can tell whether it is the payload"
        raise refuse(why, _text(others[0]))
    first, *rest = needed
    kind = _kind(function_of(handler), first, job)
    if kind is not _CONTEXT and rest:
        raise refuse(f"its first argument is the context, and not {_text(first)!r}", _text(rest[0]))
    if kind is _OTHER:
        raise refuse(f"its first argument {_text(first)!r} would be the context", _text(first))
    if rest and _is_context(function_of(handler), rest[0], job):
        raise refuse("the context is the first argument, and the payload the second", _text(first))
    if kind is _PAYLOAD:
        return Form(takes_context=False, payload=first.name)
    return Form(takes_context=True, payload=rest[0].name if rest else None)


def function_of(handler: Any) -> Any:
    """Return the function that has a handler's annotations: of an object its ``__call__``."""
    handler = inspect.unwrap(handler)
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler if hasattr(handler, "__code__") else type(handler).__call__


def _bound_by_partials(handler: Any) -> set[str]:
    names: set[str] = set()
    while isinstance(handler, functools.partial):
        names |= handler.keywords.keys()
        handler = handler.func
    return names


def _text(parameter: inspect.Parameter) -> str:
    """Return a parameter as it is written, without a default."""
    return str(_bare(parameter).replace(default=parameter.empty, kind=parameter.POSITIONAL_OR_KEYWORD))


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose annotation is shown without quotes."""
    text = parameter.annotation
    return parameter.replace(annotation=_Bare(text)) if isinstance(text, str) else parameter


class _Bare(str):
    """A text that is shown as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_CONTEXT, _PAYLOAD, _OTHER = "context", "payload", "other"


def _kind(function: Any, parameter: inspect.Parameter, job: str) -> str:
    """Return what a first parameter takes: the context, unless its annotation tells something else."""
    try:
        hint = resolved(function, parameter.annotation, job)
    except Exception:  # it is evaluated here, where type checkers' imports are missing
        return _CONTEXT if _sounds_like_a_context(parameter) else _OTHER
    if hint in (Any, object, parameter.empty) or isinstance(hint, typing.TypeVar):
        return _CONTEXT
    kinds = _classes(hint)
    if any(issubclass(each, HandlerContext) or getattr(each, "_is_protocol", False) for each in kinds):
        return _CONTEXT
    models = [_is_model(each) for each in kinds if each is not type(None)]
    return _PAYLOAD if models and all(models) else _OTHER


def _is_context(function: Any, parameter: inspect.Parameter, job: str) -> bool:
    try:
        kinds = _classes(resolved(function, parameter.annotation, job))
    except Exception:
        return False  # whatever it is called: who reads the payload's annotation says so
    return bool(kinds) and all(issubclass(each, HandlerContext) for each in kinds)


def _sounds_like_a_context(parameter: inspect.Parameter) -> bool:
    """Return whether a type that only type checkers see is a context's, by its name or its parameter's."""
    text = f"{parameter.name} {parameter.annotation}".lower()
    return parameter.name.startswith("_") or "context" in text or "ctx" in text


def _classes(hint: Any) -> list[type]:
    """Return the classes that an annotation names: itself, or those of a union."""
    if typing.get_origin(hint) is typing.Annotated:
        return _classes(typing.get_args(hint)[0])
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return [hint]
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and origin.__name__ != "UnionType":
        return [origin]
    return [each for part in typing.get_args(hint) for each in _classes(part)]


def _is_model(kind: type) -> bool:
    """Return whether a class has fields: a pydantic model, a dataclass, a TypedDict or a NamedTuple."""
    return (
        isinstance(getattr(kind, "model_fields", None), dict)
        or dataclasses.is_dataclass(kind)
        or (issubclass(kind, dict) and hasattr(kind, "__total__"))  # a TypedDict, also typing_extensions'
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def resolved(function: Callable[..., Any], annotation: Any, job: str) -> Any:
    """Resolve one annotation alone: the context's is often imported for type checkers only."""
    if not isinstance(annotation, str):
        return annotation
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closure = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # empty: it is defined after the handler
            closure[name] = cell.cell_contents
    try:
        return typing.get_type_hints(_Holder(annotation), function.__globals__, closure, include_extras=True)[
            "value"
        ]
    except NameError as exc:
        raise DefinitionError(
            f"job {job!r}: the annotation {annotation!r} cannot be resolved ({exc}); define the type at "
            "module level, outside TYPE_CHECKING"
        ) from exc


class _Holder:
    """An object with one annotation, for `typing.get_type_hints`."""

    def __init__(self, annotation: str) -> None:
        self.__annotations__ = {"value": annotation}
