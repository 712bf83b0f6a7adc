"""The base of every flow, and the metaclass that derives its spec."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.flows._derive import flow_spec
from kumofire_fsm.flows.steps import AnyStep

__all__ = ["Flow"]

D = TypeVar("D")


class FlowMeta(type):
    """Names what a flow's class declares, and derives its spec; one that could get stuck does not exist."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        ns: dict[str, Any],
        *,
        version: int = 1,
        was: Mapping[str, str | None] | None = None,
        flow: str | None = None,
    ) -> Any:
        cls: Any = super().__new__(mcs, name, bases, ns)
        if ns.get("__module__") == __name__:
            return cls
        cls.spec = flow_spec(cls, _data(name, ns), version=version, was=was or {}, flow=flow)
        return cls

    def __init__(cls, name: str, bases: tuple[type, ...], ns: dict[str, Any], **_options: Any) -> None:
        super().__init__(name, bases, ns)

    def __repr__(cls) -> str:
        return f"<flow {cls.__name__}>"


class Flow(Generic[D], metaclass=FlowMeta):
    """The base of every flow: ``class Order(Flow[Data], version=2)``.

    Args:
        version: raise it with a change that instances under way cannot take as they are: a step is gone, or
            their data no longer validates.
        was: what steps were called in the version before: ``{"packing": "pack"}``; None of one that is gone,
            and that nobody is to undo where it was done.
        flow: the flow's name in the database; by default that of the class, as ``trial_subscription``.

    Attributes:
        any: every task and wait, for edges that lead out of all.
        spec: the frozen description of the flow.
    """

    any: ClassVar[AnyStep] = AnyStep()
    spec: ClassVar[Any]


def _data(name: str, ns: Mapping[str, Any]) -> Any:
    """Return the data model that a class names: ``Flow[Data]``."""
    for base in ns.get("__orig_bases__", ()):
        if isinstance(typing.get_origin(base), FlowMeta) and typing.get_args(base):
            return typing.get_args(base)[0]
    raise DefinitionError(f"{name}: say which data the flow carries: class {name}(Flow[Data])")
