"""What an application registers: a name, its handler, and how its runs are treated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kumofire_fsm.engine.payload_fields import check_fields
from kumofire_fsm.engine.signatures import form_of, function_of, resolved
from kumofire_fsm.errors import (
    DefinitionError,
    InvalidArgument,
    InvalidPayload,
    InvalidResult,
    TooLarge,
)
from kumofire_fsm.machines.payload import misfit
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.retention import Retention
from kumofire_fsm.retry import RetryPolicy
from kumofire_fsm.values.checks import check_key
from kumofire_fsm.values.error_text import text_of
from kumofire_fsm.values.limits import PAYLOAD_BYTES, PRIORITIES, RESULT_BYTES
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.rates import Rate
from kumofire_fsm.values.typed import Encoded, encode_typed, there_and_back

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Definition", "define"]


@dataclass(frozen=True, slots=True)
class Definition:
    """One registered job.

    Attributes:
        aliases: other names that it answers to: those that it had before.
        timeout_ms: how long one attempt may take.
        limit: how many of its runs may be leased at once over all processes; None for any number.
        priority: the class of its runs, as it is stored.
        rate: how many of them may start in a time.
        retention: how long they are kept once they are settled; None: as the application says.
        key_limit: how many with one concurrency key may be leased at once; None for any number.
        key_rate: how many with one concurrency key may start in a time. A job with neither has no keys.
        takes_context, takes_payload: what its handler is called with, the context first.
        payload, result: pydantic's adapters for the handler's annotations; None for plain JSON.
    """

    name: str
    handler: Callable[..., Any]
    is_async: bool
    machine: MachineSpec
    max_attempts: int
    timeout_ms: int
    retry: RetryPolicy
    takes_payload: bool
    payload: TypeAdapter[Any] | None
    result: TypeAdapter[Any] | None
    limit: int | None = None
    priority: int = PRIORITIES["normal"]
    rate: Rate | None = None
    key_limit: int | None = None
    key_rate: Rate | None = None
    aliases: tuple[str, ...] = ()
    retention: Retention | None = None
    takes_context: bool = True

    @property
    def takes_keys(self) -> bool:
        """Whether its runs may have concurrency keys."""
        return self.key_limit is not None or self.key_rate is not None

    @property
    def made_of(self) -> object:
        """What registered it: its handler, or a flow's spec."""
        return self.handler

    def encode_payload(self, value: Any) -> str:
        """Validate a payload and return it as JSON text.

        Raises:
            InvalidPayload: it does not fit the handler's annotation or the lifecycle, or is not JSON.
            TooLarge: it is over the limit.
        """
        what = f"the payload of {self.name!r}"
        if not self.takes_payload and value is not None:
            raise InvalidPayload(f"{what}: its handler takes none; found {type(value).__name__}")
        try:
            if self.payload is not None:
                value = self.payload.validate_python(value)
            text = encode_typed(value, self.payload, what, PAYLOAD_BYTES)
        except TooLarge:
            raise
        except InvalidArgument as exc:
            raise InvalidPayload(str(exc)) from None
        except ValueError as exc:
            # From None: whoever logs it would print what pydantic says of the values.
            raise InvalidPayload(f"{what} does not validate: {text_of(exc)}") from None
        if wrong := misfit(self.machine.payload, text):
            raise InvalidPayload(f"{what} does not fit its lifecycle {self.machine.name!r}: {wrong}")
        return text

    def decode_payload(self, text: str | None) -> Any:
        """Return the value the handler is called with.

        Raises:
            ValueError: the stored text does not fit the annotation any more.
        """
        if text is None:
            raise ValueError("the payload, which has a row of its own, is gone")
        if self.payload is None:
            import json

            return json.loads(text)
        return self.payload.validate_json(text)

    def encode_result(self, value: Any) -> str | None:
        """Return a handler's result as JSON text, None for None.

        Raises:
            InvalidResult: it does not fit the annotation, is not JSON, or is over the limit.
        """
        if self.result is not None:
            found = self.encode_data(value)
            return None if found is None else found.text
        what = f"the result of {self.name!r}"
        try:
            return None if value is None else encode_typed(value, None, what, RESULT_BYTES)
        except ValueError as exc:
            raise InvalidResult(f"{what} cannot be stored: {text_of(exc)}") from exc

    def encode_data(self, value: Any) -> Encoded | None:
        """Return what a handler with an annotation returned, as JSON text and as it comes back; or None.

        Raises:
            InvalidResult: it does not fit the annotation, is not JSON, or is over the limit.
        """
        what = f"the result of {self.name!r}"
        assert self.result is not None
        try:
            value = self.result.validate_python(value)
            if value is None:
                return None
            return there_and_back(value, self.result, what, RESULT_BYTES, exact=False)
        except ValueError as exc:  # ours and pydantic's
            raise InvalidResult(f"{what} cannot be stored: {text_of(exc)}") from exc

    def decode_result(self, text: str | None) -> Any:
        """Return a stored result as the type that the handler is annotated with.

        Raises:
            InvalidResult: it does not fit the annotation any more.
        """
        try:
            if self.result is None:
                import json

                return json.loads(text or "null")
            return self.result.validate_json(text or "null")
        except (ValueError, RecursionError) as exc:
            why = f"the stored result of {self.name!r} does not validate: {text_of(exc)}"
            raise InvalidResult(why) from None


def define(
    name: str,
    handler: Callable[..., Any],
    *,
    machine: MachineSpec,
    max_attempts: int,
    timeout_ms: int,
    retry: RetryPolicy,
    limit: int | None = None,
    priority: int = PRIORITIES["normal"],
    rate: Rate | None = None,
    retention: Retention | None = None,
    key_limit: int | None = None,
    key_rate: Rate | None = None,
    aliases: Sequence[str] = (),
) -> Definition:
    """Return the definition of a handler, with adapters for its annotations.

    Raises:
        DefinitionError: the handler is neither ``handler(ctx, payload)`` nor ``handler(ctx)``, or the aliases
            are not a list of names.
    """
    check_key(name, "a job's name")
    plain = inspect.unwrap(handler)
    if not callable(handler):
        raise DefinitionError(f"job {name!r}: the handler must be a function; found {shown(handler)}")
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise DefinitionError(f"job {name!r}: a handler returns its result; found a generator")
    form = form_of(name, handler)
    plain = function_of(handler)
    notes = inspect.get_annotations(plain)
    payload = _adapter(plain, notes.get(form.payload, Any), name) if form.payload else None
    if machine.payload:
        check_fields(name, machine, payload, takes=form.payload is not None)
    return Definition(
        name=name,
        handler=handler,
        is_async=any(map(inspect.iscoroutinefunction, (handler, type(handler).__call__))),
        machine=machine,
        max_attempts=max_attempts,
        timeout_ms=timeout_ms,
        retry=retry,
        limit=limit,
        priority=priority,
        rate=rate,
        retention=retention,
        key_limit=key_limit,
        key_rate=key_rate,
        takes_context=form.takes_context,
        takes_payload=form.payload is not None,
        payload=payload,
        result=_adapter(plain, notes.get("return", Any), name),
        aliases=_aliases(name, aliases),
    )


def _aliases(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DefinitionError(f"job {name!r}: aliases is a list of names; found {shown(given)}")
    try:
        return tuple(check_key(each, "an alias") for each in given)
    except InvalidArgument as exc:
        raise DefinitionError(f"job {name!r}: {exc}") from exc


def _adapter(function: Callable[..., Any], annotation: Any, job: str) -> TypeAdapter[Any] | None:
    """Return pydantic's adapter for one annotation; None where plain JSON is all it says."""
    hint = resolved(function, annotation, job)
    if hint is Any or hint is inspect.Parameter.empty:
        return None
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError  # costs 0.1 s: only with a job

    try:
        return TypeAdapter(hint)
    except PydanticUserError as exc:
        raise DefinitionError(f"job {job!r}: pydantic cannot validate {hint!r}: {exc}") from exc
