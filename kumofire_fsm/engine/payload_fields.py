"""Does a handler's payload have the fields that its lifecycle reads, as far as its type tells?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.values.printable import did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["check_fields"]


def check_fields(job: str, machine: MachineSpec, payload: TypeAdapter[Any] | None, *, takes: bool) -> None:
    """Refuse a handler whose payload can never have a field that its lifecycle reads.

    Args:
        job: its name.
        machine: the lifecycle.
        payload: pydantic's adapter for the handler's annotation; None for plain JSON.
        takes: whether the handler takes a payload at all.

    Raises:
        DefinitionError: it cannot.
    """
    said = f"job {job!r}: the lifecycle {machine.name!r} reads"
    first = f"payload.{next(iter(machine.payload))}"
    if not takes:
        raise DefinitionError(f"{said} {first}, and the handler takes no payload")
    known: list[str] = []
    for schema in _schemas(payload) if payload is not None else ():
        if schema.get("type", "object") != "object":
            raise DefinitionError(f"{said} {first}, and the handler's payload is no object with fields")
        if "properties" not in schema or schema.get("additionalProperties"):
            return
        known += schema["properties"]
    for name in machine.payload if known else ():
        if name not in known:
            listed = f"{did_you_mean(name, known)}; it has {', '.join(dict.fromkeys(known))}"
            raise DefinitionError(
                f"{said} payload.{name}, and the handler's payload has no such field{listed}"
            )


def _schemas(payload: TypeAdapter[Any]) -> Iterator[dict[str, Any]]:
    """Yield how a payload may be written, by the names of its fields and by their aliases."""
    from pydantic.errors import PydanticUserError

    for by_alias in (False, True):
        try:
            schema = payload.json_schema(by_alias=by_alias, mode="serialization")
        except PydanticUserError:  # of some types there is none
            return
        name = schema.get("$ref", "").rpartition("/")[2]
        yield schema["$defs"][name] if name else schema
